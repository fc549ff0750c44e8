"""An address that names a model that cannot be opened: every page says why, and another model can be chosen there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from open_pages import PAGES, fine, open_page

pytestmark = pytest.mark.usefixtures("clean_caches")


@pytest.fixture
def half(checkpoint: Callable[[str], Path], tmp_path: Path) -> str:
    """A folder that looks like a model and is none: its settings name layers that its file lacks."""
    folder = shutil.copytree(checkpoint("llama"), tmp_path / "half")
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 4', '"num_hidden_layers": 9'))
    return str(folder)


@pytest.mark.parametrize("file", PAGES)
def test_a_page_with_a_model_that_is_not_there_still_offers_others(file: str) -> None:
    at = fine(open_page(file, model="/broken"))
    assert "there is none at '/broken'" in at.sidebar.error[0].value.replace("\\", "")
    assert "frame_load" in {button.key for button in at.sidebar.button}


def test_another_model_is_chosen_after_a_broken_one(half: str, checkpoint: Callable[[str], Path]) -> None:
    at = fine(open_page("pages/library/models.py", model=half))
    assert "weights are missing in its files" in at.sidebar.error[0].value
    at.sidebar.text_input(key="frame_folder").set_value(str(checkpoint("llama"))).run()
    fine(at.sidebar.button(key="frame_load").click().run())
    assert not [error for error in at.sidebar.error if "weights" in error.value]
