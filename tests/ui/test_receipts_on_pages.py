"""A text whose steering did not arrive in the model is marked wherever it is shown."""

from __future__ import annotations

import pytest
from deaf_hooks import deafen
from open_pages import fine, open_page

from steering.recipes import links
from steering.recipes.steps import Step, Variant
from steering.ui.steer import export, running

pytestmark = pytest.mark.usefixtures("clean_caches")

TEXTS = Step("add", direction="texts", positive="The sun is warm.", negative="The rain is cold.", alpha=0.4)
WARM = links.encode((Variant("Warm", (TEXTS,)),))
SAYS = "was expected and 0 measured"


def test_compare_marks_it_in_every_view_and_so_does_the_exported_page(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    fine(open_page("pages/steer/compare.py", folder))  # a model that is deaf from the start is refused
    deafen(monkeypatch)
    query = {"recipe": WARM, "compare_prompt": "Hello there", "compare_tokens": "5", "run": "1"}
    at = open_page("pages/steer/compare.py", folder, **query)
    assert not at.exception
    titles = [error.value for error in at.error if SAYS in error.value]
    assert len(titles) == 2 and "Warm" in titles[0]  # the variant and its random control
    (result,) = at.session_state[running.RESULTS].values()
    assert not result.rows[1].receipts[0]["agrees"] and result.rows[1].problems and not result.rows[0].problems
    assert export.page(result).count("Not steered as it says") == 2
    assert export.read_bundle(export.bundle(result)).rows[1].problems == result.rows[1].problems


def test_chat_marks_the_answer(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    at = fine(open_page("pages/steer/chat.py", folder))
    at.number_input(key="chat_tokens").set_value(5)
    fine(at.chat_input[0].set_value("Hello").run())
    assert not at.error
    deafen(monkeypatch)
    at.chat_input[0].set_value("And then?").run()
    assert not at.exception and sum(SAYS in error.value for error in at.error) == 1
