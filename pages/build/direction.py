"""Build / Direction: pairs of texts to a direction, and what is known of it before anything is generated."""

import streamlit as st

from steering.ui.building import direction, direction_panels, pair_table
from steering.ui.shared import objects as services
from steering.ui.widgets.basics import clear_errors

st.title("Direction")
st.caption("Pairs of texts make a direction. What it is worth shows before a single token is generated.")
lm = services.require_model()
sae = services.maybe_sae()
left, right = st.columns([7, 6], gap="medium")
with left:
    pairs = pair_table.choose_pairs(lm)
with right:
    choice = direction.choose(lm, sae)
if pairs is None:
    st.stop()
with clear_errors():
    found = direction.study(lm, pairs, choice)
    with right:
        direction.keep(found)
    direction_panels.headline(found)
    direction_panels.show(found)
