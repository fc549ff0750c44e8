"""Plots of dictionaries: how a training goes, how alike two are, and what a dictionary explains for its L0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .base import Palette, base, plain, tint

PANELS = {"loss": "Loss", "variance": "Explained variance", "l0": "Features a token (L0)", "dead": "Dead features"}


def curves(runs: Mapping[str, Sequence[tuple[int, Mapping[str, float]]]], palette: Palette) -> go.Figure:
    """Four small charts over samples seen, a line for each dictionary in training: loss, variance, L0, dead."""
    figure = make_subplots(2, 2, subplot_titles=list(PANELS.values()), vertical_spacing=0.16, horizontal_spacing=0.09)
    figure.update_layout(base(palette, 460).layout)
    figure.update_layout(margin={"l": 8, "r": 8, "t": 28, "b": 60}, showlegend=len(runs) > 1)
    figure.update_layout(legend={"orientation": "h", "y": -0.12, "font": {"color": palette.muted, "size": 12}})
    for number, (name, points) in enumerate(runs.items()):
        color = palette.series[number % len(palette.series)]
        for place, measure in enumerate(PANELS):
            figure.add_scatter(
                x=[done for done, _ in points], y=[shown.get(measure) for _, shown in points], mode="lines",
                line={"color": color, "width": 2}, name=plain(name), legendgroup=name, showlegend=place == 0,
                hovertemplate="%{x:,}: %{y:.3g}<extra>" + plain(name) + "</extra>",
                row=place // 2 + 1, col=place % 2 + 1,
            )  # fmt: skip
    plain_axis = {"gridcolor": palette.rule, "zeroline": False, "ticks": "",
                  "tickfont": {"color": palette.muted, "size": 11}, "automargin": True}  # fmt: skip
    figure.update_xaxes(**plain_axis, showgrid=False)
    figure.update_yaxes(**plain_axis)
    figure.update_yaxes(tickformat=".0%", row=1, col=2)
    figure.update_yaxes(tickformat=".1%", rangemode="tozero", row=2, col=2)
    figure.update_annotations(font={"color": palette.muted, "size": 13})
    return figure


def cosine_histogram(
    values: Sequence[float], palette: Palette, *, chance: float | None = None, x: str = "cosine", height: int = 240
) -> go.Figure:
    """How many features have which cosine, and, as a dotted line, what a random direction reaches."""
    figure = base(palette, height, x=x, y="features")
    figure.add_histogram(
        x=list(values), xbins={"start": -1.0, "end": 1.0001, "size": 0.04}, marker={"color": palette.accent},
        hovertemplate="%{x}: %{y} features<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(range=[min(0.0, *values, 0.0), 1.02] if len(values) else [0, 1])
    if chance is not None:
        figure.add_vline(x=chance, line={"color": palette.baseline, "dash": "dot", "width": 1.5})
        figure.add_annotation(
            x=chance, y=1, yref="paper", text="random directions", showarrow=False, xanchor="left", xshift=6,
            font={"color": palette.muted, "size": 12},
        )  # fmt: skip
    figure.update_layout(bargap=0.06)
    return figure


def pareto(
    runs: Mapping[str, Sequence[tuple[float, float, float, float]]], palette: Palette, *, y: str, height: int = 360
) -> go.Figure:
    """For each loss a line of (L0, value, low, high): what it reaches at which sparsity, with its interval."""
    figure = base(palette, height, x="features a token (L0)", y=y)
    for number, (name, points) in enumerate(runs.items()):
        points = sorted(points)
        color = palette.series[number % len(palette.series)]
        xs = [point[0] for point in points]
        figure.add_scatter(
            x=[*xs, *reversed(xs)], y=[*(p[3] for p in points), *(p[2] for p in reversed(points))], mode="lines",
            fill="toself", fillcolor=tint(color, 0.12), line={"width": 0}, hoverinfo="skip",
        )  # fmt: skip
        figure.add_scatter(
            x=xs, y=[p[1] for p in points], mode="lines+markers", name=plain(name), marker={"size": 6},
            line={"color": color, "width": 2}, customdata=[[p[2], p[3]] for p in points],
            hovertemplate="L0 %{x:.1f}: %{y:.3f} (%{customdata[0]:.3f} to %{customdata[1]:.3f})<extra>"
            + plain(name) + "</extra>",
        )  # fmt: skip
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.22, "font": {"color": palette.muted}})
    for trace in figure.data:
        shown: Any = trace
        shown.showlegend = shown.mode == "lines+markers"
    return figure
