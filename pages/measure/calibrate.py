"""Measure / Calibrate: where a threshold belongs, how strong is too strong, and what each choice costs."""

import streamlit as st

from steering.ui.measure import calibrating, dosing, grids, steerability, sweeping
from steering.ui.shared import objects as services
from steering.ui.widgets.basics import clear_errors

st.title("Calibrate", anchor=False)
st.caption(
    "How hard, and from where on? Find the threshold or strength that does what it should and leaves the rest alone."
)
lm, sae = services.require_model(), services.maybe_sae()
with clear_errors():
    study = calibrating.choose(lm, sae)
    groups = None if study is None else calibrating.projected(lm, study)
    if study is None or groups is None:
        st.stop()
    calibrating.warn(study)
    threshold, grid, dose, items, layers, free = st.tabs(
        ["Threshold", "Tau and lambda", "Dose", "Steerability", "Layer and dose", "Any grid"]
    )
    with threshold:
        tau = calibrating.show_threshold(study, groups)
        calibrating.send(lm, study, tau)
    with grid:
        sweeping.tau_lambda(lm, study, tau)
    with dose:
        dosing.dose(lm, study)
    with items:
        steerability.steerability(lm, study)
    with layers:
        sweeping.layers(lm, sae, study)
    with free:
        grids.any_grid(lm, sae, study, tau)
