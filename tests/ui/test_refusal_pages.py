"""Build / Direction, refusal, and Measure / Two models through app.py: jobs, and nothing harmful shown."""

from __future__ import annotations

import json

import pytest
from open_pages import fine, open_page

from steering.ui.shared import objects as services
from steering.ui.steer import comparing

DIRECTION, PAIR = "pages/build/direction.py", "pages/measure/two_models.py"
pytestmark = pytest.mark.usefixtures("clean_caches")
THINGS = ("cat", "dog", "mat", "moon", "model", "way", "you", "it")


def finished(at, timeout: float = 200):
    (job,) = services.jobs().all()
    job.result(timeout)
    return fine(at.run())


def texts(at) -> str:
    return " ".join(
        str(one.value) for kind in ("markdown", "caption", "text", "warning", "info") for one in getattr(at, kind)
    )


def searched(folder: str):
    """A search on a random model, whose refusing tokens and instructions are given."""
    at = fine(open_page(DIRECTION, folder, direction_kind="Refusal"))
    fine(at.text_input(key="refusal_tokens").set_value("I|no").run())
    fine(at.text_area(key="refusal_harmful").set_value("\n".join(f"I hate the {one}" for one in THINGS)).run())
    fine(at.text_area(key="refusal_harmless").set_value("\n".join(f"I love the {one}" for one in THINGS)).run())
    return fine(at.button(key="refusal_go").click().run())


def test_the_view_opens_without_a_search(folder):
    at = fine(open_page(DIRECTION, folder, direction_kind="Refusal"))
    assert at.info and not services.jobs().all()


def test_tokens_that_are_none_are_refused_in_a_sentence(folder):
    at = fine(open_page(DIRECTION, folder, direction_kind="Refusal"))
    fine(at.text_input(key="refusal_tokens").set_value("I am so very sorry").run())
    fine(at.button(key="refusal_go").click().run())
    assert "one token" in at.error[0].value and not services.jobs().all()


def test_what_the_search_refuses_is_said(folder):
    """A random model refuses nothing, so the filter leaves too few."""
    at = searched(folder)
    (job,) = services.jobs().all()
    with pytest.raises(ValueError, match="needs at least"):
        job.result(100)
    at = fine(at.run())
    assert at.error and "needs at least" in at.error[0].value


def test_the_organism_s_candidates_are_drawn_tried_and_saved():
    at = fine(open_page(DIRECTION, direction_kind="Refusal"))
    fine(at.button(key="refusal_go").click().run())
    at = finished(at)
    assert "candidates passed" in texts(at)
    spec = json.loads(at.get("plotly_chart")[0].proto.spec)
    assert len(spec["data"][0]["z"]) == 2  # <|end|> and <|assistant|>
    fine(at.button(key="refusal_try").click().run())
    folded = [one for one in at.expander if "harmful" in one.label]
    assert len(folded) == 1 and not folded[0].proto.expanded
    shown = len(at.text)
    fine(at.toggle(key="refusal_show").set_value(True).run())
    assert len(at.text) == shown + 3  # the harmful request and two answers
    assert at.button(key="refusal_write").disabled  # until its confirmation
    fine(at.checkbox(key="refusal_agreed").check().run())
    fine(at.button(key="refusal_write").click().run())
    assert at.success and "without" in at.success[0].value
    at.button(key="refusal_steer").click()
    fine(at.run())
    (card,) = at.session_state[comparing.RECIPE]
    assert card.variant.steps[0].method == "ablate" and card.variant.steps[0].direction.startswith("saved:")


def test_a_candidate_is_fitted_further_and_steered_with(monkeypatch):
    """Two steps instead of a hundred; the buttons below take the fitted direction, unless it is switched off."""
    from steering.evaluations.refusal import optimized

    whole = optimized.optimize_refusal
    monkeypatch.setattr(optimized, "optimize_refusal", lambda *given, **options: whole(*given, **options, steps=2))
    at = fine(open_page(DIRECTION, direction_kind="Refusal"))
    fine(at.button(key="refusal_go").click().run())
    at = finished(at)
    fine(at.button(key="refusal_fit_go").click().run())
    (job,) = [one for one in services.jobs().all() if one.name.startswith("Refusal fit")]
    job.result(200)
    at = fine(at.run())
    (table,) = [one.value for one in at.dataframe]
    assert list(table[""]) == ["Difference of means", "Fitted"] and "2 steps" in texts(at)
    # The toast says what was saved; in the Library the same direction of another test would be no new row.
    at = fine(at.button(key="refusal_save").click().run())
    assert ", optimized. It is in the Library" in at.toast[0].value
    at = fine(at.toggle(key="refusal_fit_use").set_value(False).run())
    at = fine(at.button(key="refusal_save").click().run())
    assert "It is in the Library" in at.toast[0].value and "optimized" not in at.toast[0].value


def test_two_models_are_compared():
    at = fine(open_page(PAIR, "organism"))
    assert at.info
    fine(at.button(key="models_go").click().run())
    at = finished(at)
    assert "has moved furthest" in texts(at) and len(at.dataframe) == 1
    assert "Lisbon" in texts(at) or "Berlin" in texts(at)


def test_a_model_beside_itself_has_the_same_weights(folder):
    at = fine(open_page(PAIR, folder, models_base=folder, models_tuned=folder))
    fine(at.button(key="models_go").click().run())
    at = finished(at)
    assert "same weights" in at.success[0].value


def test_harmful_answers_are_sent_only_when_asked_for(monkeypatch):
    """The table's experiment at its smallest; what is written to harmful requests stays on the server."""
    from steering.experiments.programs import refusal
    from steering.ui.measure import refusal_table

    small = refusal.run_refusal
    monkeypatch.setattr(
        refusal, "run_refusal", lambda engine, n, tick: small(engine, n=8, max_new_tokens=8, steps=0, tick=tick)
    )
    at = fine(open_page(PAIR, "organism", models_view="Refusal in every form"))
    calm = len(at.text)  # the sidebar's
    fine(at.button(key="refusal_table_go").click().run())
    at = finished(at)
    table = at.dataframe[0].value
    assert list(table[""][:3]) == ["Baseline", "Ablated everywhere", "Orthogonalized weights"]
    assert any("Unsteered, organism refuses harmful requests in" in one.value for one in at.markdown)
    before = len(at.text)
    assert before == calm + 4  # harmless answers only
    (row,) = services.store().measurements("Refusal in every form")
    assert {"refusal.md", "table.csv"} == set(services.store().measurement(row.id))
    fine(at.toggle(key="refusal_table_show").set_value(True).run())
    assert len(at.text) > before and refusal_table.SIZES
