"""Measure / Calibrate: sweeps of tau and lambda, and of layer and dose; heatmaps, and the front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...plots import figures, matrices
from ...recipes.sources import Source
from ...recipes.steps import Variant
from ...showing.glossary import explain
from ..shared import objects as services
from ..steer import sending
from ..widgets import theme
from ..widgets.basics import chart, clear_errors, literal
from . import calibrating
from . import separation as measure
from .calibrating import Study

if TYPE_CHECKING:
    from ...directions.direction import Direction
    from ...evaluations.sweeps import ForcedGrid, Sweep
    from ...jobs.jobs import Job
    from ...models.model import Model
    from ...recipes.workbench import Workbench
    from ...saes.sae import Sae

LAMBDAS = [0.5, 1.0, 2.0, 3.0]
ALPHAS = [-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0]


def numbers(text: str) -> list[float]:
    """The numbers of a text such as "0.5, 1, 2", each once, in order.

    Raises:
        ValueError: a part that is no number, or none at all.
    """
    try:
        found = [float(part) for part in text.replace(";", ",").split(",") if part.strip()]
    except ValueError:
        raise ValueError(
            f"Values are numbers with commas between them, such as 0.5, 1, 2; got {text[:60]!r}."
        ) from None
    if not found:
        raise ValueError("Name at least one value.")
    return list(dict.fromkeys(found))


def file_of(name: str) -> Path:
    """Where the answers of the sweep of that name are kept while it runs."""
    return measure.folder() / f"{name.rpartition(' ')[2]}.jsonl"


# Tau and lambda -------------------------------------------------------------------------------------------------------


def tau_lambda(lm: Model, study: Study, tau: float) -> None:
    """Draw the grid of thresholds and gains: effect, side effect, the front between them, the point to use."""
    low, high = tau - abs(tau) * 0.75 - 1, tau + abs(tau) * 0.75 + 1
    taus = [float(f"{low + (high - low) * k / 4:.4g}") for k in range(5)]
    a, b, c = st.columns([3, 3, 2], gap="small")
    said = a.text_input(
        "Tau", ", ".join(f"{t:g}" for t in taus), key=f"calibrate_taus_{study.key}", help=explain("tau")
    )
    gains = b.text_input(
        "Lambda", ", ".join(f"{v:g}" for v in LAMBDAS), key="calibrate_lambdas", help=explain("lambda")
    )
    items = c.slider("Items of each set", 8, 60, 24, 4, key="calibrate_items")
    with clear_errors():
        job = _start_grid(lm, study, numbers(said or ""), numbers(gains or ""), int(items))
        if job is not None and job.state == "done":
            _show_grid(lm, study, job.value)


def _start_grid(lm: Model, study: Study, taus: Sequence[float], lambdas: Sequence[float], items: int) -> Job | None:
    name = measure.name_of("Tau and lambda", lm.fingerprint, study.key, taus, lambdas, items)
    engine, file = services.engine(lm.name), file_of(name)
    sets = [study.concept.limit(items), study.other.limit(items)]
    total = (len(taus) * len(lambdas) + 1) * sum(map(len, sets))
    if total > measure.MAX_TRIALS:
        raise ValueError(f"A grid on this page has at most {measure.MAX_TRIALS} answers; this one has {total}.")

    def work(job: Job) -> Sweep:
        from ...evaluations import Settings
        from ...evaluations.sweeps import Grid, sweep, to_files
        from ...interventions.protocol import made

        found = sweep(
            engine, lambda tau, lambda_: [made("regulate", direction=study.direction, tau=tau, lambda_=lambda_)],
            Grid({"tau": taus, "lambda_": lambdas}), sets, Settings(max_new_tokens=32, in_flight=96),
            checkpoint=file, tick=job.tick, outcomes=job.partial,
        )  # fmt: skip
        measure.keep(name, "Sweep", lm.name, to_files(found), f"Tau and lambda: {study.direction.name}")
        return found

    return measure.launch("calibrate_grid", name, work, f"Run {total} answers", partial=True)


def changes(found: Sweep, set_: str, measure_name: str) -> list[float]:
    """For each point of the sweep, in order, how much a measure changed against the baseline."""
    base = found.mean("Baseline", measure_name, set_)
    return [found.mean(arm.name, measure_name, set_) - base for arm in found.arms if arm.settings]


def _show_grid(lm: Model, study: Study, found: Sweep) -> None:
    from ...evaluations.sweeps import to_files
    from ...measurements.calibration import chosen, pareto

    sets = (study.concept, study.other)
    names = [one.scorer.measures[0].name for one in sets]
    effect, cost = ([abs(v) for v in changes(found, one.name, name)] for one, name in zip(sets, names, strict=True))
    said = [name.replace("_", " ") for name in names]
    if any(m.name == "undecided" for m in study.concept.scorer.measures):
        # An answer that neither agrees nor denies is no success: the text broke.
        broken = changes(found, study.concept.name, "undecided")
        cost = [max(a, b) for a, b in zip(cost, broken, strict=True)]
        said[1] += ", or undecided answers"
    points = [arm for arm in found.arms if arm.settings]
    taus, lambdas = (list(dict.fromkeys(arm.settings[k] for arm in points)) for k in ("tau", "lambda_"))
    for column, title, values, key in zip(
        st.columns(2, gap="medium"), (f"Effect: change of {said[0]}", f"Side effect: change of {said[1]}"),
        (effect, cost), ("effect", "cost"), strict=True,
    ):  # fmt: skip
        rows = [values[k * len(lambdas) : (k + 1) * len(lambdas)] for k in range(len(taus))]
        figure = matrices.heatmap(
            rows, [f"{t:g}" for t in taus], [f"{v:g}" for v in lambdas], theme.palette(), low=0.0, high=1.0,
            x="lambda", y="tau", unit="",
        )  # fmt: skip
        with column:
            chart(figure, title=title, key=f"calibrate_{key}", caption="Share of items, against the baseline.")
    limit = st.slider("Side effect allowed", 0.0, 0.5, 0.05, 0.01, key="calibrate_limit")
    best = chosen(effect, cost, float(limit))
    figure = figures.trade_off(
        [arm.name for arm in points], effect, cost, pareto(effect, cost), theme.palette(), chosen=best,
        x=f"side effect: change of {said[1]}", y=f"effect: change of {said[0]}",
    )  # fmt: skip
    chart(
        figure, title="The trade-off: points on the line are beaten by no other", key="calibrate_front",
        caption="Ringed: the most effect within the side effect allowed.",
    )  # fmt: skip
    if best is not None:
        point = points[best].settings
        st.text(f"{points[best].name}: effect {effect[best]:.2f}, side effect {cost[best]:.2f}")
        if st.button("Use this point in Compare", icon=":material/splitscreen:", key="calibrate_send_grid"):
            step = calibrating.operating_step(study, point["tau"], point["lambda_"])
            sending.steer_with(lm, Variant("Operating point", (step,)))
    measure.download_all("calibrate_grid", to_files(found))


# Layer and dose, by teacher forcing -----------------------------------------------------------------------------------


def layers(lm: Model, sae: Sae | None, study: Study) -> None:
    """Draw the layer x alpha grid of effects on a given continuation; a click generates a cell's text."""
    a, b, c = st.columns([3, 3, 2], gap="small")
    prompt = a.text_input("Prompt", study.concept.items[0].text, key="calibrate_prompt")
    target = b.text_input("Continuation", "No", key="calibrate_target")
    said = c.text_input("Alpha, in layer norms", ", ".join(f"{d:g}" for d in ALPHAS), key="calibrate_alphas")
    with clear_errors():
        if not (prompt or "").strip() or not target:
            raise ValueError("The grid takes a prompt and a continuation.")
        doses = numbers(said or "")
        name = measure.name_of("Layer and dose", lm.fingerprint, study.key, prompt, target, doses)
        job = measure.launch(
            "calibrate_layers", name, _forced(lm, study, str(prompt), str(target), doses), "Run the grid"
        )
        if job is not None and job.state == "done":
            _show_layers(lm, study, str(prompt), job.value)


