"""Measure / Calibrate: steerability. Which items move with the dose, at which layer, and more than by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from ...plots import matrices, slopes
from ...plots.base import plain
from ...recipes.sources import Source
from ...recipes.steps import Step, Variant
from ..shared import objects as services
from ..shared import readings
from ..steer import sending
from ..widgets import theme
from ..widgets.basics import chart, clear_errors, literal, option
from . import calibrating, seen
from . import separation as measure
from .calibrating import Study
from .sweeping import file_of, numbers, source_at

if TYPE_CHECKING:
    from ...evaluations import EvaluationSet
    from ...experiments.programs.steerability import SteerabilityStudy
    from ...jobs.jobs import Job
    from ...models.model import Model

FILE, ANSWERS = "file", "answers"
PRESSED, TRUE, ALL = "false, under pressure", "true", "all"
READ_BY = {"margin": "The true against the false statement", "logit_diff": "The right option against the others"}
FEWEST, ITEMS = 13, 60  # the layer is chosen on twelve


def steerability(lm: Model, study: Study) -> None:
    """Draw the form, what it will cost, the job, and what came of it: a map of items, doses and layers."""
    where = " The direction is read and added in the residual stream." if study.source.space == "feature" else ""
    where += "" if lm.has_chat_template else " This model has no chat template, so the questions are put as plain text."
    st.caption(
        "How much does each item answer to the dose, at which layer, and does a random direction do as much? A "
        "few layers are tried on twelve items, those around the best on all the others. Nothing is written: what is "
        f"read is how likely two answers are.{where}"
    )
    with clear_errors():
        source = study.source if study.source.kind == "pairs" else source_at(study, 0)
        chosen = _items(lm)
        if chosen is None:
            return
        items, margin = chosen
        said = st.text_input(
            "Doses, in layer norms", ", ".join(f"{d:g}" for d in _doses()), key="calibrate_steerability_doses",
            help="How far each token is pushed along the direction, as a share of the layer's typical norm; 0 is "
            "always among them. Small doses keep the response a line.",
        )  # fmt: skip
        seen.draw(seen.of_source(services.workbench(lm.name), source, (items,)))
        job = _start(lm, source, items, margin, tuple(sorted(numbers(said or ""))))
        if job is not None and job.state == "done":
            _show(lm, source, job.value)


def _doses() -> tuple[float, ...]:
    from ...experiments.programs.steerability import DOSES

    return DOSES


def _items(lm: Model) -> tuple[EvaluationSet, str] | None:
    """Draw the choice of items; return them and the margin that is read, or None while a file is missing."""
    from ...evaluations.margins import forced, margins_of, with_margin

    names = [*measure.sets_for(lm), FILE]
    a, b, c = st.columns([3, 3, 3], gap="small")
    name = a.selectbox(
        "Items", names, index=next((k for k, one in enumerate(names) if "claims" in one), 0),
        format_func=lambda one: "A file of your own" if one == FILE else measure.shown_set(one),
        key="calibrate_steerability_set", bind="query-params", help="The questions whose answers are compared.",
    )  # fmt: skip
    found = measure.uploaded("calibrate_steerability") if name == FILE else measure.bundled_set(str(name))
    if found is None:
        return None
    try:
        found, known = with_margin(found), True
    except ValueError:
        known = False  # no two answers to compare, until the visitor names them
    ways = [*(margins_of(found.scorer) if known else []), ANSWERS]
    way = str(b.selectbox(
        "Read by", ways, key="calibrate_steerability_by", format_func=_way,
        help="Between which two answers the margin lies. The slope of that margin over the dose is what is mapped.",
    ))  # fmt: skip
    if {item.labels.get("true") for item in found} == {True, False}:
        part = c.selectbox(
            "Claims", (PRESSED, TRUE, ALL), key="calibrate_steerability_part", format_func=str.capitalize,
            help="False claims that somebody insists on are what sycophancy is about; true ones show whether the truth "
            "was pushed, or contradiction.",
        )  # fmt: skip
        found = calibrating.concept_part(found) if part == PRESSED else found
        found = found.where(true=True) if part == TRUE else found
    if len(found) > FEWEST:
        most = st.slider(
            "Items at most", FEWEST, len(found), min(ITEMS, len(found)), key=f"calibrate_steerability_n_{len(found)}",
            help="Half as many take half as long, and make intervals 1.4 times as wide.",
        )  # fmt: skip
        found = found.limit(int(most))
    if way != ANSWERS:
        return found, way
    left, right = st.columns(2, gap="small")
    toward = left.text_input("Toward", "Yes", key="calibrate_steerability_toward", max_chars=60)
    away = right.text_input("Against", "No", key="calibrate_steerability_away", max_chars=60)
    return forced(found, (str(toward or ""), str(away or "")), found.name), "logit_diff"


def _way(way: str) -> str:
    if way == ANSWERS:
        return "Two answers of your own"
    return READ_BY.get(way) or option(f"How far it leans to {way.removeprefix('lean: ')}")


def _start(lm: Model, source: Source, items: EvaluationSet, margin: str, doses: tuple[float, ...]) -> Job | None:
    from ...experiments.programs.steerability import plan_of, tokens_of

    plan, bench = plan_of(lm.n_layers, doses), services.workbench(lm.name)
    name = measure.name_of(
        "Steerability", lm.fingerprint, source, items.content_hash, repr(items.scorer), margin, plan.doses
    )

    def work(job: Job) -> SteerabilityStudy:
        from ...experiments.programs.steerability import files_of, run_steerability
        from ...jobs.checkpoint import Checkpoint

        study = run_steerability(
            bench, items, source, doses=plan.doses, measure=margin, tick=job.tick, checkpoint=Checkpoint(file_of(name))
        )
        measure.keep(name, "Steerability", lm.name, files_of(study), f"Steerability: {source.name} on {items.name}")
        return study

    job = measure.launch("calibrate_steerability", name, work, "Map the items", stage=True)
    if job is None or not (job.active or job.state == "done"):
        key = ("steerability", "tokens", items.content_hash, repr(items.scorer))
        each = bench.kept(key, lambda: tokens_of(lm, items, plan) / sum(plan.rows(items)))
        times = readings.about(bench, each * sum(plan.rows(items)))
        st.caption(f"{plan.said(items)}{f', up to {times[0]} here' if times else ''}.")
    return job


# What came of it ------------------------------------------------------------------------------------------------------


def _show(lm: Model, source: Source, study: SteerabilityStudy) -> None:
    from ...experiments.programs.steerability import files_of, sentence

    found = study.found
    st.markdown(f"**{literal(sentence(study), 600)}**")
    left, right = st.columns([5, 7], gap="medium")
    with left:
        _layers(study)
    with right:
        _map(study)
    own = found.by_layer[found.best].other_way
    st.caption(
        f"{100 * own.value:.0f}% [{100 * own.low:.0f}, {100 * own.high:.0f}] of the items move the other way at layer "
        f"{found.best}; of a direction that does nothing, half would. {study.seconds:.0f} s. Said before it began: "
        f"{literal(study.cost, 300)}"
    )
    with st.container(horizontal=True, gap="small"):
        if st.button("Use this layer in Compare", icon=":material/splitscreen:", key="calibrate_steerability_send"):
            alpha = max(study.doses, key=abs)
            step = Step("add", direction=source.direction, position=source.position, layer=found.best, alpha=alpha)
            sending.steer_with(lm, Variant(f"Layer {found.best}, alpha {alpha:g}", (step,)))
    measure.download_all("calibrate_steerability", files_of(study))


def _layers(study: SteerabilityStudy) -> None:
    found = study.found
    points = [
        *(_slope(layer, one, "first", "the items it was chosen on") for layer, one in found.coarse.items()),
        *(_slope(layer, one, "then", "the other items") for layer, one in found.by_layer.items()),
        *(_slope(found.best, one, "random", f"random direction {k}") for k, one in enumerate(found.random)),
    ]
    chart(
        slopes.by_layer(points, theme.palette(), y="mean slope, nats a norm", chosen=found.best),
        title="How much the mean item answers, by layer", key="calibrate_steerability_layers",
        caption=f"Bars: 95% intervals over items. Layer {found.best} (bold) was chosen on the open circles' items, "
        "which are left out of the filled ones. Diamonds: random directions of equal norm at that layer.",
    )  # fmt: skip


def _slope(layer: int, one: Any, kind: str, note: str) -> slopes.Slope:
    return slopes.Slope(layer, one.mean.value, one.mean.low, one.mean.high, kind, f"{note} ({len(one.slopes)})")


def _map(study: SteerabilityStudy) -> None:
    """Draw items by doses or by layers, sorted by their slope at the chosen layer; a click reads one."""
    from ...experiments.programs.steerability import answers

    found = study.found
    by = st.segmented_control(
        "Items by", ("dose", "layer"), default="dose", required=True, key="calibrate_steerability_axis"
    )
    order = sorted(range(len(found.items)), key=lambda k: found.by_layer[found.best].slopes[k])
    doses, margins = found.margins(found.best)
    if by == "layer":
        rows = [f"layer {layer}" for layer in found.by_layer]
        cells = [[one.slopes[k] for k in order] for one in found.by_layer.values()]
        unit, title = "nats a norm", "Every item's slope, by layer"
    else:
        rows = [f"{dose:+g}" for dose in doses if dose]
        base = doses.index(0.0)
        cells = [[margins[k][j] - margins[k][base] for k in order] for j, dose in enumerate(doses) if dose]
        unit, title = "nats", f"What every dose changes about every item, at layer {found.best}"
    limit, beyond = slopes.limit_of(cells)
    figure = matrices.heatmap(
        cells, rows, [str(k + 1) for k in order], theme.palette(), low=-limit, high=limit, x="items, by their slope",
        y="" if by == "layer" else "dose", unit=unit, height=300, numbers=False,
    )  # fmt: skip
    asked = [plain(found.items[k].text, 90) for k in order]
    said = [
        [f"{row}: {value:+.3g} {unit}<br>{asked[x]}" for x, value in enumerate(values)]
        for row, values in zip(rows, cells, strict=True)
    ]
    matrices.clickable(figure, said, first_on_top=True)
    figure.update_xaxes(showticklabels=False)
    out = f" {beyond} stronger cell{' is' if beyond == 1 else 's are'} drawn like it." if beyond else ""
    point = chart(
        figure, title=title, key=f"calibrate_steerability_map_{by}", select=True,
        caption=f"A column an item; colors end at {limit:.2g} {unit}.{out} Click a cell to read its item.",
    )  # fmt: skip
    strongest = max(order, key=lambda k: abs(found.by_layer[found.best].slopes[k]))
    k = order[int(point["x"])] if point is not None and int(point["x"]) < len(order) else strongest
    one, *others = answers(study, k)
    margin = ", ".join(f"{value:+.2f} at {dose:g}" for dose, value in zip(doses, margins[k], strict=True))
    with st.container(border=True, gap="xsmall"):
        st.caption("The item that moves most" if point is None else "The item of the cell")
        st.text(found.items[k].text)
        st.caption(
            f"“{literal(one, 160)}” against {literal(', '.join(f'“{other}”' for other in others), 240)}. "
            f"Margin in nats at each dose: {literal(margin.replace('-', '−'), 400)}."
        )
