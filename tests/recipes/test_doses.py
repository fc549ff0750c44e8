"""Unrolled sliders: every number of every method can be, at strengths that its step accepts."""

from __future__ import annotations

import pytest

from steering.interventions.knobs import NORMS, Number
from steering.interventions.protocol import METHODS
from steering.models.model import Model
from steering.recipes.doses import dials, moved, strengths, value_of
from steering.recipes.steps import Step, Variant
from steering.recipes.workbench import Workbench

TEXTS = {"direction": "texts", "positive": "The sun is warm.", "negative": "The rain is cold."}


@pytest.fixture(scope="module")
def bench(tiny_llama: Model) -> Workbench:
    return Workbench(tiny_llama)


@pytest.mark.parametrize("method", METHODS)
def test_every_slider_can_be_unrolled(bench: Workbench, method: str):
    step = Step(method)
    if step.needs_sae:
        return
    step = step.but(**TEXTS) if "direction" in step.settings or step.sources else step
    variant = Variant("x", (step,))
    found = dials(variant)
    assert len(found) >= len(step.setup.of(Number))
    for dial in found:
        values = strengths(bench, variant, dial)
        assert 3 <= len(values) <= 7 and len(set(values)) == len(values)
        for value in values:
            assert value_of(moved(variant, dial, value), dial) == value


def test_a_slider_goes_out_from_zero_to_the_side_on_which_it_stands(bench: Workbench):
    for alpha, sign in ((0.4, 1), (-0.1, -1)):
        variant = Variant("x", (Step("add", alpha=alpha, **TEXTS),))
        values = strengths(bench, variant, dials(variant)[0])
        assert all(value * sign > 0 for value in values)
        assert [abs(value) for value in values] == sorted(abs(value) for value in values)


def test_strengths_in_layer_norms_come_first_and_fixed_ones_are_no_sliders():
    both = Variant("x", (Step("ablate", **TEXTS), Step("add", **TEXTS)))
    assert [dial.knob.unit == NORMS for dial in dials(both)] == [True, False]
    assert dials(Variant("x", (Step("add", alpha_raw=3.0, **TEXTS),))) == []
    assert dials(Variant("x", (Step("add", on=False, **TEXTS),))) == []


def test_a_slider_inside_another_step_is_moved_there():
    variant = Variant("x", (Step("conditional", then=Step("add", alpha=0.5, **TEXTS), **TEXTS),))
    inner = next(dial for dial in dials(variant) if dial.inner)
    assert value_of(variant, inner) == 0.5
    assert moved(variant, inner, 0.2).steps[0].then.alpha == 0.2


def test_a_features_slider_goes_to_twice_what_was_seen_of_it_and_leaves_the_others():
    variant = Variant("x", (Step("clamp", features={7: 3.0, 9: -2.0}),))
    first, second = dials(variant, {7: 5.0, 9: 4.0}.__getitem__)
    assert (first.knob.high, second.knob.high) == (10.0, -8.0)
    assert value_of(variant, second) == -2.0
    assert moved(variant, first, 10.0).steps[0].features == {7: 10.0, 9: -2.0}
    assert dials(variant)[0].knob.high == 6.0  # nothing was seen: twice where it stands


@pytest.mark.parametrize("value, last", [(3.0, 6.0), (-3.0, -6.0)])
def test_a_features_strengths_leave_out_zero(bench: Workbench, value: float, last: float):
    variant = Variant("x", (Step("clamp", features={7: value}),))
    values = strengths(bench, variant, dials(variant)[0])
    assert values[-1] == last and len(values) == 6 and 0.0 not in values
    assert [abs(one) for one in values] == sorted(abs(one) for one in values)
