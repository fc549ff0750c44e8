"""Steerability by item, dose and layer at a price a laptop pays: every few layers on few items, then the best in full.

Effects are margins of a preference (log P(true) - log P(false)), so nothing is written and nothing has to be parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..engine.engine import Engine
from ..interventions.protocol import Intervention
from .arms import BASELINE
from .effects import Steerability, steerability
from .scoring.measure import options_of
from .sets.sets import EvaluationSet
from .sweeps import Grid, Sweep, sweep
from .trials import Tick

MARGIN = "margin"
Make = Callable[[int, float], Sequence[Intervention]]


@dataclass(frozen=True)
class SearchPlan:
    """What is tried: first every `step`-th layer on `few` items, then the layers around the best on all items.

    Attributes:
        doses: strengths that are tried, without 0, which is the baseline.
        around: how many layers on either side of the best are tried in full.
    """

    layers: tuple[int, ...]
    doses: tuple[float, ...]
    step: int = 4
    few: int = 12
    around: int = 1

    def __post_init__(self) -> None:
        if not self.layers or len(set(self.doses) - {0.0}) < 1 or min(self.step, self.few) < 1 or self.around < 0:
            raise ValueError(
                "A search has layers, doses other than 0, a step and a number of items of at least 1; got "
                f"{len(self.layers)} layers, doses {list(self.doses)}, step {self.step}, {self.few} items."
            )

    @property
    def coarse(self) -> tuple[int, ...]:
        """The layers that are tried first."""
        return self.layers[self.step // 2 :: self.step] or self.layers[:1]

    def fine(self, best: int) -> tuple[int, ...]:
        """The layers that are tried in full."""
        place = self.layers.index(best)
        return self.layers[max(0, place - self.around) : place + self.around + 1]

    def rows(self, items: EvaluationSet) -> tuple[int, int]:
        """How many texts are scored in the first and, at most, in the second part, baseline included."""
        each = [len(options_of(items.scorer, item)) for item in items]
        few = sum(each[: self.few])
        doses = len(self.doses)
        return (1 + len(self.coarse) * doses) * few, (1 + (2 * self.around + 1) * doses) * sum(each)

    def cost(self, items: EvaluationSet, per_second: float) -> str:
        """What the search costs, as a sentence that is said before it begins."""
        first, second = self.rows(items)
        return (
            f"{len(self.coarse)} layers and {len(self.doses)} doses on {min(self.few, len(items))} items, then at most "
            f"{2 * self.around + 1} layers on {len(items)}: {first + second} texts, about "
            f"{(first + second) / per_second / 60:.1f} minutes at {per_second:.0f} texts a second."
        )


@dataclass(frozen=True)
class SteeringMap:
    """What came of a search.

    Attributes:
        best: the layer whose items respond most to the dose on the few items.
        by_layer: every layer of the second part with the response of each item to the dose.
        first, second: the outcomes of both parts.
    """

    best: int
    by_layer: dict[int, Steerability]
    first: Sweep
    second: Sweep


def search(engine: Engine, items: EvaluationSet, make: Make, plan: SearchPlan, tick: Tick | None = None) -> SteeringMap:
    """Steerability by layer, dose and item, coarse to fine.

    The best layer is chosen by its mean slope on the first `plan.few` items; these are left out of the second part, so
    that the layer is not flattered by what it was chosen on, unless there are no others.

    Args:
        make: (layer, dose) -> what is done.

    Raises:
        ValueError: the set's scorer gives no margin.
    """
    if MARGIN not in {measure.name for measure in items.scorer.measures}:
        raise ValueError(f"A search reads the measure 'margin' of a preference; {items.scorer.name!r} gives none.")
    few, rest = items.items[: plan.few], items.items[plan.few :]
    first = _swept(engine, replace(items, items=few), make, plan.coarse, plan.doses, tick)
    best = max(plan.coarse, key=lambda layer: abs(_response(first, layer, plan.doses, items.name).mean.value))
    kept = replace(items, items=rest or few)
    layers = plan.fine(best)
    second = _swept(engine, kept, make, layers, plan.doses, tick)
    return SteeringMap(
        best, {layer: _response(second, layer, plan.doses, items.name) for layer in layers}, first, second
    )


def _swept(
    engine: Engine, items: EvaluationSet, make: Make, layers: Sequence[int], doses: Sequence[float], tick: Tick | None
) -> Sweep:
    grid = Grid({"layer": list(layers), "dose": list(doses)})
    return sweep(engine, lambda layer, dose: make(int(layer), float(dose)), grid, [items], tick=tick)


def _response(found: Sweep, layer: int, doses: Sequence[float], name: str) -> Steerability:
    columns: dict[float, dict[int, float]] = {0.0: {}}
    doses_of = {arm.name: float(arm.settings["dose"]) for arm in found.arms if arm.settings.get("layer") == layer}
    doses_of[BASELINE.name] = 0.0
    for one in found.outcomes:
        if one.set == name and one.arm in doses_of:
            columns.setdefault(doses_of[one.arm], {})[one.item] = one.measures[MARGIN]
    order = sorted(columns)
    return steerability(order, [[columns[dose][item] for dose in order] for item in sorted(columns[0.0])])
