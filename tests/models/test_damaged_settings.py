"""A checkpoint whose settings are nonsense is refused in one sentence, before anything large is built."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from steering.checkpoints.folders import look
from steering.models.loading import load_model


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "recursion"),
        ('{"architectures": 5, "model_type": "llama"}', "gives no number of layers"),
        ('{"architectures": [], "model_type": "llama", "num_hidden_layers": "four"}', "could not be read"),
    ],
)
def test_settings_of_the_wrong_shape(text: str, says: str, checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint("llama"), tmp_path / "copy"))
    (folder / "config.json").write_text(text)
    assert "\n" not in look(folder).sentence
    with pytest.raises(ValueError, match=says):
        load_model(str(folder))
