"""A table of dictionaries: where each reads, what kind it is, and how good it was on held-out text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from ...saes.comparing.known import KnownDictionary

# Measure -> column, format, help. Shares are shown as percentages.
MEASURES = {
    "explained_variance": ("Explains", "%.1f%%", "Share of the variance, massive tokens left out."),
    "l0": ("L0", "%.1f", "Features that fire on a token."),
    "dead": ("Dead", "%.1f%%", "Features that fired on no held-out token."),
    "ce_recovered": ("Loss kept", "%.1f%%", "Cross-entropy recovered: 100% if the model predicts as well with the "
                     "reconstruction, 0% as with zeros."),
    "kl": ("KL", "%.3f", "How far next-token probabilities move with the reconstruction, nats."),
    "shrinkage": ("Length", "%.3f", "Of the reconstructions; below 1 they are too short (shrinkage)."),
    "max_cosine_mean": ("Interference", "%.2f", "Mean over features of the largest cosine with another one's row."),
    "steers": ("Steers", "%.0f%%", "Features that, clamped, move the next token as their logit lens says."),
    "tokens": ("Measured on", "localized", "Held-out tokens."),
}  # fmt: skip
SHARES = ("explained_variance", "dead", "ce_recovered", "steers")


def draw(known: Sequence[KnownDictionary], *, key: str) -> None:
    """Draws the table; a measure that a dictionary was not saved with stays empty."""
    known_measures = {
        name: about for name, about in MEASURES.items() if any(one.measure(name) is not None for one in known)
    }
    rows = []
    for one in known:
        row: dict[str, object] = {"Dictionary": one.name, "Features": one.d_sae}
        for measure, (column, _, _) in known_measures.items():
            value = one.measure(measure)
            row[column] = value if value is None or measure not in SHARES else 100 * value
        rows.append(row)
    columns = {column: st.column_config.NumberColumn(format=shape, help=meaning)
               for column, shape, meaning in MEASURES.values()}  # fmt: skip
    st.dataframe(rows, key=key, hide_index=True, column_config=columns)
