"""The random control: of equal norm, never the steered features, firing as often, on the same prompts."""

from __future__ import annotations

import pytest

import steering as t
from steering.recipes.building import build
from steering.recipes.controls import control, controllable, controls, has_control
from steering.recipes.steps import Step, Variant
from steering.recipes.workbench import Workbench

TEXTS = {"direction": "texts", "positive": "the king is here", "negative": "one bird sat", "layer": 1}


@pytest.fixture
def bench(tiny_llama: t.Model, sae_of) -> Workbench:
    return Workbench(tiny_llama, sae_of("standard"))


def one(bench: Workbench, step: Step) -> t.Intervention:
    return build(bench, Variant("", (step,))).interventions[0]


@pytest.mark.parametrize("space", ["residual", "feature"])
def test_a_thresholds_control_fires_as_often(bench: Workbench, space: str) -> None:
    tested = one(bench, Step("regulate", **TEXTS, space=space, tau=0.0))
    own = bench._everywhere(tested.direction, tested.direction)  # type: ignore[attr-defined]
    tested = one(bench, Step("regulate", **TEXTS, space=space, tau=float(own.quantile(0.8))))
    beside = control(bench, tested, 3)
    assert beside.direction.norm == pytest.approx(tested.direction.norm)  # type: ignore[attr-defined]
    other = bench._everywhere(beside.direction, tested.direction)  # type: ignore[attr-defined]
    rates = [float((p > i.tau).float().mean()) for p, i in ((own, tested), (other, beside))]  # type: ignore[attr-defined]
    assert rates[0] == pytest.approx(0.2, abs=0.03)
    # Many tokens of sparse features have the same projection, 0: between them no threshold can part.
    assert rates[1] == pytest.approx(rates[0], abs=0.03 if space == "residual" else 0.2)


@pytest.mark.parametrize("method", ["clamp", "boost", "silence"])
def test_other_features_are_never_the_steered_ones(bench: Workbench, method: str) -> None:
    steered = dict.fromkeys(range(40), 2.0)
    tested = one(bench, Step(method, features=steered))
    for seed in range(20):
        beside = control(bench, tested, seed)
        name = tested.setup.knobs[0].name  # type: ignore[union-attr]
        assert len(getattr(beside, name)) == 40 and not set(steered) & set(getattr(beside, name))


def test_a_condition_stays_and_a_plane_does_not(bench: Workbench) -> None:
    inner = Step("add", **TEXTS, alpha=0.4)
    tested = one(bench, Step("conditional", condition=inner.source(t.interventions.knobs.Vector()), then=inner))
    beside = control(bench, tested, 0)
    assert beside.condition is tested.condition and beside.threshold == tested.threshold  # type: ignore[attr-defined]
    assert beside.then.direction.fingerprint != tested.then.direction.fingerprint  # type: ignore[attr-defined]
    assert beside.then.alpha == tested.then.alpha  # type: ignore[attr-defined]
    turned = one(bench, Step("rotate", **TEXTS, degrees=40.0))
    random = control(bench, turned, 0)
    assert random.plane.fingerprint not in (turned.plane.fingerprint, random.direction.fingerprint)  # type: ignore[attr-defined]


def test_seeds_differ_between_steps_and_agree_between_runs(bench: Workbench) -> None:
    two = build(bench, Variant("", (Step("add", **TEXTS), Step("add", **TEXTS)))).interventions
    first, second = controls(bench, two, 0)
    assert first.fingerprint != second.fingerprint  # two steps alike are not pushed along one random direction
    assert [i.fingerprint for i in controls(bench, two, 0)] == [first.fingerprint, second.fingerprint]
    assert controls(bench, two, 1)[0].fingerprint != first.fingerprint


def test_reconstruction_alone_has_no_control(bench: Workbench) -> None:
    assert not controllable(Variant("", (Step("reconstruct"),)))
    assert not has_control([one(bench, Step("reconstruct"))])
    assert controllable(Variant("", (Step("sara"),))) and not controllable(Variant("", (Step("add", on=False),)))
