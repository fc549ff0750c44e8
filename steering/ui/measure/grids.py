"""Measure / Calibrate: any grid. Methods, layers, strengths, thresholds, features, seeds and prompts in one sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...interventions.knobs import Vector
from ...interventions.protocol import METHODS
from ...plots import matrices
from ...recipes import building
from ...recipes.axes import FEATURE, LAYER, at_point, axes_of, base, labels, needs_sae, texts_of
from ..shared import objects as services
from ..widgets import theme
from ..widgets.basics import chart, clear_errors, option
from . import separation as measure
from .calibrating import Study
from .sweeping import file_of, numbers, source_at

if TYPE_CHECKING:
    from ...evaluations import EvaluationSet
    from ...evaluations.sweeps import Grid, Sweep
    from ...interventions import Intervention
    from ...jobs.jobs import Job
    from ...models.model import Model
    from ...recipes.workbench import Workbench
    from ...saes.sae import Sae

OWN = "your prompts"


def whole(text: str, top: int, what: str) -> list[int]:
    """The whole numbers of a text, each from 0 to below `top`.

    Raises:
        ValueError: one that is not.
    """
    found = numbers(text)
    bad = [value for value in found if value != int(value) or not 0 <= value < top]
    if bad:
        raise ValueError(f"{what} are whole numbers from 0 to {top - 1}; got {bad[0]:g}.")
    return [int(value) for value in found]


def any_grid(lm: Model, sae: Sae | None, study: Study, tau: float) -> None:
    """Draw the form of a grid over everything, its progress, and its table and heatmap."""
    known = [name for name in METHODS if sae is not None or not needs_sae(name)]
    methods = st.multiselect(
        "Methods", known, default=["add", "ablate"], key="calibrate_any_methods",
        format_func=lambda name: METHODS[name].setup.title,
    )  # fmt: skip
    with clear_errors():
        axes = _axes(lm, sae, study, methods, tau)
        texts = _texts(methods)
        sets = _sets(study)
        job = _start(lm, study, methods, axes, texts, sets)
        if job is not None and job.state == "done":
            _show(job.value, sets)


def _axes(lm: Model, sae: Sae | None, study: Study, methods: Sequence[str], tau: float) -> dict[str, list[Any]]:
    """The values of every axis that a chosen method has, and of the seed."""
    if not methods:
        raise ValueError("Choose at least one method.")
    shown = labels(methods)
    starts = {LAYER: f"{study.direction.site.layer}", "alpha": "-0.5, 0.5", "lambda_": "1, 2"}
    columns = st.columns(max(4, len(shown) + 1), gap="small")
    said = {}
    for column, (axis, (label, start)) in zip(columns, [*shown.items(), ("seed", ("Seeds", "0"))], strict=False):
        said[axis] = (
            column.text_input(label, starts.get(axis, start or f"{tau:.4g}"), key=f"calibrate_any_{axis}") or ""
        )
    found: dict[str, list[Any]] = {"seed": whole(said["seed"], 10**6, "Seeds")}
    for axis in shown:
        if axis == LAYER:
            found[axis] = whole(said[axis], lm.n_layers, "Layers")
        elif axis == FEATURE:
            found[axis] = whole(said[axis], sae.d_sae if sae else 1, "Features")
        else:
            found[axis] = numbers(said[axis])
    return found


def _texts(methods: Sequence[str]) -> dict[str, str]:
    """The texts of the chosen methods that are made from texts."""
    wanted = texts_of(methods)
    columns = st.columns(len(wanted), gap="small") if wanted else []
    return {
        name: column.text_input(label, key=f"calibrate_any_{name}") or ""
        for column, (name, label) in zip(columns, wanted.items(), strict=True)
    }


def _sets(study: Study) -> list[EvaluationSet]:
    """The sets of the study, limited, and the visitor's own prompts."""
    from ...evaluations import EvaluationSet, Item, scorer

    a, b, c = st.columns([2, 3, 3], gap="small")
    items = a.slider("Items of each set", 4, 60, 8, 4, key="calibrate_any_items")
    own = b.text_area("Prompts of your own, one a line", key="calibrate_any_prompts", height=80) or ""
    rule = c.text_input(
        "Their answers are counted where they match", "yes", key="calibrate_any_rule", help="A regular expression."
    )
    prompts = [line.strip() for line in own.split("\n") if line.strip()]
    found = [study.concept.limit(int(items)), study.other.limit(int(items))]
    if prompts:
        found.append(EvaluationSet(tuple(map(Item, prompts)), scorer(f"rule: {rule or '.'}"), OWN))
    return found


def grids(methods: Sequence[str], axes: dict[str, list[Any]]) -> list[Grid]:
    """A grid for each method, over the axes that it has; the seed is an axis of all where there are several."""
    from ...evaluations.sweeps import Grid

    seeds = {"seed": axes["seed"]} if axes["seed"] != [0] else {}
    own = axes_of(methods)
    return [Grid({"method": [m], **{axis: axes[axis] for axis in own[m]}, **seeds}) for m in methods]


