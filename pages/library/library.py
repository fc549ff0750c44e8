"""Saved directions and runs: search, inspect, rename, compare, delete with undo, import, export, replay."""

import streamlit as st

from steering.ui.library import measured, saved_runs, space
from steering.ui.library import saved as library
from steering.ui.shared import objects as services

lm = services.require_model()
library.goto()

st.title("Library", anchor=False)
st.caption("What you saved on this machine. A run can be replayed: equal, or drifted, and where.")

with st.container(horizontal=True, vertical_alignment="center"):
    shelf = st.segmented_control(
        "Shelf",
        ["Directions", "Runs", "Measurements"],
        default="Directions",
        required=True,
        key="library_shelf",
        bind="query-params",
        label_visibility="collapsed",
    )
    kept = st.text_input("Search", key="library_search", type="search", live="300ms", label_visibility="collapsed")
search = kept or ""
library.undo_bar()

listed, details = st.columns([3, 2], gap="medium")
if shelf == "Directions":
    with listed:
        chosen = library.directions(search)
        library.import_direction(lm)
    with details:
        if chosen:
            library.direction_details(chosen, lm)
        else:
            st.caption("Choose a row to see it; several rows to compare them.")
elif shelf == "Measurements":
    with listed:
        found = measured.shelf(search)
    with details:
        if found:
            measured.details(found)
        else:
            st.caption("Choose a row to see its table, and to download its files.")
else:
    with listed:
        picked = saved_runs.runs(search)
        saved_runs.import_run()
    with details:
        if picked:
            saved_runs.run_details(picked)
        else:
            st.caption("Choose a row to see its texts, and to replay it.")

space.show()
