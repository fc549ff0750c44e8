"""Build / Discover, further views: what an ablation brings in, and what each layer reads of the stream."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from ...plots import charts, figures
from ...recipes.sources import Source
from ...showing.glossary import explain
from ..shared import job_cards, state
from ..shared import objects as services
from ..widgets import theme
from ..widgets.basics import chart, literal, option
from .pair_table import suitable

if TYPE_CHECKING:
    from ...jobs.jobs import Job
    from ...measurements.leaks import LeakReport
    from ...measurements.ways import Ways
    from ...recipes.workbench import Workbench

T = TypeVar("T")
TEXTS = 8  # neutral texts over which leaks and dimensions are counted


def leaks(bench: Workbench) -> None:
    """Draw the counter-example, then the leaks of a direction of the visitor's choice."""
    _example()
    st.markdown("**In this model**")
    known = suitable(bench.lm)
    if len(known) < 2:
        st.info("There are no two pair sets for this model to compare.")
        return
    left, right = st.columns(2, gap="small")
    chosen = left.selectbox("Take out the direction of", known, key="leaks_direction", format_func=_said)
    layer = right.slider(
        "Layer", 0, bench.lm.n_layers - 1, bench.lm.n_layers // 2, key="leaks_layer", help=explain("layer")
    )
    others = [name for name in known if name != chosen]
    watched = st.multiselect("Watch", others, others[:6], key="leaks_watched", format_func=_said)
    name = f"Leaks: {chosen}, layer {layer}, {','.join(watched)}, {bench.lm.name.rsplit('/', 1)[-1]}"
    model = bench.lm.name
    choice = state.sae_choice(model) if bench.sae is not None else None  # read here: a job has no session

    def work(job: Job) -> LeakReport:
        from ...measurements.leaks import leak_report

        desk = services.shelf().workbench(model, choice, services.store())
        made = []
        for number, pairs in enumerate([chosen, *watched]):
            job.tick(number, len(watched) + 2, f"Reading {_said(pairs)}")
            with suppress(ValueError):
                made.append(desk.direction(Source(f"pairs:{pairs}", layer=layer)))
        job.tick(len(watched) + 1, len(watched) + 2, "Taking it out")
        if not made:
            raise ValueError(f"{model} cannot read the pairs of {_said(chosen)}.")
        sae = desk.sae if desk.sae is not None and desk.sae.site == made[0].site else None
        return leak_report(desk.lm, made[0], made[1:], desk.neutral[:TEXTS], sae=sae)

    report = _job(name, "Measure the leaks", "leaks_go", work)
    if report is not None:
        _show_leaks(report)


def _job(name: str, label: str, key: str, work: Callable[[Job], T]) -> T | None:
    """Draw the button that starts a job, or the job in progress; return its result once there is one."""

    def start() -> None:
        services.start(name, work)
        st.rerun()

    return job_cards.on_demand(name, label, start, key=key)


def _said(name: str) -> str:
    return option(name.removeprefix("general_").replace("_", " "))


def _example() -> None:
    """Draw the two-vector counter-example: ablating u = (b - d) / sqrt 2 writes half of x on an unused d."""
    st.markdown("**Taking one direction out can write another one in**")
    st.caption(
        "Three directions at right angles: b, c and d. The activation is x of b and y of c, and nothing of d. Take out "
        "u, which points halfway between b and minus d. Nothing is left along u, but half of x now lies on d."
    )
    left, right = st.columns([1, 2], gap="medium", vertical_alignment="center")
    with left:
        x = st.slider("x, how much of b", -4.0, 4.0, 2.0, 0.5, key="leaks_x")
        y = st.slider("y, how much of c", -4.0, 4.0, 1.0, 0.5, key="leaks_y")
    with right:
        figure = figures.before_after(
            ["b", "c", "d", "u"], [x, y, 0.0, x / 2**0.5], [x / 2, y, x / 2, 0.0], theme.palette(), x="projection"
        )
        chart(
            figure, title="What lies along each direction", key="leaks_example",
            caption="Open: before, filled: after u was taken out.",
        )  # fmt: skip


def _show_leaks(report: LeakReport) -> None:
    named = list(report.leaks)
    worst = max(named, key=lambda leak: leak.moved, default=None)
    if worst is not None:
        figure = figures.before_after(
            [_said(leak.name.split(",")[0]) for leak in named], [leak.before for leak in named],
            [leak.after for leak in named], theme.palette(), x="root mean square projection",
        )  # fmt: skip
        chart(
            figure, title=f"Most moved: {_said(worst.name.split(',')[0])}", key="leaks_named",
            caption="Open: before, filled: after. Directions of the same layer, over neutral text.",
        )  # fmt: skip
    if report.features:
        st.markdown("**Into the features of the SAE**")
        st.dataframe(
            [
                {"Feature": leak.name.removeprefix("feature "), "Before": leak.before, "After": leak.after,
                 "Moved": leak.moved, "Cosine": leak.cosine}
                for leak in report.features[:12]
            ],
            hide_index=True, key="leaks_features",
            column_config={
                key: st.column_config.NumberColumn(format="%.2f") for key in ("Before", "After", "Moved", "Cosine")
            },
        )  # fmt: skip
    if report.spared_cost is None:
        st.caption("No projection takes this direction out and leaves all of the watched ones alone.")
    else:
        st.caption(
            f"Plain ablation changes activations by {report.cost:.1%} of their length. An oblique projection that "
            f"leaves all watched directions exactly as they were changes them by {report.spared_cost:.1%}."
        )


def reading(bench: Workbench) -> None:
    """Draw how many dimensions each layer's stream occupies, how many the layer reads, and how many matter."""
    st.caption(
        "A layer does not look at its whole input. Dimensions are effective ones: k equally strong directions count as "
        "k, one that outshines the rest as little more than one."
    )
    model = bench.lm.name

    def work(job: Job) -> Ways:
        from ...measurements.ways import ways

        desk = services.shelf().workbench(model, None, services.store())
        return ways(desk.lm, desk.neutral[:TEXTS], tick=job.tick)

    found = _job(f"Dimensions by layer: {model.rsplit('/', 1)[-1]}", "Count the dimensions", "reading_go", work)
    if found is None:
        return
    xs = [float(one.layer) for one in found.layers]
    parts = [part for part in ("q", "k", "v", "mlp") if part in found.layers[0].read]
    shown = {"q": "queries", "k": "keys", "v": "values", "mlp": "MLP"}
    series = {"occupied": [one.occupied for one in found.layers]}
    series |= {shown[part]: [one.read.get(part) for one in found.layers] for part in parts}
    chart(
        charts.lines(xs, series, theme.palette(), x="layer", y="effective dimensions", height=300),
        title="How many directions each layer reads",
        caption=f"Over {TEXTS} neutral texts, without their first tokens. Width of the stream: "
        f"{found.prediction.stream}.",
        key="reading_read",
    )
    prediction = found.prediction
    chart(
        charts.lines(
            [float(layer) for layer in prediction.layers],
            {"effective": list(prediction.effective), "hold 90%": [float(k) for k in prediction.held]},
            theme.palette(), x="after layer", y="dimensions", height=300,
        ),
        title="How many of them matter for the next token",
        caption=f"From {prediction.samples} gradients of the model's own prediction, which bounds the count. Width of "
        f"the stream: {prediction.stream}.",
        key="reading_prediction",
    )  # fmt: skip
    rows = [{"Layer": one.layer, **{literal(k): v for k, v in one.heads.items()}} for one in found.layers]
    with st.expander("Head by head"):
        st.dataframe(rows, hide_index=True, key="reading_heads")
