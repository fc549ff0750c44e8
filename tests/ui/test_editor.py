"""The recipe editor: what is removed comes back, variants are renamed, and a strength in a name follows the slider."""

from __future__ import annotations

import pytest

from steering.recipes.steps import Step, Variant
from steering.ui.steer import editor

KEY = "recipe"
ONE = Step("add", direction="texts", positive="a", negative="b", alpha=0.1)
TWO = Step("ablate", direction="texts", positive="a", negative="b")


@pytest.fixture
def session(monkeypatch) -> dict:
    """The session of a visitor whose recipe has variants A (one step) and B (two)."""
    found: dict = {}
    monkeypatch.setattr(editor.st, "session_state", found)
    editor.load(KEY, (Variant("A", (ONE,)), Variant("B", (ONE, TWO))))
    return found


def act(session: dict, index: int, action: str) -> None:
    session["menu"] = action
    editor._act(KEY, session[KEY][index].id, "menu")


def act_on_step(session: dict, index: int, step: int, action: str) -> None:
    card = session[KEY][index]
    session["menu"] = action
    editor._act_step(KEY, card, card.steps[step], "menu")


def test_removed_variants_come_back_where_they_stood_with_later_changes_kept(session):
    before = editor.recipe_of(KEY)
    act(session, 0, "remove")
    act(session, 0, "remove")
    assert editor.recipe_of(KEY) == ()
    editor.undo(KEY)
    assert [variant.name for variant in editor.recipe_of(KEY)] == ["B"]
    editor.undo(KEY)
    assert editor.recipe_of(KEY) == before
    editor.undo(KEY)  # nothing is left to bring back
    assert editor.recipe_of(KEY) == before


def test_a_removed_step_comes_back_with_its_id(session):
    before, ids = editor.recipe_of(KEY), list(session[KEY][1].steps)
    act_on_step(session, 1, 0, "remove")
    assert editor.recipe_of(KEY)[1].steps == (TWO,)
    editor.undo(KEY)
    assert editor.recipe_of(KEY) == before and session[KEY][1].steps == ids


def test_a_recipe_of_ones_own_comes_back_after_an_example_replaced_it(session):
    example = (Variant("Example", (ONE,)),)
    editor.load(KEY, example)
    assert not session.get(f"{KEY}_undo"), "what was loaded and never changed is not missed"
    session[KEY][0].variant = Variant("Mine", (TWO,))
    editor.load(KEY, (Variant("Other", (ONE,)),))
    editor.undo(KEY)
    assert [variant.name for variant in editor.recipe_of(KEY)] == ["Mine"]


def test_a_variant_is_renamed_and_a_name_may_be_taken_away(session):
    act(session, 0, "rename")
    assert session[KEY][0].renaming
    session["name"] = "  Toward   the sun "
    editor._rename(session[KEY][0], "name")
    assert session[KEY][0].variant.name == "Toward the sun" and not session[KEY][0].renaming
    session["name"] = ""
    editor._rename(session[KEY][0], "name")
    assert session[KEY][0].variant.title == ONE.setup.title


@pytest.mark.parametrize(
    ("name", "now", "then"),
    [
        ("Happy, alpha 0.1", 0.3, "Happy, alpha 0.3"),
        ("Alpha 0.1", -0.25, "Alpha -0.25"),
        ("Alpha 0.15", 0.3, "Alpha 0.15"),
        ("Happy", 0.3, "Happy"),
    ],
)
def test_a_strength_in_a_name_follows_the_slider(name, now, then):
    assert editor.renamed(name, (ONE,), (ONE.but(alpha=now),)) == then
    assert editor.renamed(name, (ONE,), (ONE,)) == name
