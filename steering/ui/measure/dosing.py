"""Measure / Calibrate: the dose. What adding the direction does, where text breaks, how every item answers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ...plots import charts as plots
from ...plots import figures
from ..shared import objects as services
from ..widgets import theme
from ..widgets.basics import chart, clear_errors
from . import separation as measure
from .calibrating import Study
from .sweeping import changes, file_of, numbers

if TYPE_CHECKING:
    from ...evaluations.sweeps import Sweep
    from ...interventions import Intervention
    from ...jobs.jobs import Job
    from ...models.model import Model

DOSES = [-2.0, -1.5, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0]
ITEMS = 16
FORCED = "first word, forced"


def dose(lm: Model, study: Study) -> None:
    """Draw the dose-response of adding the direction, in units of the layer's norm, and where text breaks."""
    a, b, c = st.columns([4, 1, 1], gap="small")
    said = a.text_input("Alpha, in layer norms", ", ".join(f"{d:g}" for d in DOSES), key="calibrate_doses")
    toward = b.text_input("Toward", "Yes", key="calibrate_toward", max_chars=60)
    away = c.text_input("Against", "No", key="calibrate_away", max_chars=60)
    with clear_errors():
        job = _start(lm, study, sorted(numbers(said or "")), (str(toward or ""), str(away or "")))
        if job is not None and job.state == "done":
            _show(study, job.value, (str(toward), str(away)))


def _start(lm: Model, study: Study, doses: list[float], answers: tuple[str, str]) -> Job | None:
    from ...evaluations.margins import forced

    if 0.0 not in doses or len(doses) < 2:
        raise ValueError("The doses hold 0, which all others are compared with, and at least one other.")
    name = measure.name_of("Dose and response", lm.fingerprint, study.key, doses, answers)
    engine, file = services.engine(lm.name), file_of(name)
    bench = services.workbench(lm.name)
    concept = study.concept.limit(ITEMS)
    sets = [concept, study.other.limit(ITEMS), forced(concept, answers, FORCED)]

    def work(job: Job) -> Sweep:
        from ...evaluations import Arm, Settings
        from ...evaluations.sweeps import Grid, sweep, to_files
        from ...interventions.protocol import made
        from ...recipes.controls import controls

        unit = bench.typical_norm(study.direction.site) / float(study.direction.decoded().norm())

        def added(alpha: float) -> Intervention:
            return made("add", direction=study.direction, alpha=alpha * unit)

        beside = [
            Arm(f"random {seed}, {d:g}", controls(bench, (added(d),), seed), "control")
            for seed in range(3)
            for d in doses
            if d
        ]
        found = sweep(
            engine, lambda alpha: [added(alpha)], Grid({"alpha": doses}), sets,
            Settings(max_new_tokens=32, in_flight=96), controls=beside, checkpoint=file, tick=job.tick,
            outcomes=job.partial,
        )  # fmt: skip
        measure.keep(name, "Sweep", lm.name, to_files(found, "dose"), f"Dose: {study.direction.name}")
        return found

    return measure.launch("calibrate_dose", name, work, "Run the doses", partial=True)


def _show(study: Study, found: Sweep, answers: tuple[str, str]) -> None:
    from ...evaluations.sweeps import to_files
    from ...measurements.calibration import cliff

    points = [arm for arm in found.arms if arm.settings]
    doses = [float(arm.settings["alpha"]) for arm in points]
    costs = {m: [found.mean(arm.name, m) for arm in points] for m in ("repetition", "surprise")}
    broken = cliff(doses, costs["repetition"], costs["surprise"])
    first = study.concept.scorer.measures[0].name
    effect = changes(found, study.concept.name, first)
    where, base = study.concept.name, found.mean("Baseline", first, study.concept.name)
    band = []
    for d in doses:
        beside = [found.mean(f"random {k}, {d:g}", first, where) - base for k in range(3)] if d else [0.0]
        band.append((min(beside), max(beside)))
    said = first.replace("_", " ")
    figure = plots.dose_response(
        doses, effect, theme.palette(), control=band, cliff=broken.above, y=f"change of {said}"
    )
    if broken.below is not None:
        figure.add_vline(x=broken.below, line={"color": theme.palette().negative, "dash": "dash", "width": 1.5})
    edges = [f"{side} {at:g}" for side, at in (("below", broken.below), ("above", broken.above)) if at is not None]
    chart(
        figure, title=f"Dose and response: {said}", key="calibrate_dose_chart",
        caption="Band: three random directions of equal norm. Text breaks where it repeats itself or surprises the "
        f"unsteered model by a nat more a token: {' and '.join(edges) or 'nowhere here'}.",
    )  # fmt: skip
    figure = plots.lines(doses, costs, theme.palette(), x="alpha in units of the layer's norm", y="share, or nats")
    said = "Share of repeated word triples; surprise of the unsteered model, nats a token."
    chart(figure, title="What the text pays", key="calibrate_dose_cost", caption=said)
    _steerability(found, doses, (broken.below, broken.above), answers)
    measure.download_all("calibrate_dose", to_files(found, "dose"))


def _steerability(
    found: Sweep, doses: list[float], edges: tuple[float | None, float | None], answers: tuple[str, str]
) -> None:
    """Draw how every item answers to the dose, within the doses at which text is whole."""
    from ...evaluations import steerability

    low, high = (edges[0] if edges[0] is not None else -(10**9)), (edges[1] if edges[1] is not None else 10**9)
    whole = [d for d in doses if low < d < high]
    if len(whole) < 2:
        st.caption("Text breaks at the first dose already, so no slope can be read.")
        return
    table = {(o.arm, o.item): o.measures["logit_diff"] for o in found.outcomes if o.set == FORCED}
    names = {float(arm.settings["alpha"]): arm.name for arm in found.arms if arm.settings}
    items = sorted({item for arm, item in table if arm == names[whole[0]]})
    result = steerability(whole, [[table[names[d], item] for d in whole] for item in items])
    order = sorted(range(len(items)), key=lambda k: result.slopes[k])
    points = [
        figures.Point(f"item {items[k] + 1}", result.slopes[k], result.slopes[k], result.slopes[k]) for k in order
    ]
    wrong = result.wrong_way
    chart(
        figures.forest(points, theme.palette(), x="nats a layer norm"),
        title=f"How much each item moves from “{answers[1]}” to “{answers[0]}”", key="calibrate_slopes",
        caption=f"Slope of log p({answers[0]}) - log p({answers[1]}) over alpha. Mean {result.mean.value:.2f} "
        f"[{result.mean.low:.2f}, {result.mean.high:.2f}]; {100 * wrong.value:.0f}% of the items "
        f"[{100 * wrong.low:.0f}, {100 * wrong.high:.0f}] move the wrong way.",
    )  # fmt: skip
