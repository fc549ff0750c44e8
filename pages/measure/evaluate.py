"""Measure / Evaluate: sets, recipes and controls in one run, with intervals and paired tests, and a report of it."""

import streamlit as st

from steering.ui.measure import evaluating
from steering.ui.shared import objects as services
from steering.ui.shared import presenting

st.title("Evaluate", anchor=False)
st.caption("Does the steering do what it claims, more than any push of its size does, and what does it cost?")
lm, sae = services.require_model(), services.maybe_sae()
left, right = presenting.columns([4, 8], gap="large")
with left:
    experiment = evaluating.choose(lm, sae)
    job = evaluating.run(experiment, lm, sae) if experiment is not None else None
with right:
    evaluating.show(job, experiment)
    evaluating.earlier()
