"""Every method of the package in the editor, on Compare with its control, in exported Python, and on Evaluate."""

from __future__ import annotations

import pytest
from every_step import usual
from open_pages import fine, open_page

from steering.interventions.protocol import METHODS
from steering.recipes.controls import controllable
from steering.recipes.links import encode
from steering.recipes.steps import Step, Variant
from steering.ui.measure.evaluation_form import RECIPE
from steering.ui.shared import state
from steering.ui.steer import comparing, export, running

pytestmark = [
    pytest.mark.usefixtures("clean_caches"),
    pytest.mark.skipif(not state.bundled_models(), reason="the bundled model is not built yet"),
]


@pytest.mark.parametrize("half", [0, 1])
def test_every_method_on_compare_in_python_and_on_evaluate(half: int) -> None:
    methods = list(METHODS)[half::2]
    recipe = tuple(Variant(name, (Step(name, **usual(name, "pressure")),)) for name in methods)
    at = fine(
        open_page("pages/steer/compare.py", recipe=encode(recipe), compare_prompt="Is it?", compare_tokens="3", run="1")
    )
    assert not at.error, [error.value for error in at.error]
    assert [card.variant for card in at.session_state[comparing.RECIPE]] == list(recipe)  # no widget changed a setting
    (result,) = at.session_state[running.RESULTS].values()
    kinds = [row.kind for row in result.rows]
    assert kinds.count("steered") == len(methods) and kinds.count("control") == sum(map(controllable, recipe))
    namespace: dict = {}
    exec(export.code(result, state.sae_choice("organism")), namespace)
    namespace["engine"].close()
    assert [c.tokens for c in namespace["completions"]] == [row.tokens for row in result.rows if row.kind != "control"]

    at.session_state["evaluate_kind"] = "own"
    at.session_state[RECIPE] = at.session_state[comparing.RECIPE]
    fine(at.switch_page("pages/measure/evaluate.py").run())
    (file,) = [code.value for code in at.code if "[[arms]]" in code.value]
    assert all(f'method = "{METHODS[name].__name__}"' in file for name in methods)


def test_a_step_can_be_put_under_a_condition_in_the_editor() -> None:
    at = fine(open_page("pages/steer/compare.py", first="0"))
    card = at.session_state[comparing.RECIPE][0]
    prefix = f"{comparing.RECIPE}_{card.id}_{card.steps[0]}"
    fine(at.selectbox(key=f"{prefix}_kind").set_value("conditional").run())
    fine(at.selectbox(key=f"{prefix}_condition_direction").set_value("pairs:pressure").run())
    fine(at.selectbox(key=f"{prefix}_then_kind").set_value("regulate").run())
    fine(at.selectbox(key=f"{prefix}_then_direction").set_value("pairs:pressure").run())
    step = at.session_state[comparing.RECIPE][0].variant.steps[0]
    assert step.condition.direction == "pairs:pressure" and step.then.method == "regulate"
    assert "conditional" not in at.selectbox(key=f"{prefix}_then_kind").options  # conditions are not nested
    fine(at.button(key="compare_go").click().run())
    assert not at.error, [error.value for error in at.error]
