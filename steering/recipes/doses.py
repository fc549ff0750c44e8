"""Unrolling a slider: which strengths to try of a variant's knob, and the variant at each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..interventions.knobs import NORMS, PROJECTION, Features, Inner, Number
from .building import build
from .steps import Step, Variant
from .workbench import Workbench

# In layer norms. Fine near zero: on real models an answer turns at a twentieth of a norm, and a text breaks at a third.
NORM_DOSES = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True)
class Dial:
    """A slider of a variant: the number of a step, or of the step inside it; or the value of one of its features.

    Attributes:
        step: the step's index in the variant.
        inner: the name of the knob that holds the inner step; "" for the step's own.
        feature: the feature whose value it is, None for a number of the step.
    """

    step: int
    inner: str
    knob: Number
    feature: int | None = None

    @property
    def key(self) -> str:
        """A short text that names the slider within its variant."""
        return f"{self.step}.{self.inner}.{self.knob.name}"


def dials(variant: Variant, largest: Callable[[int], float] = lambda feature: 0.0) -> list[Dial]:
    """The sliders of a variant's steps that are on, those in layer norms first.

    Args:
        largest: the largest activation that was seen of a feature, to whose double its slider reaches; 0 where that is
            not known, and the slider then reaches to the double of where it stands.
    """
    found = []
    for place, step in enumerate(variant.steps):
        if not step.on:
            continue
        inside = [("", step)]
        inside += [(knob.name, getattr(step, knob.name)) for knob in step.setup.knobs if isinstance(knob, Inner)]
        for inner, one in inside:
            found += [Dial(place, inner, knob) for knob in _numbers(one)]
            found += [Dial(place, inner, knob, feature) for feature, knob in _values(one, largest)]
    return sorted(found, key=lambda dial: dial.knob.unit != NORMS)


def _values(step: Step, largest: Callable[[int], float]) -> list[tuple[int, Number]]:
    """A slider for the value of each feature of a step."""
    if not any(isinstance(knob, Features) and knob.valued for knob in step.setup.knobs):
        return []
    return [
        (feature, Number(f"feature_{feature}", f"Feature {feature}", 0.0, _reach(value, largest(feature)), None))
        for feature, value in step.features.items()
    ]


def _reach(value: float, largest: float) -> float:
    """Where a feature's slider ends, on the side on which it stands."""
    size = 2 * (largest or abs(value)) or 1.0
    return -size if value < 0 else size


def _numbers(step: Step) -> list[Number]:
    raw = [f"{knob.name}_raw" for knob in step.setup.knobs if isinstance(knob, Number) and knob.unit == NORMS]
    fixed = {name.removesuffix("_raw") for name in raw if getattr(step, name) is not None}  # not on a slider
    knobs = [knob for knob in step.setup.knobs if isinstance(knob, Number) and step.offers(knob)]
    return [knob for knob in knobs if knob.name not in fixed]


def value_of(variant: Variant, dial: Dial) -> float | None:
    """Where a slider stands; None for a threshold that is found from the pairs."""
    step = _step_of(variant, dial)
    return step.features[dial.feature] if dial.feature is not None else getattr(step, dial.knob.name)


def _step_of(variant: Variant, dial: Dial) -> Step:
    step = variant.steps[dial.step]
    return getattr(step, dial.inner) if dial.inner else step


def moved(variant: Variant, dial: Dial, value: float) -> Variant:
    """The variant with one slider moved."""
    step = _step_of(variant, dial)
    name, new = dial.knob.name, value
    if dial.feature is not None:
        name, new = "features", {**step.features, dial.feature: value}
    step = step.but(**{name: new})
    steps = list(variant.steps)
    steps[dial.step] = steps[dial.step].but(**{dial.inner: step}) if dial.inner else step
    return replace(variant, steps=tuple(steps))


def strengths(bench: Workbench, variant: Variant, dial: Dial) -> list[float]:
    """About six strengths of a slider, from the weakest to the strongest.

    In layer norms toward the side on which the slider stands; a threshold falls through where its pairs lie; a feature
    goes to twice the largest activation that was seen of it (zero, which switches it off, is not the baseline).
    """
    knob, now = dial.knob, value_of(variant, dial)
    if knob.unit == NORMS:
        sign = -1.0 if isinstance(now, float) and now < 0 else 1.0
        return [sign * dose for dose in NORM_DOSES if knob.fits(sign * dose)]
    low, high = knob.low, knob.high
    if low < 0 < high and knob.default and knob.unit != PROJECTION:  # zero is no steering: out to one side
        low, high = 0.0, low if isinstance(now, float) and now < 0 else high
    if knob.unit == PROJECTION:
        low, high = spread(bench, _step_of(variant, dial))
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
