"""Measure / Calibrate: any grid. Methods, layers, strengths, thresholds, features, seeds and prompts in one sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...plots import matrices
from ..shared import objects as services
from ..widgets import theme
from ..widgets.basics import chart, clear_errors, option
from . import separation as measure
from .calibrating import Study
from .sweeping import at_layer, file_of, numbers

if TYPE_CHECKING:
    from ...evaluations import EvaluationSet
    from ...evaluations.sweeps import Grid, Sweep
    from ...interventions import Intervention
    from ...jobs.jobs import Job
    from ...models.model import Model
    from ...saes.sae import Sae

METHODS = {
    "add": "Add the direction",
    "ablate": "Ablate the direction",
    "regulate": "Regulate the direction",
    "boost": "Add features",
    "clamp": "Clamp features",
}
AXES = {
    "add": ("layer", "alpha"),
    "ablate": ("layer",),
    "regulate": ("layer", "tau", "lambda_"),
    "boost": ("feature", "amount"),
    "clamp": ("feature", "amount"),
}
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
    """Draws the form of a grid over everything, its progress, and its table and heatmap."""
    known = [name for name in METHODS if sae is not None or name not in ("boost", "clamp")]
    methods = st.multiselect(
        "Methods", known, default=["add", "ablate"], format_func=METHODS.__getitem__, key="calibrate_any_methods"
    )
    with clear_errors():
        axes = _axes(lm, sae, study, methods, tau)
        sets = _sets(study)
        job = _start(lm, sae, study, methods, axes, sets)
        if job is not None and job.state == "done":
            _show(job.value, sets)


def _axes(lm: Model, sae: Sae | None, study: Study, methods: Sequence[str], tau: float) -> dict[str, list[Any]]:
    """The values of every axis that a chosen method has, and of the seed."""
    if not methods:
        raise ValueError("Choose at least one method.")
    wanted = dict.fromkeys(axis for method in methods for axis in AXES[method])
    middle = study.direction.site.layer
    starts = {
        "layer": ("Layers", f"{middle}"),
        "alpha": ("Alpha, in layer norms", "-0.5, 0.5"),
        "tau": ("Tau", f"{tau:.4g}"),
        "lambda_": ("Lambda", "1, 2"),
        "feature": ("Features", "0, 1"),
        "amount": ("Amount of a feature", "5"),
    }
    columns = st.columns(max(4, len(wanted) + 1), gap="small")
    said = {}
    for column, axis in zip(columns, [*wanted, "seed"], strict=False):
        label, start = starts.get(axis, ("Seeds", "0"))
        said[axis] = column.text_input(label, start, key=f"calibrate_any_{axis}") or ""
    found: dict[str, list[Any]] = {"seed": whole(said["seed"], 10**6, "Seeds")}
    for axis in wanted:
        if axis == "layer":
            found[axis] = whole(said[axis], lm.n_layers, "Layers")
        elif axis == "feature":
            found[axis] = whole(said[axis], sae.d_sae if sae else 1, "Features")
        else:
            found[axis] = numbers(said[axis])
    return found


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
    return [Grid({"method": [m], **{axis: axes[axis] for axis in AXES[m]}, **seeds}) for m in methods]


def maker(lm: Model, sae: Sae | None, study: Study, layers: Sequence[int]) -> Callable[..., list[Intervention]]:
    """The function from the settings of a point to its interventions; directions are read before the job starts.

    Raises:
        ValueError: a layer at which the direction cannot be read.
    """
    from ...interventions import (
        ActivationAddition,
        DirectionalAblation,
        FeatureAddition,
        FeatureClamp,
        ThresholdRegulator,
    )

    own = study.direction
    unit = services.workbench(lm.name).typical_norm(own.site) / float(own.decoded().norm())
    here = {own.site.layer: (own, unit)}
    found = {layer: here[layer] if layer in here else at_layer(lm, study, layer) for layer in layers}

    def make(method: str, layer: int = 0, alpha: float = 0, tau: float = 0, lambda_: float = 0, feature: int = 0,
             amount: float = 0) -> list[Intervention]:  # fmt: skip
        if method in ("boost", "clamp"):
            assert sae is not None  # the form offers neither without one
            return [(FeatureAddition if method == "boost" else FeatureClamp)(sae, {feature: amount})]
        direction, norm = found[layer]
        if method == "add":
            return [ActivationAddition(direction, alpha * norm)]
        if method == "ablate":
            return [DirectionalAblation(direction)]
        return [ThresholdRegulator(direction, tau, lambda_)]

    return make


def _start(
    lm: Model, sae: Sae | None, study: Study, methods: Sequence[str], axes: dict[str, list[Any]],
    sets: list[EvaluationSet],
) -> Job | None:  # fmt: skip
    whole_grid = grids(methods, axes)
    several = len(axes["seed"]) > 1
    total = (sum(map(len, whole_grid)) + len(axes["seed"])) * sum(map(len, sets))
    if total > measure.MAX_TRIALS:
        raise ValueError(f"A grid on this page has at most {measure.MAX_TRIALS} answers; this one has {total}.")
    contents = [one.content_hash for one in sets]
    rules = [repr(one.scorer) for one in sets]
    name = measure.name_of("Any grid", lm.fingerprint, study.key, methods, sorted(axes.items()), contents, rules)
    engine, file, make = services.engine(lm.name), file_of(name), maker(lm, sae, study, axes.get("layer", []))

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