def source_at(study: Study, layer: int) -> Source:
    """Where the study's direction comes from when it is read at the output of a layer.

    Raises:
        ValueError: the direction does not say which bundled pair set it was made from.
    """
    about = study.direction.provenance
    pairs = str((about.get("pairs") or {}).get("name", ""))
    if not pairs:
        raise ValueError("Only a direction of a bundled pair set can be read at every layer; this one is saved.")
    return Source(f"pairs:{pairs}", position=str(about.get("position", "completion_mean")), layer=layer)


def at_layer(bench: Workbench, study: Study, layer: int) -> tuple[Direction, float]:
    """The study's direction at another layer's output, and alpha for one layer norm."""
    direction = bench.direction(source_at(study, layer))
    return direction, bench.typical_norm(direction.site) / direction.norm


def _forced(lm: Model, study: Study, prompt: str, target: str, doses: Sequence[float]) -> Any:
    bench = services.workbench(lm.name)
    source_at(study, 0)  # raises now, not in the job, if the direction cannot be read at every layer

    def work(job: Job) -> ForcedGrid:
        from ...evaluations.sweeps import forced_grid
        from ...interventions.protocol import made as intervention
        from ...models.chat import chat

        made, engine = [], bench.engine
        assert engine is not None  # the pages' workbenches are made of engines
        for layer in range(lm.n_layers):
            job.tick(layer, lm.n_layers, "Reading the direction of every layer")
            made.append(at_layer(bench, study, layer))

        def make(layer: int, alpha: float) -> list[Any]:
            direction, unit = made[layer]
            return [intervention("add", direction=direction, alpha=alpha * unit)]

        asked = lm.tokens(chat(prompt) if lm.has_chat_template else prompt)
        return forced_grid(engine, [asked], target, make, range(lm.n_layers), doses, tick=job.tick)

    return work


