"""Unrolling a slider: which strengths to try of a variant's knob, and the variant at each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..interventions.knobs import NORMS, PROJECTION, Inner, Number
from .building import build
from .steps import Step, Variant
from .workbench import Workbench

# In layer norms. Fine near zero: on real models an answer turns at a twentieth of a norm, and a text breaks at a third.
NORM_DOSES = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True)
class Dial:
    """A slider of a variant: the number of a step, or of the step inside it.

    Attributes:
        step: the step's index in the variant.
        inner: the name of the knob that holds the inner step; "" for the step's own.
    """

    step: int
    inner: str
    knob: Number

    @property
    def key(self) -> str:
        """A short text that names the slider within its variant."""
        return f"{self.step}.{self.inner}.{self.knob.name}"


def dials(variant: Variant) -> list[Dial]:
    """The sliders of a variant's steps that are on, those in layer norms first."""
    found = []
    for place, step in enumerate(variant.steps):
        if not step.on:
            continue
        found += [Dial(place, "", knob) for knob in _numbers(step)]
        for knob in step.setup.knobs:
            if isinstance(knob, Inner):
                found += [Dial(place, knob.name, number) for number in _numbers(getattr(step, knob.name))]
    return sorted(found, key=lambda dial: dial.knob.unit != NORMS)


def _numbers(step: Step) -> list[Number]:
    raw = [f"{knob.name}_raw" for knob in step.setup.knobs if isinstance(knob, Number) and knob.unit == NORMS]
    fixed = {name.removesuffix("_raw") for name in raw if getattr(step, name) is not None}  # not on a slider
    knobs = [knob for knob in step.setup.knobs if isinstance(knob, Number) and step.offers(knob)]
    return [knob for knob in knobs if knob.name not in fixed]


def value_of(variant: Variant, dial: Dial) -> float | None:
    """Where a slider stands; None for a threshold that is found from the pairs."""
    step = variant.steps[dial.step]
    return getattr(getattr(step, dial.inner) if dial.inner else step, dial.knob.name)


def moved(variant: Variant, dial: Dial, value: float) -> Variant:
    """The variant with one slider moved."""
    steps = list(variant.steps)
    step = steps[dial.step]
    if dial.inner:
        step = step.but(**{dial.inner: getattr(step, dial.inner).but(**{dial.knob.name: value})})
    else:
        step = step.but(**{dial.knob.name: value})
    steps[dial.step] = step
    return replace(variant, steps=tuple(steps))


def strengths(bench: Workbench, variant: Variant, dial: Dial) -> list[float]:
    """About six strengths of a slider, from the weakest to the strongest.

    In layer norms toward the side on which the slider stands; a threshold falls through where its pairs lie.
    """
    knob, now = dial.knob, value_of(variant, dial)
    if knob.unit == NORMS:
        sign = -1.0 if isinstance(now, float) and now < 0 else 1.0
        return [sign * dose for dose in NORM_DOSES if knob.fits(sign * dose)]
    low, high = knob.low, knob.high
    if low < 0 < high and knob.default and knob.unit != PROJECTION:  # zero is no steering: out to one side
        low, high = 0.0, low if isinstance(now, float) and now < 0 else high
    if knob.unit == PROJECTION:
        step = variant.steps[dial.step]
        low, high = spread(bench, getattr(step, dial.inner) if dial.inner else step)
    return _even(high, low) if knob.unit == PROJECTION else _even(low, high)


def _even(first: float, last: float, count: int = 6) -> list[float]:
    """Evenly spaced numbers to the last one; zero, which is no steering, is left out."""
    found = [first + (last - first) * k / (count - 1) for k in range(count)]
    if first == 0:
        found = [last * (k + 1) / count for k in range(count)]
    return list(dict.fromkeys(float(f"{value:.3g}") for value in found if value))


def spread(bench: Workbench, step: Step) -> tuple[float, float]:
    """The lowest and the highest threshold worth trying: where the pairs of the step's direction lie."""
    from ..interventions.knobs import Vector

    direction = bench.direction(step.source(Vector()))
    groups = bench.projections(direction, step.direction)
    values = [value for side in ("positive", "negative") for value in groups.get(side, [])]
    if not values:
        unit = bench.typical_norm(direction.site)
        return -unit, unit
    return min(values), max(values)


def built(bench: Workbench, variant: Variant, dial: Dial, values: Sequence[float]) -> dict[float, tuple]:
    """The interventions of a variant at each strength of a slider.

    Raises:
        ValueError: a setting does not fit; the message names the step.
    """
    return {value: build(bench, moved(variant, dial, value)).interventions for value in values}
