"""Figures of what was measured: points with intervals, trade-offs, and lines over layers or doses with their bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from .base import Palette, base, keeping_end, plain, tint


class Point(NamedTuple):
    """A named number with its interval; `kind` is "baseline", "steered" or "control"."""

    name: str
    value: float
    low: float
    high: float
    kind: str = "steered"
    note: str = ""


def _look(kind: str, palette: Palette) -> tuple[str, str]:
    """Color and marker of a kind: baseline open and gray, controls small and gray, steered filled."""
    if kind == "steered":
        return palette.accent, "circle"
    return palette.baseline, "circle-open" if kind == "baseline" else "diamond-open"


NAME = 44  # letters of an arm's name beside its row


def forest(
    points: Sequence[Point], palette: Palette, *, x: str, share: bool = False, height: int | None = None
) -> go.Figure:
    """Forest plot: each arm's number with its interval, one below the other; the baseline as a dotted line."""
    figure = base(palette, height or max(160, 64 + 26 * len(points)), x=x)
    for number, point in enumerate(points):
        color, symbol = _look(point.kind, palette)
        text = f"{point.value:.1%}" if share else f"{point.value:.3g}"
        span = f"{point.low:.1%} to {point.high:.1%}" if share else f"{point.low:.3g} to {point.high:.3g}"
        figure.add_scatter(
            x=[point.value], y=[number], mode="markers",
            marker={"size": 7 if point.kind == "control" else 9, "color": color, "symbol": symbol},
            error_x={
                "type": "data", "symmetric": False, "array": [point.high - point.value],
                "arrayminus": [point.value - point.low], "color": color, "thickness": 1.6, "width": 4,
            },
            hovertemplate=f"{plain(point.name)}: {text}, 95% interval {span} {plain(point.note, 80)}<extra></extra>",
        )  # fmt: skip
        if point.kind == "baseline":
            figure.add_vline(x=point.value, line={"color": palette.baseline, "dash": "dot", "width": 1})
    names = [plain(keeping_end(point.name, NAME), NAME) for point in points]
    figure.update_yaxes(
        tickmode="array", tickvals=list(range(len(points))), ticktext=names, autorange="reversed", showgrid=False
    )
    figure.update_xaxes(showgrid=True, tickformat=".0%" if share else None)
    return figure


def trade_off(
    names: Sequence[str],
    effect: Sequence[float],
    cost: Sequence[float],
    front: Sequence[int],
    palette: Palette,
    *,
    chosen: int | None = None,
    x: str = "side effect",
    y: str = "effect",
    height: int = 340,
) -> go.Figure:
    """Effect against side effect: the Pareto front is joined by a line, and the chosen point has a ring."""
    figure = base(palette, height, x=x, y=y)
    rest = [k for k in range(len(names)) if k not in set(front)]
    hover = "%{customdata}<br>" + plain(y) + " %{y:.3g}, " + plain(x) + " %{x:.3g}<extra></extra>"
    figure.add_scatter(
        x=[cost[k] for k in rest], y=[effect[k] for k in rest], mode="markers",
        customdata=[plain(names[k], 70) for k in rest], hovertemplate=hover,
        marker={"size": 8, "color": palette.surface, "line": {"color": palette.baseline, "width": 1.5}},
    )  # fmt: skip
    figure.add_scatter(
        x=[cost[k] for k in front], y=[effect[k] for k in front], mode="lines+markers",
        customdata=[plain(names[k], 70) for k in front], hovertemplate=hover,
        line={"color": palette.accent, "width": 2, "shape": "hv"}, marker={"size": 9, "color": palette.accent},
    )  # fmt: skip
    if chosen is not None:
        figure.add_scatter(
            x=[cost[chosen]], y=[effect[chosen]], mode="markers", hoverinfo="skip",
            marker={"size": 20, "color": "rgba(0,0,0,0)", "line": {"color": palette.negative, "width": 2.5}},
        )  # fmt: skip
        figure.add_annotation(
            x=cost[chosen], y=effect[chosen], text=f"<b>{plain(names[chosen], 40)}</b>", showarrow=False,
            xanchor="left", xshift=14, font={"color": palette.negative, "size": 12},
        )  # fmt: skip
    return figure


