"""Finding SAE features by what they fire on or promote, to put them into a recipe's step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ...recipes.steps import Step, show_features
from ..widgets.basics import literal

if TYPE_CHECKING:
    from ...models.model import Model
    from ...saes.sae import Sae

SHOWN = 8


def _take(text_key: str, features: dict[int, float], number: int, value: float) -> None:
    """Add a feature to the text field of a step."""
    st.session_state[text_key] = show_features({**features, number: value})


def find(prefix: str, step: Step, lm: Model, sae: Sae | None, text_key: str) -> None:
    """Draw the search in the feature index; a click adds the feature with its largest activation as the value."""
    from ..shared.indexes import maybe_index

    index = maybe_index(lm, sae)
    with st.popover("Find features", width="stretch", disabled=index is None):
        if index is None:
            return
        query = st.text_input(
            "Fires on, promotes, or is noted as", key=f"{prefix}_find", type="search", live="300ms", placeholder="sorry"
        )
        if not query:
            return
        rows, total = index.search(query, limit=SHOWN)
        st.caption(f"{total} found" + (f", the {SHOWN} most frequent shown" if total > SHOWN else ""))
        for row in rows:
            before, peak, after = row.context
            st.button(
                literal(f"{row.index}: {before[-24:]}[{peak}]{after[:16]}", 70),
                key=f"{prefix}_take_{row.index}",
                on_click=_take,
                args=(text_key, step.features, row.index, round(row.maximum, 2)),
                width="stretch",
                type="tertiary",
            )
