"""Histograms along a direction with a threshold line that can be moved, and the rates that the line gives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st
from streamlit.components import v2 as components

_PARTS = Path(__file__).parent / "components"
_component = components.component(
    "tiller_threshold",
    html="""<div class="threshold"><div class="title"></div>
<div class="body"><svg role="group"></svg><ul class="rates"></ul></div></div>""",
    css=(_PARTS / "threshold.css").read_text(encoding="utf-8"),
    js=(_PARTS / "threshold.js").read_text(encoding="utf-8"),
)
SHOWN = 600  # values of a group that are sent to the browser


def rate_above(values: Sequence[float], tau: float) -> float:
    """The share of values above tau: for positives the true positive rate, for the others the false positive rate."""
    return sum(value > tau for value in values) / len(values) if values else 0.0


def best_tau(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The threshold with the largest difference of the two rates, in the middle of its gap."""
    values = sorted({*positive, *negative})
    cuts = [(a + b) / 2 for a, b in itertools.pairwise(values)] or values or [0.0]
    return max(cuts, key=lambda tau: rate_above(positive, tau) - rate_above(negative, tau))


def threshold(
    groups: Mapping[str, Sequence[float]],
    *,
    colors: Mapping[str, str],
    key: str,
    title: str,
    tau: float | None = None,
) -> float:
    """The tau of the line that the visitor moves (at first the given one, or the one that best separates the pairs)."""
    values = [v for group in groups.values() for v in group if math.isfinite(v)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.04 * (high - low) or 0.5
    low, high = low - room, high + room
    if tau is None:
        named = [list(groups.get(name, ())) for name in ("positive pairs", "negative pairs")]
        tau = best_tau(*named) if all(named) else (low + high) / 2
    held = (st.session_state.get(key) or {}).get("tau")
    now = held if isinstance(held, int | float) and math.isfinite(held) else tau
    data = [
        {
            "name": name,
            "color": colors[name],
            "values": [round(v, 4) for v in _thinned(group)],
            "dotted": "baseline" in name or "neutral" in name,
        }
        for name, group in groups.items()
    ]
    result = _component(
        key=key,
        data={"title": title, "groups": data, "low": low, "high": high, "tau": min(high, max(low, now))},
        on_tau_change=lambda: None,
    )
    moved = result.get("tau")
    return min(high, max(low, float(moved))) if isinstance(moved, int | float) and math.isfinite(moved) else now


def _thinned(values: Sequence[float]) -> list[float]:
    """Sorted values, thinned evenly to at most SHOWN."""
    found = sorted(v for v in values if math.isfinite(v))
    return found if len(found) <= SHOWN else [found[int(i * len(found) / SHOWN)] for i in range(SHOWN)]
