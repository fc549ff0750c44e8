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
from . import separation as measure

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
        "Questions", list(SIZES), default="60 of each", key="refusal_table_size", required=True, bind="query-params",
        wrap=True,
    )  # fmt: skip
    model, n = bench.lm.name, SIZES[str(size)]
    st.caption("The same without a browser: `python -m steering.evaluate refusal`")
    name = f"Refusal in every form, {short_name(model)}, {n}"
    return job_cards.on_demand(name, "Run the experiment", lambda: _start(model, n, name), key="refusal_table_go")


def _start(model: str, n: int, name: str) -> None:
    def work(job: Job) -> RefusalResult:
        from ...experiments.programs.refusal import files_of, run_refusal

        result = run_refusal(services.shelf().engine(model), n=n, tick=job.tick)
        measure.keep(name, "Experiment", model, files_of(result), name)
        return result

    services.start(name, work)
    st.rerun()


def show(result: RefusalResult | None) -> None:
    """Draws a sentence, a chart of one column, the tables, whether two forms are one, and the answers."""
    from ...experiments.programs.refusal import COLUMNS, files_of, place_of, sentence

    if result is None:
        st.info("The table appears here. On the bundled model it takes some minutes; on a larger one much longer.")
        return
    rows = result.rows()
    columns = list(dict.fromkeys(title for row in rows for title in row if title != "arm"))
    st.markdown(f"**{literal(sentence(result), 900)}**")
    picked = st.segmented_control(
        "Chart", [title for title, *_ in COLUMNS if title in columns], default=COLUMNS[0][0], required=True,
        key="refusal_table_chart", wrap=True,
    )  # fmt: skip
    points = [_point(row, str(picked)) for row in rows if row.get(str(picked))]
    chart(
        figures.forest(points, theme.palette(), x=f"{picked}, share", share=True),
        title=f"{str(picked).capitalize()}, every form with its 95% interval", key="refusal_table_forest",
        caption="Dotted line: the model as it is. Diamonds: random directions of equal norm, the mean of three. An "
        "edit that only removes refusal changes the first of these columns and nothing else.",
    )  # fmt: skip
    _tables(rows, columns)
    st.caption(literal(place_of(result), 400))
    with st.expander(f"Forms that are one and the same edit ({len(result.same)})"):
        for one in result.same:
            st.caption(literal(f"{one.forms[1]} = {one.forms[0]}: logits differ by at most {one.largest:.1e}, where "
                               f"the edit changes them by {one.moved:.1f}.", 200))  # fmt: skip
    _answers(result)
    measure.download_all("refusal_table", files_of(result))


def _tables(rows: list[dict[str, Any]], columns: list[str]) -> None:
    """Draw shares and costs as two tables: together they are wider than a page."""
    from ...experiments.programs.refusal import shown

    shares = [title for title in columns if title in _shares()]
    for key, titles, said, digits in (
        ("refusal_table", shares, "Shares in percent, each with its 95% interval.", 1),
        ("refusal_costs", [title for title in columns if title not in shares],
         "Cross-entropy (CE) of texts and KL of the next token, in nats, with 95% intervals. Lower is better.", 2),
    ):  # fmt: skip
        st.dataframe(
            [{"": row["arm"]} | {title: shown(row.get(title), digits) for title in titles} for row in rows],
            hide_index=True, key=key, height="content",
            column_config={"": st.column_config.TextColumn(pinned=True, width="medium")},
        )  # fmt: skip
        st.caption(said)


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
    if not mine:
        st.caption("Of random directions only the numbers are kept here.")
        return
    for one in [one for one in mine if one.item not in result.harmful][:4]:
        _answer(result.requests[one.item], one.text)
    with st.expander("Answers to harmful requests (hidden until asked for)", key="refusal_table_hidden"):
        st.caption("Written by a model whose refusal may have been taken out. Not advice.")
        if st.toggle("Show them", key="refusal_table_show"):
            for one in [one for one in mine if one.item in result.harmful][:4]:
                _answer(result.requests[one.item], one.text)


def _answer(request: str, answer: str) -> None:
    with st.container(border=True, gap="xsmall"):
        st.caption(literal(request, 300))
        st.text(answer or "(nothing)")
