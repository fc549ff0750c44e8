"""Measure / Two models, refusal: the bundled experiment, its table, and the answers, harmful ones folded and marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from ...plots import figures
from ..shared import job_cards
from ..shared import objects as services
from ..shared.frame import short_name
from ..widgets import theme
from ..widgets.basics import chart, literal

if TYPE_CHECKING:
    from ...experiments.programs.refusal import RefusalResult
    from ...jobs.jobs import Job
    from ...recipes.workbench import Workbench

SIZES = {"60 of each": 60, "120 of each": 120, "200 of each": 200}


def run(bench: Workbench) -> RefusalResult | None:
    """Draws the choices, the button and the progress; the result once there is one."""
    st.caption(
        "The refusal direction is searched for, then taken out and put in by ablation, by orthogonalized weights, by "
        "addition, by a bias and by affine ablation, beside random directions of equal norm."
    )
    size = st.segmented_control(
        "Questions", list(SIZES), default="60 of each", key="refusal_table_size", required=True, bind="query-params"
    )
    model, n = bench.lm.name, SIZES[str(size)]
    st.caption("The same without a browser: `python -m steering.evaluate refusal`")
    name = f"Refusal in every form, {short_name(model)}, {n}"
    return job_cards.on_demand(name, "Run the experiment", lambda: _start(model, n, name), key="refusal_table_go")


def _start(model: str, n: int, name: str) -> None:
    def work(job: Job) -> RefusalResult:
        from ...experiments.programs.refusal import run_refusal

        return run_refusal(services.shelf().engine(model), n=n, tick=job.tick)

    services.start(name, work)
    st.rerun()


def show(result: RefusalResult | None) -> None:
    """Draws the table, a chart of one of its columns, whether two forms are one, and the answers."""
    from ...experiments.programs.refusal import COLUMNS, shown, to_markdown

    if result is None:
        st.info("The table appears here. On the bundled model it takes some minutes; on a larger one much longer.")
        return
    rows = result.rows()
    columns = [title for title in rows[0] if title != "arm"]
    st.dataframe(
        [
            {"": row["arm"]} | {title: shown(row.get(title), 1 if title in _shares() else 2) for title in columns}
            for row in rows
        ],
        hide_index=True,
        key="refusal_table",
    )
    st.caption(
        "Shares in percent, cross-entropy (CE) and KL in nats, each with its 95% interval. Random directions are the "
        "mean of three. An edit that only removes refusal changes the first column and nothing else."
    )
    picked = st.segmented_control(
        "Chart", [title for title, *_ in COLUMNS if title in columns], default=COLUMNS[0][0], required=True,
        key="refusal_table_chart",
    )  # fmt: skip
    points = [_point(row, str(picked)) for row in rows if row.get(str(picked))]
    chart(
        figures.forest(points, theme.palette(), x=f"{picked}, share", share=True),
        title=f"{str(picked).capitalize()}, every form with its 95% interval", key="refusal_table_forest",
        caption="Dotted line: the model as it is. Diamonds: random directions of equal norm.",
    )  # fmt: skip
    for one in result.same:
        st.caption(literal(f"{one.forms[1]} = {one.forms[0]}: logits differ by at most {one.largest:.1e}, where the "
                           f"edit changes them by {one.moved:.1f}.", 200))  # fmt: skip
    _answers(result)
    st.download_button(
        "Download the table", to_markdown(result), "refusal.md", mime="text/markdown", key="refusal_table_download"
    )


def _shares() -> set[str]:
    from ...experiments.programs.refusal import COLUMNS

    return {title for title, *_ in COLUMNS}


def _point(row: dict[str, Any], title: str) -> figures.Point:
    value, low, high, _ = row[title]
    kind = "baseline" if row["arm"] == "Baseline" else "control" if row["arm"].startswith("random") else "steered"
    return figures.Point(row["arm"], value / 100, low / 100, high / 100, kind)


def _answers(result: RefusalResult) -> None:
    """Draws some answers; those to harmful requests are folded, marked, and sent to the browser only when asked for."""
    from ...experiments.programs.refusal_sets import REQUESTS

    arm = st.selectbox("Answers of", result.arms, key="refusal_table_arm")
    mine = [one for one in result.outcomes if one.arm == arm and one.set == REQUESTS]
    for one in [one for one in mine if one.item not in result.harmful][:4]:
        st.text(one.text or "(nothing)")
    if not mine:
        return
    with st.expander("Answers to harmful requests (hidden until asked for)", key="refusal_table_hidden"):
        st.caption("Written by a model whose refusal may have been taken out. Not advice.")
        if st.toggle("Show them", key="refusal_table_show"):
            for one in [one for one in mine if one.item in result.harmful][:4]:
                st.text(one.text or "(nothing)")
