"""Models and SAEs to choose from: what fits this machine, which SAE fits which model, download, load, use."""

import streamlit as st

from steering.ui.library import folder_page, machine, models_page, saes_page
from steering.ui.shared import objects as services

services.warm()
st.title("Models", anchor=False)
st.caption("Any model that TransformerLens knows, any SAE of SAELens. Nothing is downloaded until you press a button.")
machine.strip()

view = st.segmented_control(
    "Look through", list(models_page.VIEWS), default="models", format_func=models_page.VIEWS.__getitem__,
    required=True, key=models_page.VIEW, bind="query-params", label_visibility="collapsed",
)  # fmt: skip
if view == "models":
    source = models_page.choose()
    looked_at, saes = st.columns([3, 5], gap="medium")
    with looked_at:
        models_page.card(source)
    with saes:
        saes_page.fitting(source)
elif view == "saes":
    saes_page.everything()
else:
    folder_page.show()