def maker(
    bench: Workbench, study: Study, methods: Sequence[str], layers: Sequence[int], texts: Mapping[str, str]
) -> Callable[..., list[Intervention]]:
    """A function from a grid point's settings to interventions; directions are read now, before the job starts.

    Raises:
        ValueError: a layer at which the direction cannot be read, or a text that is missing.
    """
    own, axes = study.direction.site.layer, axes_of(methods)
    sources = {layer: study.source if layer == own else source_at(study, layer) for layer in {own, *layers}}
    steps = {method: base(method, study.source, texts) for method in methods}
    for method, step in steps.items():
        for layer in layers if LAYER in axes[method] and step.setup.of(Vector) else ():
            bench.direction(at_point(step, axes[method], {LAYER: layer}, sources).source(Vector()))

    def make(method: str, **point: Any) -> list[Intervention]:
        return [building.make(bench, at_point(steps[method], axes[method], point, sources)).intervention]

    return make


def _start(
    lm: Model, study: Study, methods: Sequence[str], axes: dict[str, list[Any]], texts: dict[str, str],
    sets: list[EvaluationSet],
) -> Job | None:  # fmt: skip
    whole_grid = grids(methods, axes)
    several = len(axes["seed"]) > 1
    total = (sum(map(len, whole_grid)) + len(axes["seed"])) * sum(map(len, sets))
    if total > measure.MAX_TRIALS:
        raise ValueError(f"A grid on this page has at most {measure.MAX_TRIALS} answers; this one has {total}.")
    contents = [one.content_hash for one in sets]
    rules = [repr(one.scorer) for one in sets]
    name = measure.name_of("Any grid", lm.fingerprint, study.key, methods, sorted(axes.items()), texts, contents, rules)
    engine, file = services.engine(lm.name), file_of(name)
    make = maker(services.workbench(lm.name), study, methods, axes.get(LAYER, []), texts)

    def work(job: Job) -> Sweep:
        from ...evaluations import Settings
        from ...evaluations.sweeps import sweep, to_files

        settings = Settings(max_new_tokens=32, temperature=1.0 if several else 0.0, in_flight=96)
        found = sweep(engine, make, whole_grid, sets, settings, checkpoint=file, tick=job.tick, outcomes=job.partial)
        measure.keep(name, "Sweep", lm.name, to_files(found), f"{', '.join(methods)}: {study.direction.name}")
        return found

    if several:
        st.caption("Several seeds draw the answers at temperature 1; one seed takes the likeliest words.")
    return measure.launch("calibrate_any", name, work, f"Run {total} answers", partial=True)


def _show(found: Sweep, sets: list[EvaluationSet]) -> None:
    from ...evaluations.sweeps import to_files

    table = found.summary()
    st.dataframe(table, hide_index=True)
    points = [arm for arm in found.arms if arm.settings]
    a, b, c, d = st.columns(4, gap="small")
    set_ = str(a.selectbox("Set", [one.name for one in sets], format_func=option, key="calibrate_any_set"))
    shown = [name for name in table.columns if any(name in o.measures for o in found.outcomes if o.set == set_)]
    measured = str(
        b.selectbox("Measure", shown, format_func=lambda n: n.replace("_", " "), key="calibrate_any_measure")
    )
    axes = list(dict.fromkeys(axis for arm in points for axis in arm.settings))
    down = str(c.selectbox("Down", axes, key="calibrate_any_down", format_func=_plain))
    across = str(d.selectbox("Across", axes, index=len(axes) - 1, key="calibrate_any_across", format_func=_plain))
    rows, columns, cells = heat(found, set_, measured, down, across)
    figure = matrices.heatmap(
        cells, rows, columns, theme.palette(), low=None, high=None, x=_plain(across), y=_plain(down), unit=""
    )
    chart(
        figure, title=f"{measured.replace('_', ' ')} on {set_}", key="calibrate_any_heat",
        caption=f"Mean over all other axes. Baseline: {found.mean('Baseline', measured, set_):.3g}.",
    )  # fmt: skip
    measure.download_all("calibrate_any", to_files(found))


def _plain(axis: str) -> str:
    """The name of an axis as it is shown: `lambda_` is a keyword only in Python."""
    return axis.rstrip("_")


def heat(
    found: Sweep, set_: str, measured: str, down: str, across: str
) -> tuple[list[str], list[str], list[list[float | None]]]:
    """Names of rows and columns, and the mean of a measure over the points of each cell; None where there is none."""
    from ...evaluations.sweeps import label

    cells: dict[tuple[str, str], list[float]] = {}
    for arm in found.arms:
        if down in arm.settings or across in arm.settings:
            place = tuple(
                label({axis: arm.settings[axis]}) if axis in arm.settings else "none" for axis in (down, across)
            )
            value = found.mean(arm.name, measured, set_)
            if value == value:  # NaN where this set has no such measure
                cells.setdefault((place[0], place[1]), []).append(value)
    rows, columns = (list(dict.fromkeys(place[side] for place in cells)) for side in (0, 1))
    means = {place: sum(many) / len(many) for place, many in cells.items()}
    return rows, columns, [[means.get((row, column)) for column in columns] for row in rows]
