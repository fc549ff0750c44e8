"""Build / Dictionaries: train sparse autoencoders, watch them learn, and compare what they found."""

import streamlit as st

from steering.ui.building import dictionary_pairs, known_truth, training_form, training_runs
from steering.ui.shared import objects as services
from steering.ui.widgets.basics import clear_errors

VIEWS = ("Train", "Compare", "Where the truth is known")

st.title("Dictionaries")
st.caption(
    "A dictionary (sparse autoencoder) writes every activation as a sum of a few features out of many. "
    "Train one here, and see which features another training finds again."
)
bench = services.require_workbench()
view = st.segmented_control(
    "View", VIEWS, default=VIEWS[0], key="dictionaries_view", required=True, bind="query-params",
    label_visibility="collapsed",
)  # fmt: skip
if view == VIEWS[1]:
    dictionary_pairs.show(bench.lm)
elif view == VIEWS[2]:
    known_truth.show()
else:
    left, right = st.columns([4, 8], gap="large")
    with left, clear_errors():
        choice = training_form.choose(bench, training_runs.names())
        training_runs.start_button(bench, choice)
    with right:
        training_runs.show(bench.lm)
