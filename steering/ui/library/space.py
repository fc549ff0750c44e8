"""Library: what the data folder holds on this disk, its limit, and cleaning what can be made again."""

from __future__ import annotations

import streamlit as st

from ..widgets.basics import clear_errors, literal

FREED = "library_freed"


def show() -> None:
    """Draws the parts of the data folder with their sizes, and the button that cleans it."""
    from ...checkpoints.confined import is_confined
    from ...checkpoints.memory import size
    from ...library import space

    with st.expander("Space on this disk", key="library_space", on_change="rerun") as place, clear_errors():
        if not place.open:
            return  # nothing is counted by merely opening the page
        found = space.parts()
        st.caption(
            f"{size(sum(part.bytes for part in found))} of at most {size(space.limit_bytes())} "
            f"({literal(space.LIMIT_VARIABLE)}). What can be made again goes by itself when the limit is reached, the "
            "least recently used first; what you saved never does."
        )
        st.dataframe(
            [
                {"What": part.what, "Size": size(part.bytes), "Can be made again": "yes" if part.remakeable else "no"}
                for part in found
            ],
            hide_index=True,
        )
        if not is_confined():  # a visitor of a shared server cleans nothing
            st.button(
                "Clean what can be made again", key="library_clean", icon=":material/mop:", on_click=_clean,
                help="Answers of finished runs, feature indexes and fetched labels. What was used within the last hour "
                "stays, and so does everything saved in the Library.",
            )  # fmt: skip
        if (freed := st.session_state.pop(FREED, None)) is not None:
            st.success(f"{size(freed)} freed.")


def _clean() -> None:
    from ...library import space

    st.session_state[FREED] = sum(space.clean(name) for name in space.REMAKEABLE)
