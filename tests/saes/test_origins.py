"""An SAE of another model is reported; a local copy of the right model, by its folder's name, is not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from steering.checkpoints.bundled import bundled_models
from steering.saes.origins import differences
from steering.sites import Site


def said(made_on: str, here: str) -> list[str]:
    about = SimpleNamespace(model_name=made_on, model_from_pretrained_kwargs={}, prepend_bos=None, context_size=None)
    tokenizer = SimpleNamespace(bos_token_id=None)
    lm: Any = SimpleNamespace(name=here, uses_rms_norm=True, tokenizer=tokenizer, n_ctx=128)
    return [
        one
        for one in differences(lm, SimpleNamespace(metadata=about, normalize_activations="none"), Site(1))
        if "made on" in one
    ]


@pytest.mark.parametrize("folder", ["gemma-2-2b", "models--google--gemma-2-2b/snapshots/abc"])
def test_a_local_copy_of_the_right_model_is_not_reported(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    assert not said("google/gemma-2-2b", str(tmp_path / folder))
    assert said("google/gemma-2-2b-it", str(tmp_path / folder))
    assert said("google/gemma-2-2b", "google/gemma-2-2b-it")


@pytest.mark.skipif("smollm2" not in bundled_models(), reason="the bundled model is not there")
def test_an_sae_of_another_model_is_reported_on_a_bundled_one() -> None:
    assert said("google/gemma-2-2b", "smollm2") and not said("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2")