def bands(
    xs: Sequence[float],
    series: Mapping[str, Sequence[tuple[float, float, float]]],
    palette: Palette,
    *,
    x: str,
    y: str,
    dotted: Sequence[str] = (),
    height: int = 320,
) -> go.Figure:
    """Named lines over layers or doses, each (value, low, high) with its interval as a band; labels at the ends."""
    figure = base(palette, height, x=x, y=y)
    for number, (name, values) in enumerate(series.items()):
        color = palette.baseline if name in dotted else palette.series[number % len(palette.series)]
        figure.add_scatter(
            x=[*xs, *reversed(xs)], y=[*(v[2] for v in values), *(v[1] for v in reversed(values))], mode="lines",
            fill="toself", fillcolor=tint(color, 0.12), line={"width": 0}, hoverinfo="skip",
        )  # fmt: skip
        figure.add_scatter(
            x=list(xs), y=[v[0] for v in values], mode="lines+markers", name=plain(name),
            line={"color": color, "width": 2, "dash": "dot" if name in dotted else "solid"}, marker={"size": 6},
            customdata=[[v[1], v[2]] for v in values],
            hovertemplate="%{x:g}: %{y:.3g} (%{customdata[0]:.3g} to %{customdata[1]:.3g})<extra>"
            + plain(name) + "</extra>",
        )  # fmt: skip
        if values:
            figure.add_annotation(
                x=xs[-1], y=values[-1][0], text=f"<b>{plain(name, 26)}</b>", showarrow=False, xanchor="left", xshift=8,
                font={"color": color, "size": 12},
            )  # fmt: skip
    if len(xs) > 1:
        span = max(xs) - min(xs)
        figure.update_xaxes(range=[min(xs) - 0.03 * span, max(xs) + 0.34 * span])
    return figure


def stack(n_layers: int, source: int, target: int, palette: Palette) -> go.Figure:
    """A drawing of the layers as one row of boxes, with an arrow from the one that is pushed to the one watched."""
    figure = base(palette, 76)
    for layer in range(n_layers):
        inside = source <= layer <= target
        end = layer in (source, target)
        figure.add_shape(
            type="rect", x0=layer - 0.4, x1=layer + 0.4, y0=0, y1=1,
            line={"color": palette.accent if inside else palette.rule, "width": 2 if end else 1},
            fillcolor=palette.accent if end else palette.surface, opacity=0.85 if end else 1,
        )  # fmt: skip
    figure.add_annotation(
        x=target, y=1.12, ax=source, ay=1.12, xref="x", yref="y", axref="x", ayref="y", showarrow=True,
        arrowhead=2, arrowwidth=1.6, arrowcolor=palette.accent, text="",
    )  # fmt: skip
    for layer in {0, source, target, n_layers - 1}:
        figure.add_annotation(x=layer, y=-0.35, text=str(layer), showarrow=False, font={"size": 11})
    figure.update_xaxes(visible=False, range=[-0.7, n_layers - 0.3])
    figure.update_yaxes(visible=False, range=[-0.6, 1.5])
    figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0})
    return figure


def reach(
    names: Sequence[str],
    moved: Sequence[tuple[float, float]],
    chance: Sequence[float],
    palette: Palette,
    *,
    y: str,
) -> go.Figure:
    """How far each direction moves something with plus and with minus, over a band of what random ones do."""
    figure = base(palette, 260, y=y)
    if chance:
        figure.add_hrect(y0=min(chance), y1=max(chance), fillcolor=palette.band, line_width=0, layer="below")
    shown = [plain(name, 12) for name in names]
    for sign, symbol, values in (("plus", "circle", 0), ("minus", "circle-open", 1)):
        figure.add_scatter(
            x=shown, y=[pair[values] for pair in moved], mode="markers", name=sign, showlegend=True,
            marker={"symbol": symbol, "size": 10, "color": palette.accent, "line": {"width": 2}},
            hovertemplate="%{x} " + sign + ": %{y:.4g}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.12, "x": 0})
    return figure


def before_after(
    names: Sequence[str], before: Sequence[float], after: Sequence[float], palette: Palette, *, x: str
) -> go.Figure:
    """Two points a row joined by a line: open before, filled after."""
    figure = base(palette, 90 + 30 * len(names), x=x)
    rows = [plain(name, 30) for name in names]
    for row, a, b in zip(rows, before, after, strict=True):
        figure.add_scatter(
            x=[a, b], y=[row, row], mode="lines", line={"color": palette.rule, "width": 3}, hoverinfo="skip"
        )
    for values, symbol, said, color in (
        (before, "circle-open", "before", palette.baseline),
        (after, "circle", "after", palette.accent),
    ):
        figure.add_scatter(
            x=list(values), y=rows, mode="markers", marker={"symbol": symbol, "size": 11, "color": color},
            hovertemplate="%{y} " + said + ": %{x:.3g}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure
