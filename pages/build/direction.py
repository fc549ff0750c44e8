"""Build / Direction: a direction from pairs of texts, or the one that refusal hangs on, and what is known of it."""

import streamlit as st

from steering.ui.building import direction, direction_panels, pair_table, refusing
from steering.ui.shared import objects as services
from steering.ui.widgets.basics import clear_errors

VIEWS = ("From pairs", "Refusal")

st.title("Direction")
st.caption(
    "A direction is an arrow inside the model, from how it reads one kind of text to how it reads the opposite kind. "
    "Choose pairs of such texts; what the arrow is worth shows before a word is written."
)
bench = services.require_workbench()
view = st.segmented_control(
    "View", VIEWS, default=VIEWS[0], key="direction_kind", required=True, bind="query-params",
    label_visibility="collapsed",
)  # fmt: skip
if view == VIEWS[1]:
    left, right = st.columns([4, 8], gap="large")
    with left:
        candidates = refusing.run(bench, refusing.choose(bench.lm))
    with right, clear_errors():
        if candidates is not None:
            refusing.show(bench, candidates)
        else:
            st.info(
                "The candidates appear here. With the bundled instructions it takes seconds to minutes, by the model."
            )
    st.stop()
left, right = st.columns([7, 6], gap="medium")
with left:
    pairs = pair_table.choose_pairs(bench.lm)
with right:
    choice = direction.choose(bench.lm, bench.sae)
if pairs is None:
    st.stop()
direction_panels.warn(bench, pairs)
with clear_errors():
    found = direction.study(bench, pairs, choice)
    if found is not None:
        with right:
            direction.keep(found)
        direction_panels.headline(found)
        direction_panels.show(found)
