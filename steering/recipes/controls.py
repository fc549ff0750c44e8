"""The random control of a setup, for pages and experiments: is it this direction, or any push of this size?

A direction is replaced by a random one of equal norm, the features by others that are not the steered ones, and a
threshold by one at which the random direction fires on as many tokens as the tested one does. A condition stays: the
control happens on the same prompts. What has neither (two prompts) shuffles its own tensors.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..directions.direction import random_like
from ..interventions.knobs import NORMS, PROJECTION, Features, Inner, Number, Vector, Words
from ..interventions.protocol import Intervention
from .steps import MAIN, Variant
from .workbench import Workbench

# Steps and vectors of one variant draw from different seeds, which also differ from those that a recipe may name.
STEP, VECTOR = 1_000_000, 10_000
FAR = 1e38  # thresholds beyond stand for infinity


def controls(bench: Workbench | None, interventions: Sequence[Intervention], seed: int) -> tuple[Intervention, ...]:
    """The random controls of interventions that belong together, in order.

    Raises:
        ValueError: an SAE has too few features besides the steered ones.
    """
    return tuple(control(bench, one, seed + STEP * place) for place, one in enumerate(interventions))


def control(bench: Workbench | None, tested: Intervention, seed: int) -> Intervention:
    """The random control of one intervention; without a workbench thresholds stay as they are.

    Raises:
        ValueError: an SAE has too few features besides the steered ones.
    """
    changes: dict[str, Any] = {}
    knobs = tested.setup.knobs
    for place, knob in enumerate(knob for knob in knobs if isinstance(knob, Vector)):
        if knob.controlled:
            changes[knob.name] = random_like(getattr(tested, knob.name), seed + VECTOR * place)
    for knob in knobs:
        if isinstance(knob, Features):
            changes[knob.name] = _others(tested, knob, seed)
        elif isinstance(knob, Inner):
            changes[knob.name] = control(bench, getattr(tested, knob.name), seed)
        elif isinstance(knob, Number) and knob.unit == PROJECTION and bench is not None and MAIN in changes:
            tau = getattr(tested, knob.name)
            if abs(tau) < FAR:
                changes[knob.name] = bench.firing_tau(getattr(tested, MAIN), tau, changes[MAIN])
    made = replace(tested.randomized(seed), **changes)
    return _as_long(made, tested) if getattr(tested, "within", None) is not None else made


def _as_long(made: Any, tested: Any) -> Any:
    """The control with strengths scaled to the tested shift: less of a random vector lies in a span of texts."""
    norms = [knob.name for knob in tested.setup.of(Number) if knob.unit == NORMS]
    factor = tested.unit_shift / made.unit_shift if norms else 1.0
    return replace(made, **{name: getattr(made, name) * factor for name in norms})


def _others(tested: Any, knob: Features, seed: int) -> Any:
    """As many other features, with the same values; never one of the steered ones."""
    now = getattr(tested, knob.name)
    others = [feature for feature in range(tested.sae.d_sae) if feature not in now]
    if len(others) < len(now):
        raise ValueError(f"A control takes {len(now)} other features; {tested.sae.name} has only {len(others)} left.")
    drawn = random.Random(seed).sample(others, len(now))
    return dict(zip(drawn, now.values(), strict=True)) if knob.valued else drawn


def has_control(interventions: Sequence[Intervention]) -> bool:
    """Whether something in them can be replaced by something random: false for an SAE's reconstruction alone."""
    return any(one.setup.of(Vector, Features, Words) for one in interventions)


def controllable(variant: Variant) -> bool:
    """Whether a variant has a step with a random control."""
    return any(step.setup.of(Vector, Features, Words) for step in variant.active)
