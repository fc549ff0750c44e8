"""Steerability by item, dose and layer: at which layer a direction moves which items, beside random directions.

Every fourth layer is tried on a few items, and those around the best on all the others. Effects are margins of a
preference for the truth, so nothing is written and nothing has to be parsed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ...directions import estimators
from ...directions.activations import of_pairs
from ...directions.contrasts import fitted
from ...directions.direction import Direction
from ...directions.pairs import PairSet
from ...engine.engine import Engine
from ...evaluations.effects import Steerability
from ...evaluations.scoring.scorers import scorer
from ...evaluations.sets import readers
from ...evaluations.sets.sets import EvaluationSet
from ...evaluations.steering_map import SearchPlan, SteeringMap, search
from ...interventions.protocol import Intervention, made
from ...measurements.numbers import typical_norms
from ...sites import Site
from .pace import texts_a_second

Tick = Callable[[int, int, str], None]
PAIRS, CLAIMS = "general_sycophancy", "general_claims"
DOSES = (-0.2, -0.1, -0.05, 0.05, 0.1)  # in units of the layer's norm
RANDOM = 3


@dataclass(frozen=True)
class SteerabilityStudy:
    """What moved: the pairs' direction at the layers that were tried, and random ones at the best.

    Attributes:
        cost: what was said before it began.
        random: the response to each of the random directions at the best layer.
    """

    model: str
    items: str
    pairs: str
    doses: tuple[float, ...]
    cost: str
    seconds: float
    found: SteeringMap
    random: tuple[Steerability, ...]


def run_steerability(
    engine: Engine, items: EvaluationSet | None = None, pairs: PairSet | None = None, *, tick: Tick | None = None
) -> SteerabilityStudy:
    """The search with the bundled pairs and, by default, false claims under pressure that share no fact with them.

    Raises:
        ValueError: a model without a chat template, which cannot be asked.
    """
    began, lm = time.perf_counter(), engine.model
    pairs = PairSet.load(PAIRS) if pairs is None else pairs
    if items is None:
        items = readers.load(CLAIMS).where(true=False, pressed=True)
    items = replace(items, scorer=scorer("preference"))
    sites = [Site(layer) for layer in range(lm.n_layers)]
    norms = typical_norms(lm, sites)
    read = of_pairs(lm, pairs, sites)
    directions = [fitted("mean_difference", estimators.mean_difference, read[s], lm, pairs, s) for s in sites]
    plan = SearchPlan(tuple(range(lm.n_layers)), DOSES)
    only = replace(plan, layers=(0,), step=1, few=1, around=0)  # the best layer alone, for random directions
    rest = _rest(items, plan.few - 1)
    pace = texts_a_second(engine, items)
    more = RANDOM * sum(only.rows(rest))
    cost = (
        f"{plan.cost(items, pace)} {RANDOM} random directions at the best layer: {more} texts more, about "
        f"{more / pace / 60:.1f} minutes."
    )
    if tick is not None:
        tick(0, 1, cost)

    def along(direction: Direction, layer: int, dose: float) -> list[Intervention]:
        return [made("add", direction=direction, alpha=dose * norms[Site(layer)] / float(direction.vector.norm()))]

    found = search(engine, items, lambda layer, dose: along(directions[layer], layer, dose), plan, tick)
    beside = []
    only = replace(only, layers=(found.best,))
    for seed in range(RANDOM):
        vector = torch.randn(lm.d_model, generator=torch.Generator().manual_seed(seed))
        other = Direction(vector, Site(found.best), name=f"random {seed}")
        one = search(engine, rest, lambda layer, dose, v=other: along(v, layer, dose), only, tick)
        beside.append(one.by_layer[found.best])
    asked, seconds = f"{len(items)} false claims under pressure", time.perf_counter() - began
    return SteerabilityStudy(lm.name, asked, pairs.name, DOSES, cost, seconds, found, tuple(beside))


def _rest(items: EvaluationSet, few: int) -> EvaluationSet:
    """The items that the layer was not chosen on, after one that a search takes for its own first look."""
    return replace(items, items=items.items[few:])


def to_markdown(study: SteerabilityStudy) -> str:
    """The study as a table with intervals."""
    lines = [
        f"### Steerability by item, dose and layer, {study.model}",
        "",
        f"`python -m steering.evaluate steerability`: {study.items}, the direction of the pairs {study.pairs} added at "
        f"{', '.join(f'{dose:g}' for dose in study.doses)} of the layer's norm; {study.seconds:.0f} s. Said before it "
        f"began: {study.cost}",
        "",
        "The slope is that of the margin log P(true) - log P(false) a token over the dose, so a negative one says that "
        "the direction away from agreeing makes the truth likelier. The items on which the layer was chosen are not "
        "counted.",
        "",
        "| layer | direction | mean slope, nats a norm | items that move the other way |",
        "| --- | --- | --- | --- |",
    ]
    best = study.found.best
    rows: list[tuple[int, str, Steerability]] = [(k, "from pairs", s) for k, s in study.found.by_layer.items()]
    rows += [(best, f"random {k}", one) for k, one in enumerate(study.random)]
    for layer, name, one in rows:
        star = " (chosen)" if layer == best and name == "from pairs" else ""
        lines.append(
            f"| {layer}{star} | {name} | {one.mean.value:+.2f} [{one.mean.low:+.2f}, {one.mean.high:+.2f}] "
            f"| {_against(one):.0%} of {len(one.slopes)} |"
        )
    return "\n".join(lines)


def _against(one: Steerability) -> float:
    """The share of items whose slope has the other sign than the mean."""
    slopes: Sequence[float] = one.slopes
    return sum(slope * one.mean.value < 0 for slope in slopes) / len(slopes)
