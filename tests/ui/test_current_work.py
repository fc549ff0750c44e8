"""One prompt and one recipe for all pages: a field follows them until the visitor has put something there."""

from __future__ import annotations

import pytest
from open_pages import fine, open_page

from steering.recipes.links import encode
from steering.recipes.steps import Step, Variant
from steering.ui.measure import evaluation_form
from steering.ui.shared import current
from steering.ui.steer import comparing, editor

pytestmark = pytest.mark.usefixtures("clean_caches")

SAD = (Variant("Sad", (Step("add", direction="pairs:mood_sad", alpha=0.2, layer=1),)),)
COMPARE, TOKENS, DIRECTION = "pages/steer/compare.py", "pages/explore/tokens.py", "pages/build/direction.py"


@pytest.fixture
def session(monkeypatch) -> dict:
    found: dict = {}
    monkeypatch.setattr(current.st, "session_state", found)
    monkeypatch.setattr(current.st, "query_params", {})
    return found


def test_a_field_follows_until_it_holds_a_choice_of_the_visitors_own(session):
    current.follow("text", "", "default")
    assert session["text"] == "default"
    current.follow("text", "first", "default")
    assert session["text"] == "first"
    session["text"] = "my own"
    current.follow("text", "second", "default")
    assert session["text"] == "my own"
    current.follow("layer", 40, 3, range(6))
    assert session["layer"] == 3, "a field keeps to what it can hold"


def test_what_a_link_says_is_left_to_the_link(session, monkeypatch):
    monkeypatch.setattr(current.st, "query_params", {"text": "from the link"})
    current.follow("text", "first", "default")
    assert "text" not in session


def test_pages_begin_with_the_prompt_and_the_direction_of_compare(folder):
    at = fine(open_page(COMPARE, folder, recipe=encode(SAD), compare_prompt="Hello there"))
    fine(at.switch_page(TOKENS).run())
    assert at.text_area(key="tokens_text").value == "Hello there"
    fine(at.switch_page(COMPARE).run())
    at.text_area(key="compare_prompt").set_value("Good night")
    fine(at.run())
    fine(at.switch_page(TOKENS).run())
    assert at.text_area(key="tokens_text").value == "Good night"
    at.text_area(key="tokens_text").set_value("Mine")
    fine(at.run())
    fine(at.switch_page(COMPARE).run())
    fine(at.switch_page(TOKENS).run())
    assert at.text_area(key="tokens_text").value == "Mine"


def test_compare_goes_on_to_chat_tokens_and_evaluate(folder):
    query = {"recipe": encode(SAD), "compare_prompt": "Hello there", "compare_tokens": "4", "run": "1"}
    texts = (Variant("Warm", (Step("add", direction="texts", positive="warm", negative="cold", alpha=0.3),)),)
    query["recipe"] = encode(texts)
    at = fine(open_page(COMPARE, folder, **query))
    fine(at.button(key="compare_to_chat").click().run())
    assert at.title[0].value == "Chat" and any("Hello there" in text.value for text in at.text)
    fine(at.switch_page(COMPARE).run())
    fine(at.button(key="compare_to_tokens").click().run())
    assert at.title[0].value == "Tokens" and at.text_area(key="tokens_text").value == "Hello there"
    fine(at.switch_page(COMPARE).run())
    fine(at.button(key="compare_to_evaluate").click().run())
    assert at.title[0].value == "Evaluate"
    assert [variant.title for variant in editor_recipe(at)] == ["Warm"]


def editor_recipe(at) -> list[Variant]:
    return [card.variant for card in at.session_state[evaluation_form.RECIPE]]


def test_a_recipe_follows_until_it_is_changed(monkeypatch):
    session: dict = {}
    monkeypatch.setattr(editor.st, "session_state", session)
    other = (Variant("Other", SAD[0].steps),)
    editor.follow("r", SAD, other)
    assert editor.recipe_of("r") == SAD
    editor.follow("r", other, SAD)
    assert editor.recipe_of("r") == other
    session["r"][0].variant = Variant("Mine", SAD[0].steps)
    editor.follow("r", SAD, other)
    assert editor.recipe_of("r")[0].name == "Mine"


def test_a_page_opened_first_begins_with_an_example(folder):
    at = fine(open_page(DIRECTION, folder))
    assert at.title[0].value == "Direction" and comparing.RECIPE in at.session_state
