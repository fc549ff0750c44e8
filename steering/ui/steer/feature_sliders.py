"""Sliders for the features of a step: each from 0 to twice the largest activation that was seen of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from ...recipes.steps import parse_features, show_features
from ..shared.indexes import maybe_index
from ..widgets.strength import strength

if TYPE_CHECKING:
    from ...recipes.workbench import Workbench

MOST = 6  # sliders; further features stay in the text field
SMALLEST = 0.05  # of the largest activation: the slider's step


def forget(text_key: str) -> None:
    """Makes the sliders begin anew at what the text field says; for its callback."""
    st.session_state[f"{text_key}_version"] = st.session_state.get(f"{text_key}_version", 0) + 1


def _key(prefix: str, text_key: str, number: int) -> str:
    return f"{prefix}_feature_{number}_{st.session_state.get(f'{text_key}_version', 0)}"


def take_over(prefix: str, text_key: str) -> None:
    """Writes what the sliders were moved to into the text field, before that is drawn."""
    try:
        features = parse_features(st.session_state.get(text_key) or "")
    except ValueError:
        return
    moved = dict(features)
    for number in features:
        held = (st.session_state.get(_key(prefix, text_key, number)) or {}).get("value")
        if isinstance(held, int | float):
            moved[number] = float(f"{held:.4g}")
    if moved != features:
        st.session_state[text_key] = show_features(moved)


def largest_of(bench: Workbench) -> Callable[[int], float]:
    """Gives the largest activation that was seen of a feature; 0 where no index knows it."""
    index = maybe_index(bench.lm, bench.sae)
    return lambda number: float(index.maximum[number]) if index is not None and number < index.n_features else 0.0


def draw(prefix: str, features: dict[int, float], bench: Workbench, text_key: str) -> dict[int, float]:
    """The features with their values as set, after drawing a slider for each."""
    index = maybe_index(bench.lm, bench.sae)
    seen, found = largest_of(bench), dict(features)
    for number, value in list(features.items())[:MOST]:
        known = index is not None and number < index.n_features
        largest = seen(number)
        high = max(2 * largest, value, 1e-3) if largest else max(2 * abs(value), 1.0)
        name = index.name(number) if known and index is not None else ""
        note = f"{largest:.3g} is its largest" if largest else ""
        found[number] = strength(
            f"Feature {number}, activation", value, key=_key(prefix, text_key, number), low=min(0.0, value), high=high,
            step=float(f"{max(high / 2 * SMALLEST, 1e-4):.1g}"), note=note,
            short=name or f"Feature {number}",
        )  # fmt: skip
    return found
