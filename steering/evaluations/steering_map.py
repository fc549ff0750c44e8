"""Steerability by item, dose and layer at a price a laptop pays: every few layers on few items, then the best in full.

Effects are margins between answers (log P(true) - log P(false)), so nothing is written and nothing has to be parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..engine.engine import Engine
from ..interventions.protocol import Intervention
from ..jobs.checkpoint import Checkpoint
from .arms import BASELINE, Arm
from .effects import Steerability, steerability
from .margins import MARGIN, margins_of
from .scoring.items import Item
from .scoring.measure import options_of
from .sets.sets import EvaluationSet
from .sweeps import Grid, Sweep, sweep
from .trials import Tick

Make = Callable[[int, float], Sequence[Intervention]]
Random = Callable[[int, int, float], Sequence[Intervention]]


@dataclass(frozen=True)
class SearchPlan:
    """What is tried: first every `step`-th layer on `few` items, then the layers around the best on the others.

    Attributes:
        doses: strengths that are tried; 0 is the baseline, which is always there.
        around: how many layers on either side of the best are tried on the others.
        random: how many random directions are tried beside them, at the best layer.

    Raises:
        ValueError: no layer, fewer than two doses other than 0, or a number that is too small.
    """

    layers: tuple[int, ...]
    doses: tuple[float, ...]
    step: int = 4
    few: int = 12
    around: int = 1
    random: int = 0

    def __post_init__(self) -> None:
        doses = tuple(dict.fromkeys(float(dose) for dose in self.doses if dose))
        if len(doses) < 2:
            said = ", ".join(f"{dose:g}" for dose in self.doses) or "none"
            raise ValueError(f"A slope over the dose takes at least two doses other than 0; got {said}.")
        if not self.layers or min(self.step, self.few) < 1 or min(self.around, self.random) < 0:
            raise ValueError(
                "A search has layers, and a step and a number of items of at least 1; got "
                f"{len(self.layers)} layers, step {self.step}, {self.few} items."
            )
        object.__setattr__(self, "doses", doses)

    @property
    def coarse(self) -> tuple[int, ...]:
        """The layers that are tried first."""
        return self.layers[self.step // 2 :: self.step] or self.layers[:1]

    def fine(self, best: int) -> tuple[int, ...]:
        """The layers that are tried on the other items."""
        place = self.layers.index(best)
        return self.layers[max(0, place - self.around) : place + self.around + 1]

    def parts(self, items: EvaluationSet) -> tuple[EvaluationSet, EvaluationSet]:
        """The items that the layer is chosen on, and the others: all of them where there are no others."""
        first, rest = items.items[: self.few], items.items[self.few :]
        return replace(items, items=first), replace(items, items=rest or first)

    def arms(self) -> tuple[int, int]:
        """How many arms there are in the first and, at most, in the second part, baseline included."""
        doses, fine = len(self.doses), min(2 * self.around + 1, len(self.layers))
        return 1 + len(self.coarse) * doses, 1 + (fine + self.random) * doses

    def rows(self, items: EvaluationSet) -> tuple[int, int]:
        """How many texts are scored in the first and, at most, in the second part, baseline included."""
        texts = [sum(len(options_of(part.scorer, item)) for item in part) for part in self.parts(items)]
        first, second = self.arms()
        return first * texts[0], second * texts[1]

    def said(self, items: EvaluationSet) -> str:
        """What is tried on how many items, and how many texts that is, as a sentence."""
        (few, rest), fine = self.parts(items), min(2 * self.around + 1, len(self.layers))
        layers = f"{len(self.coarse)} layer{'s' if len(self.coarse) > 1 else ''} and {len(self.doses)} doses"
        beside = f" and {self.random} random directions" if self.random else ""
        return (
            f"{layers} on {len(few)} items, then at most {fine} layers{beside} on {len(rest)}: "
            f"{sum(self.rows(items)):,} texts"
        )

    def cost(self, items: EvaluationSet, per_second: float) -> str:
        """What the search costs, as a sentence that is said before it begins."""
        seconds = sum(self.rows(items)) / per_second
        took = f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{max(1, seconds):.0f} seconds"
        return f"{self.said(items)}, about {took} at {per_second:.0f} texts a second."


@dataclass(frozen=True)
class SteeringMap:
    """What came of a search.

    Attributes:
        best: the layer whose items respond most to the dose on the few items.
        measure: which margin was read.
        by_layer: every layer of the second part with the response of each of `items` to the dose.
        coarse: every layer of the first part with the response of each of the few items.
        random: the response of `items` to each random direction at the best layer.
        items: what the second part asked.
        first, second: the outcomes of both parts.
    """

    best: int
    measure: str
    by_layer: dict[int, Steerability]
    coarse: dict[int, Steerability]
    random: tuple[Steerability, ...]
    items: tuple[Item, ...]
    first: Sweep
    second: Sweep

    def margins(self, layer: int) -> tuple[list[float], list[list[float]]]:
        """The doses with 0 among them, and the margin of each of `items` under each, at a layer of the second part."""
        return _margins(self.second, self.measure, layer, None)


def search(
    engine: Engine,
    items: EvaluationSet,
    make: Make,
    plan: SearchPlan,
    tick: Tick | None = None,
    *,
    measure: str = MARGIN,
    random: Random | None = None,
    checkpoint: Checkpoint | None = None,
) -> SteeringMap:
    """Steerability by layer, dose and item, coarse to fine.

    The best layer is chosen by its mean slope on the first `plan.few` items; these are left out of the second part, so
    that the layer is not flattered by what it was chosen on, unless there are no others.

    Args:
        make: (layer, dose) -> what is done.
        tick: called with how many trials are done, how many there are in all, and which part is at work.
        measure: which of the scorer's margins is read.
        random: (seed, layer, dose) -> the same with a random direction; `plan.random` seeds are tried.
        checkpoint: outcomes known from an earlier run.

    Raises:
        ValueError: the set's scorer gives no such margin.
    """
    if measure not in (known := margins_of(items.scorer)):
        raise ValueError(
            f"A search reads a margin between answers, here {measure!r}; {items.scorer.name!r} gives "
            f"{', '.join(known) or 'none'}."
        )
    few, rest = plan.parts(items)
    arms = plan.arms()
    before, total = arms[0] * len(few), arms[0] * len(few) + arms[1] * len(rest)

    def at(start: int, note: str) -> Tick:
        def shifted(done: int, _total: int, _note: str) -> None:
            if tick is not None:
                tick(start + done, total, note)

        return shifted

    swept = partial(sweep, engine, lambda layer, dose: make(int(layer), float(dose)), checkpoint=checkpoint)
    note = f"{len(plan.coarse)} layers on {len(few)} items"
    first = swept(_grid(plan.coarse, plan.doses), [few], tick=at(0, note))
    coarse = {layer: _response(first, measure, layer) for layer in plan.coarse}
    best = max(plan.coarse, key=lambda layer: abs(coarse[layer].mean.value))
    layers, seeds = plan.fine(best), range(plan.random if random is not None else 0)
    controls = [
        Arm(
            f"random {seed}, layer {best}, dose {dose:g}", tuple(random(seed, best, dose)), kind="control",
            group="random", settings={"random": seed, "layer": best, "dose": dose},
        )
        for seed in seeds if random is not None
        for dose in plan.doses
    ]  # fmt: skip
    note = f"Layers {', '.join(map(str, layers))} on {len(rest)} items"
    second = swept(_grid(layers, plan.doses), [rest], controls=controls, tick=at(before, note))
    return SteeringMap(
        best, measure, {layer: _response(second, measure, layer) for layer in layers}, coarse,
        tuple(_response(second, measure, best, seed) for seed in seeds), rest.items, first, second,
    )  # fmt: skip


def _grid(layers: Sequence[int], doses: Sequence[float]) -> Grid:
    return Grid({"layer": list(layers), "dose": list(doses)})


def _margins(found: Sweep, measure: str, layer: int, seed: int | None) -> tuple[list[float], list[list[float]]]:
    doses = {BASELINE.name: 0.0} | {
        arm.name: float(arm.settings["dose"])
        for arm in found.arms
        if arm.settings.get("layer") == layer and arm.settings.get("random") == seed
    }
    columns: dict[float, dict[int, float]] = {}
    for one in found.outcomes:
        if one.arm in doses:
            columns.setdefault(doses[one.arm], {})[one.item] = one.measures[measure]
    order = sorted(columns)
    return order, [[columns[dose][item] for dose in order] for item in sorted(columns[0.0])]


def _response(found: Sweep, measure: str, layer: int, seed: int | None = None) -> Steerability:
    return steerability(*_margins(found, measure, layer, seed))
