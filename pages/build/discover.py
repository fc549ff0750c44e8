"""Build / Discover: directions without labels, and what each makes the model write."""

import streamlit as st

from steering.ui.building import discovering
from steering.ui.shared import objects as services
from steering.ui.widgets.basics import clear_errors

st.title("Discover")
st.caption("No pairs needed: which pushes at one layer change a later one most, and what does the model then say?")
bench = services.require_workbench()
left, right = st.columns([4, 8], gap="large")
with left:
    search = discovering.choose(bench)
    found = discovering.run(bench, search)
with right, clear_errors():
    if found is not None:
        discovering.show(bench, found)
    else:
        st.info("Press Search. With the settings on the left it takes a few seconds to two minutes, by the model.")
