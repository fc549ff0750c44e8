"""Measure / Two models: a model and its tuned copy side by side, and refusal taken out in every form."""

import streamlit as st

from steering.ui.measure import models_compared, refusal_table
from steering.ui.shared import objects as services
from steering.ui.widgets.basics import clear_errors

VIEWS = ("What tuning changed", "Refusal in every form")

st.title("Two models")
st.caption("Two models of one kind: what the tuning moved, what it rewarded, and what an edit of the weights costs.")
view = st.segmented_control(
    "View", VIEWS, default=VIEWS[0], key="models_view", required=True, bind="query-params",
    label_visibility="collapsed",
)  # fmt: skip
bench = services.require_workbench()
left, right = st.columns([4, 8], gap="large")
if view == VIEWS[1]:
    with left:
        result = refusal_table.run(bench)
    with right, clear_errors():
        refusal_table.show(result)
else:
    with left:
        chosen = models_compared.choose(bench)
        found = models_compared.run(chosen)
    with right, clear_errors():
        models_compared.show(found)
