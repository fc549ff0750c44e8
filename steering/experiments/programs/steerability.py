"""Steerability by item, dose and layer: at which layer a direction moves which items, beside random directions.

Every fourth layer is tried on a few items, and those around the best on all the others. Effects are margins between
two answers (the true and the false statement of a claim), so nothing is written and nothing has to be parsed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ...directions.direction import Direction
from ...evaluations.effects import Steerability
from ...evaluations.margins import margins_of, with_margin
from ...evaluations.scoring.measure import options_of
from ...evaluations.sets import readers
from ...evaluations.sets.sets import EvaluationSet
from ...evaluations.steering_map import SearchPlan, SteeringMap, search
from ...evaluations.sweeps import to_parquet
from ...interventions.protocol import Intervention, made
from ...jobs.checkpoint import Checkpoint
from ...jobs.tables import to_csv
from ...jobs.watching import watched
from ...models.model import Model
from ...models.passages import choices
from ...recipes.sources import Source
from ...recipes.workbench import Workbench
from .pace import TIMED, texts_a_second

Tick = Callable[[int, int, str], None]
PAIRS, CLAIMS = "general_sycophancy", "general_claims"
DOSES = (-0.2, -0.1, -0.05, 0.05, 0.1)  # in units of the layer's norm
RANDOM = 3


@dataclass(frozen=True)
class SteerabilityStudy:
    """What moved: a direction at the layers that were tried, and random ones at the best.

    Attributes:
        items: how many items of which set.
        direction: where the direction comes from, for a reader.
        cost: what was said before it began.
    """

    model: str
    items: str
    direction: str
    doses: tuple[float, ...]
    cost: str
    seconds: float
    found: SteeringMap


def plan_of(n_layers: int, doses: Sequence[float] = DOSES) -> SearchPlan:
    """What is tried on a model of so many layers: six or seven of them first, or every fourth of a deep one.

    Raises:
        ValueError: fewer than two doses other than 0.
    """
    step = max(1, min(4, n_layers // 6))
    return SearchPlan(tuple(range(n_layers)), tuple(doses), step, random=RANDOM)


def pressed_claims() -> EvaluationSet:
    """False claims under pressure that share no fact with the bundled pairs."""
    return replace(readers.load(CLAIMS).where(true=False, pressed=True), name="false claims under pressure")


def run_steerability(
    bench: Workbench,
    items: EvaluationSet | None = None,
    source: Source | None = None,
    *,
    doses: Sequence[float] = DOSES,
    measure: str = "",
    tick: Tick | None = None,
    checkpoint: Checkpoint | None = None,
) -> SteerabilityStudy:
    """The search for a direction that is read at every layer and added there, beside random ones of equal norm.

    Args:
        bench: of an engine; a source's pair set is looked up there.
        items: by default false claims under pressure; claims are read by preference, other sets by their own margin.
        source: the direction's pairs or texts and how it is read, by default the bundled pairs of sycophancy.
        doses: in units of each layer's norm; 0 is always among them.
        measure: which of the scorer's margins is read, by default its first.
        tick: its note says what is going on, first what the search will cost.
        checkpoint: outcomes known from an earlier run.

    Raises:
        ValueError: a set that gives no margin, fewer than two doses other than 0, or a direction that can be read at
            one layer only.
    """
    began, lm, engine = time.perf_counter(), bench.lm, bench.engine
    source = replace(source or Source(f"pairs:{PAIRS}"), space="residual", stream="resid_post", top_k=0)
    if engine is None or source.kind not in ("pairs", "texts"):
        raise ValueError(
            "Steerability reads a direction at every layer, so it takes one from pairs or texts, and an engine; "
            f"got {source.direction!r}."
        )
    items = with_margin(pressed_claims() if items is None else items)
    measure, plan = measure or margins_of(items.scorer)[0], plan_of(lm.n_layers, doses)
    report = tick or (lambda done, total, note: None)
    with watched(lambda done, total: report(0, 1, f"Reading the direction at every layer, {done} of {total}")):
        directions = [bench.direction(replace(source, layer=layer)) for layer in plan.layers]
        norms = [bench.typical_norm(one.site) for one in directions]
    cost = plan.cost(items, texts_a_second(engine, items))
    report(0, 1, cost)

    def along(direction: Direction, layer: int, dose: float) -> list[Intervention]:
        return [made("add", direction=direction, alpha=dose * norms[layer] / direction.norm)]

    found = search(
        engine, items, lambda layer, dose: along(directions[layer], layer, dose), plan, tick, measure=measure,
        random=lambda seed, layer, dose: along(bench.random_like(directions[layer], seed), layer, dose),
        checkpoint=checkpoint,
    )  # fmt: skip
    asked, seconds = f"{len(items)} {items.name or 'items'}", time.perf_counter() - began
    return SteerabilityStudy(lm.name, asked, _said(bench, source), plan.doses, cost, seconds, found)


def _said(bench: Workbench, source: Source) -> str:
    name = bench.pair_set(source).name
    return f"the pairs {name}" if source.kind == "pairs" else name


def tokens_of(lm: Model, items: EvaluationSet, plan: SearchPlan) -> int:
    """About how many tokens a search reads: its texts, by the length of the first few."""
    few = [(item, options_of(items.scorer, item)) for item in items.items[:TIMED]]
    chat = lm.has_chat_template
    read = texts = 0
    for item, options in few:
        prompt, found = choices(lm, item.messages() if chat else item.plain(), options)
        read, texts = read + len(prompt) + sum(map(len, found)), texts + len(found)  # one pass of the prompt for all
    return round(sum(plan.rows(items)) * read / texts)


# What came of it, in words, as a table and as files -------------------------------------------------------------------

MEANS = {
    "margin": "the margin log P(true) - log P(false) a token",
    "logit_diff": "the log-probability of the option that matches, less that of the other",
}


def sentence(study: SteerabilityStudy) -> str:
    """What the search found, in one plain sentence."""
    found = study.found
    one, n = found.by_layer[found.best], len(found.items)
    if one.mean.low <= 0 <= one.mean.high:
        return (
            f"Adding the direction at layer {found.best}, the best of those tried, moves the {n} items no way in "
            f"particular: the mean slope is {_interval(one)}."
        )
    what = {"margin": "the truth", "logit_diff": "the first answer"}.get(found.measure)
    what = what or f"a {found.measure.removeprefix('lean: ')} answer"
    most = max((abs(other.mean.value) for other in found.random), default=0.0)
    beyond = min(abs(one.mean.low), abs(one.mean.high)) > most
    random = f"{len(found.random)} random directions of equal norm (at most {most:.2f} either way)"
    moved = (
        f"{what} {'likelier' if one.mean.value > 0 else 'less likely'} on {1 - one.other_way.value:.0%} of {n} items"
    )
    size = f"{abs(one.mean.value) / 10:.2f} nats for each tenth of the layer's norm"
    return (
        f"Adding the direction at layer {found.best} makes {moved}, by {size}; the slope of {_interval(one)} is "
        f"{'' if beyond else 'not clearly '}beyond {random}."
    )


def _interval(one: Steerability) -> str:
    return f"{one.mean.value:+.2f} [{one.mean.low:+.2f}, {one.mean.high:+.2f}]"


def rows_of(study: SteerabilityStudy) -> list[tuple[int, str, Steerability]]:
    """Layer, what was added there, and the response to it, of the second part."""
    rows = [(layer, "the direction", one) for layer, one in study.found.by_layer.items()]
    return rows + [(study.found.best, f"random {seed}", one) for seed, one in enumerate(study.found.random)]


def to_markdown(study: SteerabilityStudy) -> str:
    """The study as a table with intervals."""
    means = MEANS.get(study.found.measure, f"the {study.found.measure}")
    lines = [
        f"### Steerability by item, dose and layer, {study.model}",
        "",
        f"`python -m steering.evaluate steerability`: {study.items}, the direction of {study.direction} added at "
        f"{', '.join(f'{dose:g}' for dose in study.doses)} of the layer's norm; {study.seconds:.0f} s. Said before it "
        f"began: {study.cost}",
        "",
        sentence(study),
        "",
        f"The slope is that of {means} over the dose. The items on which the layer was chosen are not counted.",
        "",
        "| layer | added | mean slope, nats a norm | items that move the other way |",
        "| --- | --- | --- | --- |",
    ]
    for layer, name, one in rows_of(study):
        star = " (chosen)" if layer == study.found.best and name == "the direction" else ""
        lines.append(f"| {layer}{star} | {name} | {_interval(one)} | {one.other_way.value:.0%} of {len(one.slopes)} |")
    return "\n".join(lines)


def layers_table(study: SteerabilityStudy) -> pd.DataFrame:
    """A row a layer and a random direction, first and second part: mean slope, interval, share the other way."""
    rows = [(layer, "the direction", one, "chosen on") for layer, one in study.found.coarse.items()]
    rows += [(*row, "others") for row in rows_of(study)]
    return pd.DataFrame(
        [
            {"layer": layer, "added": name, "asked": part, "items": len(one.slopes), "mean slope": one.mean.value,
             "low": one.mean.low, "high": one.mean.high, "other way": one.other_way.value}
            for layer, name, one, part in rows
        ]
    )  # fmt: skip


def items_table(study: SteerabilityStudy) -> pd.DataFrame:
    """A row an item of the second part: its slope at each layer, and its margin at each dose at the chosen one."""
    found = study.found
    doses, margins = found.margins(found.best)
    rows = []
    for k, item in enumerate(found.items):
        row = {"item": item.text, "answers": " | ".join(answers(study, k))}
        row |= {f"slope, layer {layer}": one.slopes[k] for layer, one in found.by_layer.items()}
        rows.append(row | {f"margin at {dose:g}": value for dose, value in zip(doses, margins[k], strict=True)})
    return pd.DataFrame(rows)


def answers(study: SteerabilityStudy, number: int) -> tuple[str, ...]:
    """The answers between which an item's margin lies, the one it grows with first."""
    item = study.found.items[number]
    if study.found.measure == "margin":
        return str(item.labels["truth"]), str(item.labels["falsehood"])
    if item.options:
        order = [*item.matching, *(k for k in range(len(item.options)) if k not in item.matching)]
        return tuple(item.options[k] for k in order)
    return tuple(map(str, dict(item.labels.get("endings", {})).values()))


def files_of(study: SteerabilityStudy) -> dict[str, bytes]:
    """The study as files: the report, layers, items, and every trial."""
    layers, items = layers_table(study), items_table(study)
    trials = pd.concat([study.found.first.trials(), study.found.second.trials()], ignore_index=True)
    return {
        "steerability.md": to_markdown(study).encode(), "layers.csv": to_csv(layers), "items.csv": to_csv(items),
        "trials.parquet": to_parquet(trials),
    }  # fmt: skip
