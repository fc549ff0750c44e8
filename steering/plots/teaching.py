"""Figures for a lesson: a plane with an arrow to turn, arrows that share a plane, random pushes, a class's guesses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from .base import Palette, base, plain, tint


def _arrow(figure: go.Figure, x: float, y: float, color: str, name: str = "", width: float = 3) -> None:
    figure.add_annotation(
        x=x, y=y, ax=0, ay=0, xref="x", yref="y", axref="x", ayref="y", showarrow=True, arrowhead=2, arrowwidth=width,
        arrowcolor=color, text="",
    )  # fmt: skip
    if name:
        figure.add_annotation(
            x=x * 1.12, y=y * 1.12, text=plain(name, 24), showarrow=False, font={"color": color, "size": 14}
        )


def _square(figure: go.Figure, reach: float) -> None:
    figure.update_xaxes(range=[-reach, reach], showticklabels=False, showgrid=False)
    figure.update_yaxes(range=[-reach, reach], showticklabels=False, showgrid=False, scaleanchor="x")


def plane(
    groups: Mapping[str, Sequence[Sequence[float]]], degrees: float, palette: Palette, *, height: int = 380
) -> go.Figure:
    """Points of two groups in a plane, an arrow at an angle, and the line across it that tells them apart best."""
    figure = base(palette, height)
    for (name, points), color, symbol in zip(
        groups.items(), (palette.accent, palette.negative), ("circle", "x"), strict=True
    ):
        figure.add_scatter(
            x=[point[0] for point in points], y=[point[1] for point in points], mode="markers", name=plain(name),
            marker={"color": tint(color, 0.7), "size": 8, "symbol": symbol}, hoverinfo="skip", showlegend=True,
        )  # fmt: skip
    x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    figure.add_scatter(
        x=[-1.6 * y, 1.6 * y], y=[1.6 * x, -1.6 * x], mode="lines", hoverinfo="skip", showlegend=False,
        line={"color": palette.baseline, "dash": "dot", "width": 1.5},
    )  # fmt: skip
    _arrow(figure, x, y, palette.ink)
    _square(figure, 1.5)
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.1, "x": 0, "font": {"color": palette.ink}})
    return figure


def superposed(amounts: Sequence[float], palette: Palette, *, height: int = 380) -> go.Figure:
    """Three arrows that share a plane, 120 degrees apart, as long as there is of each, and the arrow of their sum."""
    figure = base(palette, height)
    angles = [math.radians(90 + 120 * number) for number in range(len(amounts))]
    x = sum(amount * math.cos(angle) for amount, angle in zip(amounts, angles, strict=True))
    y = sum(amount * math.sin(angle) for amount, angle in zip(amounts, angles, strict=True))
    if math.hypot(x, y) > 0.02:  # first, so that the single arrows lie on it
        _arrow(figure, x, y, palette.baseline, "sum" if sum(amount > 0.02 for amount in amounts) > 1 else "", width=7)
    for number, amount in enumerate(amounts):
        one = (math.cos(angles[number]), math.sin(angles[number]))
        figure.add_scatter(
            x=[0, 1.15 * one[0]], y=[0, 1.15 * one[1]], mode="lines", hoverinfo="skip",
            line={"color": palette.rule, "width": 2},
        )  # fmt: skip
        if amount > 0.02:
            _arrow(figure, amount * one[0], amount * one[1], palette.series[number], "ABC"[number])
    _square(figure, 1.4)
    return figure


def pushes(real: float, random: Sequence[float], palette: Palette, *, x: str, height: int = 200) -> go.Figure:
    """Each random direction's push as an open ring, and the real one's as a filled mark with its name."""
    figure = base(palette, height, x=x)
    figure.add_scatter(
        x=list(random), y=[0.25 * ((i * 7) % 5 - 2) for i in range(len(random))], mode="markers", name="random",
        marker={"color": palette.baseline, "size": 11, "symbol": "circle-open", "line": {"width": 2}},
        hovertemplate="random direction: %{x:.2f}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[real], y=[0], mode="markers+text", text=["the real one"], textposition="top center",
        textfont={"color": palette.accent, "size": 13}, marker={"color": palette.accent, "size": 15},
        hovertemplate="the real direction: %{x:.2f}<extra></extra>",
    )  # fmt: skip
    figure.add_vline(x=0, line={"color": palette.rule, "width": 1.5})
    figure.update_yaxes(visible=False, range=[-1.2, 1.4])
    return figure


def guesses(
    counts: Mapping[str, int], palette: Palette, *, right: str | None = None, own: str | None = None, height: int = 0
) -> go.Figure:
    """How many of a class guessed what: a bar an option, the right one filled and named, one's own named."""
    names = list(counts)
    figure = base(palette, height or 70 + 34 * max(1, len(names)))
    colors = [palette.accent if name == right else tint(palette.baseline, 0.55) for name in names]
    marks = [plain(name, 42) + (" ✓" if name == right else "") + (" (you)" if name == own else "") for name in names]
    figure.add_bar(
        x=[counts[name] for name in names], y=list(range(len(names))), orientation="h", marker={"color": colors},
        text=[str(counts[name]) for name in names], textposition="auto", hoverinfo="skip",
    )  # fmt: skip
    figure.update_yaxes(
        tickmode="array", tickvals=list(range(len(names))), ticktext=marks, autorange="reversed", showgrid=False,
        tickfont={"color": palette.ink, "size": 14},
    )  # fmt: skip
    figure.update_xaxes(visible=False)
    return figure


def told_apart(groups: Mapping[str, Sequence[Sequence[float]]], degrees: float) -> float:
    """The share of points on their own side of the best line across the arrow, in the plane's own points."""
    x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    one, other = ([round(point[0] * x + point[1] * y, 9) for point in points] for points in groups.values())
    cuts = sorted([*one, *other])
    best = 0
    for cut in cuts:
        best = max(best, sum(value >= cut for value in one) + sum(value < cut for value in other))
    return best / max(1, len(cuts))
