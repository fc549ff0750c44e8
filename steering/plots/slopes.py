"""Steerability: a figure of mean slopes by layer, and the limit of a color scale that outliers leave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from .base import Palette, base

KEPT = 0.98  # share of cells within a color scale


class Slope(NamedTuple):
    """A mean slope at a layer with its interval; `kind` is "first" (few items), "then" (all others) or "random"."""

    layer: int
    value: float
    low: float
    high: float
    kind: str = "then"
    note: str = ""


def limit_of(cells: Sequence[Sequence[float]], kept: float = KEPT) -> tuple[float, int]:
    """The size that all but a few cells stay below, for a scale around zero, and how many lie beyond it.

    One item with a massive response would leave all others pale.
    """
    sizes = np.abs(np.asarray(cells, float)).ravel()
    limit = float(np.quantile(sizes, kept)) or float(sizes.max()) or 1.0
    return limit, int((sizes > limit * (1 + 1e-9)).sum())


def by_layer(slopes: Sequence[Slope], palette: Palette, *, y: str, chosen: int, height: int = 340) -> go.Figure:
    """Mean slopes over layers with their intervals; random directions are diamonds beside the chosen layer."""
    figure = base(palette, height, x="layer", y=y)
    looks = {
        "first": (palette.muted, "circle-open", 8, "the few items"),
        "then": (palette.accent, "circle", 10, "the others"),
        "random": (palette.baseline, "diamond-open", 9, "random directions"),
    }
    figure.add_hline(y=0, line={"color": palette.rule, "width": 1.5}, layer="below")
    for kind, (color, symbol, size, name) in looks.items():
        some = [one for one in slopes if one.kind == kind]
        if not some:
            continue
        # Beside the direction's own point, and not upon it.
        places = [one.layer + (0.25 + 0.15 * k if kind == "random" else 0.0) for k, one in enumerate(some)]
        figure.add_scatter(
            x=places, y=[one.value for one in some], mode="markers", name=name, showlegend=True,
            marker={"symbol": symbol, "size": size, "color": color, "line": {"width": 2, "color": color}},
            error_y={
                "type": "data", "symmetric": False, "array": [_bar(one.high - one.value) for one in some],
                "arrayminus": [_bar(one.value - one.low) for one in some], "color": color, "thickness": 1.4, "width": 3,
            },
            customdata=[[one.layer, one.low, one.high, one.note] for one in some],
            hovertemplate="layer %{customdata[0]}, %{customdata[3]}: %{y:.3g} (%{customdata[1]:.3g} to "
            "%{customdata[2]:.3g})<extra></extra>",
        )  # fmt: skip
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"color": palette.muted, "size": 12}}
    figure.update_layout(showlegend=True, legend=legend, margin={"l": 8, "r": 8, "t": 40, "b": 8})
    layers = sorted({one.layer for one in slopes if one.kind == "first"})  # the others stand too close for names
    names = [f"<b>{layer}</b>" if layer == chosen else str(layer) for layer in layers]
    figure.update_xaxes(tickmode="array", tickvals=layers, ticktext=names, tickangle=0)
    return figure


def _bar(length: float) -> float:
    return max(0.0, length) if math.isfinite(length) else 0.0
