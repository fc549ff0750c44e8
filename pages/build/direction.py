"""Build / Direction: pairs of texts to a direction, and what is known of it before anything is generated."""

import streamlit as st

from steering.ui.building import direction, direction_panels, pair_table
from steering.ui.shared import objects as services
from steering.ui.widgets.basics import clear_errors

st.title("Direction")
st.caption("Pairs of texts make a direction. What it is worth shows before a single token is generated.")
bench = services.require_workbench()
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
