"""What Compare shows before the visitor has chosen anything: the model's own example, until a prompt is written."""

from __future__ import annotations

import streamlit as st

from .examples import EVERY_PROMPT

RECIPE = "compare_recipe"
RAN = "compare_ran"
FULL = "compare_full"  # whether Compare shows everything, or the first screen
FRESH = "compare_fresh"  # another model was chosen: its own example replaces what the address says


def forget_example() -> None:
    """Let the next model's own example fill the page in, unless the visitor has written a prompt of their own."""
    if st.session_state.get("compare_prompt") in EVERY_PROMPT:
        for key in (RECIPE, "compare_example", RAN):
            st.session_state.pop(key, None)
        st.session_state[FRESH] = True
