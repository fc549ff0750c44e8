"""A figure in words, for who cannot see it: its kind, its axes, and where its numbers are largest and smallest."""

from __future__ import annotations

import html
import math
from typing import Any

import plotly.graph_objects as go

LONGEST = 700
NAMED = 6  # traces that are said one by one


def in_words(figure: go.Figure) -> str:
    """What a figure shows, in a few sentences; invisible helpers (veils, clickable points) are left out."""
    said = [text for trace in figure.data if (text := _trace(trace))]
    axes = ", ".join(
        f"{name}: {text}"
        for name, axis in (("across", figure.layout.xaxis), ("up", figure.layout.yaxis))
        if (text := _plain(axis.title.text))
    )
    more = f" And {len(said) - NAMED} more." if len(said) > NAMED else ""
    whole = " ".join([*([f"Axes: {axes}."] if axes else []), *said[:NAMED]]) + more
    return whole if len(whole) <= LONGEST else whole[: LONGEST - 1] + "…"


def _plain(text: Any) -> str:
    return html.unescape(" ".join(str(text or "").split()))


def _trace(trace: Any) -> str:
    if trace.type == "heatmap":
        return _heatmap(trace)
    if trace.type in ("scatter", "scattergl"):
        return _scatter(trace)
    if trace.type in ("bar", "histogram"):
        return _bars(trace)
    return ""


def _heatmap(trace: Any) -> str:
    rows = [list(row) for row in (trace.z if trace.z is not None else [])]
    cells = [(value, r, c) for r, row in enumerate(rows) for c, value in enumerate(row) if _number(value)]
    if not cells or (trace.showscale is False and trace.texttemplate is None):
        return ""  # a veil over another one
    low, high = min(cells), max(cells)
    return (
        f"A grid of {len(rows)} rows and {len(rows[0])} columns, "
        f"from {low[0]:.3g} (row {low[1] + 1}, column {low[2] + 1}) "
        f"to {high[0]:.3g} (row {high[1] + 1}, column {high[2] + 1})."
    )


def _scatter(trace: Any) -> str:
    if (trace.marker.opacity == 0 and "lines" not in str(trace.mode)) or trace.hoverinfo == "skip":
        return ""
    across, up = _list(trace.x), _list(trace.y)
    points = [(x, y) for x, y in zip(across, up, strict=False) if _number(y)]
    if not points:
        return ""
    name = _plain(trace.name) or "A line" if "lines" in str(trace.mode) else _plain(trace.name) or "Points"
    if len(points) == 1:
        return f"{name}: {points[0][1]:.3g} at {_at(points[0][0])}."
    low, high = min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1])
    return (
        f"{name}: {len(points)} points, lowest {low[1]:.3g} at {_at(low[0])}, highest {high[1]:.3g} at {_at(high[0])}, "
        f"last {points[-1][1]:.3g}."
    )


def _bars(trace: Any) -> str:
    names, values = (trace.y, trace.x) if trace.orientation == "h" else (trace.x, trace.y)
    bars = [(value, name) for name, value in zip(_list(names), _list(values), strict=False) if _number(value)]
    if not bars:
        return ""
    largest = sorted(bars, key=lambda bar: -abs(bar[0]))[:3]
    return (
        f"{_plain(trace.name) or 'Bars'}: {len(bars)}, largest "
        + ", ".join(f"{_at(name)} {value:.3g}" for value, name in largest)
        + "."
    )


def _list(values: Any) -> list[Any]:
    return [] if values is None else list(values)


def _number(value: Any) -> bool:
    try:
        return value is not None and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _at(place: Any) -> str:
    return f"{place:.4g}" if isinstance(place, float) else _plain(place)[:40]
