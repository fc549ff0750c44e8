"""Moral foundations before and after steering: a polygon an arm, with a band for the intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from .base import Palette, base, plain, tint


def radar(
    names: Sequence[str],
    arms: Mapping[str, Sequence[tuple[float, float, float]]],
    palette: Palette,
    *,
    dotted: Sequence[str] = (),
    top: float = 5.0,
    height: int = 420,
) -> go.Figure:
    """Arms as polygons over named axes, each value with its interval (value, low, high) as a band around the line."""
    figure = base(palette, height)
    around = [*names, names[0]]
    for number, (arm, values) in enumerate(arms.items()):
        color = palette.baseline if arm in dotted else palette.series[number % len(palette.series)]
        lines = [[one[k] for one in (*values, values[0])] for k in range(3)]
        figure.add_scatterpolar(
            r=lines[1], theta=around, mode="lines", line={"width": 0}, hoverinfo="skip", showlegend=False
        )
        figure.add_scatterpolar(
            r=lines[2], theta=around, mode="lines", line={"width": 0}, fill="tonext", fillcolor=tint(color, 0.14),
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip
        figure.add_scatterpolar(
            r=lines[0], theta=around, mode="lines+markers", name=plain(arm), showlegend=True,
            line={"color": color, "width": 2, "dash": "dot" if arm in dotted else "solid"}, marker={"size": 6},
            customdata=[[low, high] for low, high in zip(lines[1], lines[2], strict=True)],
            hovertemplate="%{theta}: %{r:.2f} (%{customdata[0]:.2f} to %{customdata[1]:.2f})<extra>"
            + plain(arm) + "</extra>",
        )  # fmt: skip
    axis = {"gridcolor": palette.rule, "linecolor": palette.rule, "tickfont": {"color": palette.muted, "size": 12}}
    figure.update_layout(
        showlegend=True, legend={"orientation": "h", "y": -0.08, "font": {"color": palette.ink}},
        polar={
            "bgcolor": "rgba(0,0,0,0)", "radialaxis": {**axis, "range": [0, top], "angle": 90, "tickangle": 90},
            "angularaxis": {**axis, "rotation": 90, "direction": "clockwise"},
        },
        margin={"l": 40, "r": 40, "t": 24, "b": 24},
    )  # fmt: skip
    return figure