def _show_layers(lm: Model, study: Study, prompt: str, found: ForcedGrid) -> None:
    rows, columns = [f"layer {r}" for r in found.rows], [f"{c:g}" for c in found.columns]
    top = max(abs(v) for row in found.change for v in row) or 1.0
    left, right = st.columns(2, gap="medium")
    with left:
        figure = matrices.heatmap(
            found.change, rows, columns, theme.palette(), low=-top, high=top, x="alpha in layer norms", unit="nats"
        )
        said = [
            [f"{row} · {column}: {value:.3f} nats" for column, value in zip(columns, values, strict=True)]
            for row, values in zip(rows, found.change, strict=True)
        ]
        matrices.clickable(figure, said, first_on_top=True)
        point = chart(
            figure, title="Change of the continuation's log-probability", key="calibrate_layers_change", select=True,
            caption="Nats against the baseline; nothing is generated. Click a cell to read what is written there.",
        )  # fmt: skip
    with right:
        figure = matrices.heatmap(
            found.kl, rows, columns, theme.palette(), low=0.0, high=None, x="alpha in layer norms", unit="nats"
        )
        chart(
            figure, title="How far the model is from itself", key="calibrate_layers_kl", caption="KL from the baseline."
        )
    if point is not None:
        layer, alpha = int(point["y"]), float(found.columns[int(point["x"])])
        st.markdown(f"**Layer {layer}, alpha {literal(f'{alpha:g}')}**")
        st.text(_written(lm, study, prompt, layer, alpha))


def _written(lm: Model, study: Study, prompt: str, layer: int, alpha: float) -> str:
    from ...interventions.protocol import made
    from ...models.chat import chat

    direction, unit = at_layer(services.workbench(lm.name), study, layer)
    asked = chat(prompt) if lm.has_chat_template else prompt
    variants = [(), (made("add", direction=direction, alpha=alpha * unit),)]
    plain, steered = services.engine(lm.name).generate(asked, variants, max_new_tokens=40)
    return f"Baseline: {plain.text}\nSteered: {steered.text}"
