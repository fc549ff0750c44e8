"""What a model leaves out of a prompt is said where the prompt is typed, and on the model's card."""

from __future__ import annotations

import pytest
from open_pages import fine, open_page

from steering.models.model import Model

pytestmark = pytest.mark.usefixtures("clean_caches")
LEFT_OUT = "The tokenizer would end the text with </s>; it was left out."


@pytest.mark.parametrize(("page", "key"), [("steer/compare", "compare_prompt"), ("explore/tokens", "tokens_text")])
def test_a_prompt_that_is_cut_says_so(page: str, key: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "note", lambda self, prompt: LEFT_OUT if "bos" in prompt else "")
    at = fine(open_page(f"pages/{page}.py", folder))
    if any(button.key == "first_more" for button in at.button):  # the first screen; the whole page is behind "More"
        fine(at.button(key="first_more").click().run())
    assert not any("left out" in one.value for one in at.caption)
    fine(at.text_area(key=key).set_value("bos a dog").run())
    assert sum("left out" in one.value for one in at.caption) == 1


def test_what_is_left_out_of_every_text_is_on_the_card(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "note", lambda self, prompt: LEFT_OUT)
    at = fine(open_page("pages/build/discover.py", folder))
    assert any("left out" in one.value for one in at.sidebar.caption)
