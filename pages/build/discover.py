"""Build / Discover: directions without labels, what an ablation brings in, and what each layer reads."""

import streamlit as st

from steering.ui.building import discovering, leaking
from steering.ui.shared import objects as services
from steering.ui.shared import presenting
from steering.ui.widgets.basics import clear_errors

VIEWS = ("Find directions", "What an ablation brings in", "What layers read")

st.title("Discover")
st.caption("No pairs needed: which pushes at one layer change a later one most, and what does the model then say?")
bench = services.require_workbench()
view = st.segmented_control(
    "View", VIEWS, default=VIEWS[0], key="discover_view", required=True, bind="query-params",
    label_visibility="collapsed",
)  # fmt: skip
if view == VIEWS[1]:
    leaking.leaks(bench)
elif view == VIEWS[2]:
    leaking.reading(bench)
else:
    left, right = presenting.columns([4, 8], gap="large")
    with left:
        search = discovering.choose(bench)
        found = discovering.run(bench, search)
    with right, clear_errors():
        if found is not None:
            discovering.show(bench, found)
        else:
            st.info(
                "The directions appear here, each with what the model writes when pushed along it, beside random ones. "
                "With these settings it takes seconds to two minutes, by the model."
            )
