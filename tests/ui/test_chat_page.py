"""Chat through app.py: instructions, links, saving, exports, and undo of what was removed."""

from __future__ import annotations

import json

import pytest
from open_pages import ROOT, fine, open_page
from streamlit.testing.v1 import AppTest

from steering.recipes import links
from steering.recipes.steps import Step, Variant, to_data
from steering.ui.chat import chatting, conversation, files
from steering.ui.chat.conversation import Conversation, Turn, checked_chat
from steering.ui.library import saved_runs
from steering.ui.shared import objects as services
from steering.ui.shared import state

pytestmark = pytest.mark.usefixtures("clean_caches")

WARM = Variant("Warm", (Step("add", direction="texts", positive="It is warm.", negative="It is cold.", alpha=0.6),))
STRONG = Variant("Warm", (WARM.steps[0].but(alpha=2.0),))


def chat(folder: str, *questions: str, **query: str) -> AppTest:
    """Chat as a link opens it."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for name, value in {"model": folder, "chat_tokens": "5", **query}.items():
        at.query_params[name] = value
    fine(at.run())
    at.switch_page(chatting.PAGE)
    for name, value in {"chat_tokens": "5", "recipe": links.encode((WARM,)), **query}.items():
        at.query_params[name] = value
    if questions:
        at.query_params[chatting.ASKED] = links.pack(list(questions))
    return fine(at.run())


def turns(at: AppTest, folder: str) -> list[Turn]:
    return at.session_state[f"{chatting.TURNS}_{folder}"]


def test_a_link_asks_its_questions_again_and_gives_the_same_answers(folder):
    at = chat(folder, "Hello", "And then?")
    found = turns(at, folder)
    assert [turn.user for turn in found] == ["Hello", "And then?"] and not any(turn.open for turn in found)
    assert found[0].plain != found[0].steered
    query = {name: at.query_params[name] for name in at.query_params}
    again = turns(chat(folder, "Hello", "And then?", **query), folder)
    assert [(turn.plain, turn.steered) for turn in again] == [(turn.plain, turn.steered) for turn in found]


def test_a_damaged_link_is_one_sentence(folder):
    at = chat(folder, recipe="nonsense")
    assert any("cannot be read" in warning.value for warning in at.warning)
    assert not turns(at, folder)


def test_instructions_stand_before_both_sides(folder):
    lm = services.model(folder)
    asked = [Turn("Hello", 0)]
    if lm.has_chat_template:
        found = conversation.prompt_of(lm, asked, "plain", "Be brief.")
        assert found == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert conversation.prompt_of(lm, asked, "plain") == conversation.prompt_of(lm, asked, "steered", "  ")


@pytest.mark.skipif(not state.bundled_models(), reason="the bundled model is not built yet")
def test_instructions_reach_the_model_and_the_exported_python_holds_the_same_conversation():
    at = chat("organism", "Is 7 plus 5 equal to 13?", "Why?", chat_system="Do not just agree.")
    found = turns(at, "organism")
    plain = turns(chat("organism", "Is 7 plus 5 equal to 13?"), "organism")[0]
    assert found[0].plain != plain.plain or found[1].plain, "the instructions change what is read"
    found[1].variant, found[1].raw = [], []  # as if the recipe had been off in this turn
    found[1].steered = None
    talk = Conversation("organism", found, "Do not just agree.")
    namespace: dict = {}
    exec(files.code(talk, state.sae_choice("organism")), namespace)
    namespace["engine"].close()
    assert namespace["answers"][:3] == [found[0].plain, found[0].steered, found[1].plain]


def test_a_saved_chat_opens_again_and_its_files_hold_everything(folder):
    at = chat(folder, "Hello <b>there</b>")
    talk = Conversation(folder, turns(at, folder), "", {})
    assert checked_chat(json.loads(json.dumps(conversation.to_data(talk)))) == talk
    page = files.page(talk)
    assert "<script" not in page and "<b>there" not in page and "&lt;b&gt;there" in page
    assert "Hello <b>there</b>" in files.transcript(talk)
    compile(files.code(talk), "chat.py", "exec")
    row = services.store().save_run(conversation.to_data(talk), "greeting", model=folder, prompt="Hello")
    assert saved_runs.is_chat(services.store().run(row.id))
    services.store().delete("runs", row.id)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"turns": []}, "a list of 1 to"),
        ({"system": 3}, "system is a text"),
        ({"turns": [{"user": "a"}]}, "turn 1: plain is a text"),
        ({"turns": [{"user": "a", "plain": "b", "steered": "c", "seed": "0"}]}, "seed is a number"),
        ({"turns": [{"user": "a", "oops": 1}]}, "no field 'oops'"),
    ],
)
def test_a_damaged_chat_is_refused_in_one_sentence(change, says):
    turn = {"user": "a", "plain": "b", "steered": "c", "seed": 0, "max_new_tokens": 3, "temperature": 0.0}
    turn |= {"variant": to_data((WARM,))}
    whole = {"format": conversation.FORMAT, "version": 1, "model": "m", "system": "", "turns": [turn]}
    assert checked_chat(whole).turns[0].user == "a"
    with pytest.raises(ValueError, match="raw alpha is a number"):
        checked_chat(whole | {"turns": [turn | {"raw": [[{"alpha": "__import__(0)"}]]}]})
    with pytest.raises(ValueError, match=says) as caught:
        checked_chat(whole | change)
    assert "\n" not in str(caught.value)


def test_what_is_taken_back_can_be_brought_back(folder):
    at = chat(folder, "Hello", "And then?")
    before = list(turns(at, folder))
    fine(at.button(key="chat_back").click().run())
    assert len(turns(at, folder)) == 1
    fine(at.button(key="chat_undo").click().run())
    assert turns(at, folder) == before
    fine(at.button(key="chat_clear").click().run())
    assert not turns(at, folder)
    fine(at.button(key="chat_undo").click().run())
    assert turns(at, folder) == before


def test_a_turn_keeps_the_recipe_that_it_was_written_with(folder):
    at = chat(folder, "Hello")
    at.session_state[chatting.RECIPE][0].variant = STRONG
    card = at.session_state[chatting.RECIPE][0]
    at.session_state[f"{chatting.RECIPE}_{card.id}_{card.steps[0]}_alpha"] = {"value": 2.0}
    fine(at.chat_input[0].set_value("Again").run())
    first, second = turns(at, folder)
    assert first.steps[0].steps[0].alpha == 0.6 and second.steps[0].steps[0].alpha == 2.0
    assert first.raw != second.raw


def test_the_page_opens_with_its_title(folder):
    assert open_page(chatting.PAGE, folder).title[0].value == "Chat"
