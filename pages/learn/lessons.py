"""Lessons of about ten minutes: guess first, then see. Alone, or in a teacher's room."""

import streamlit as st

from steering.ui.learn import playing
from steering.ui.widgets.basics import clear_errors

at = playing.seat()
if at is not None:
    with clear_errors():
        if at.room is None and not st.query_params.get(playing.LESSON):
            playing.gallery()
        else:
            playing.play(at)
