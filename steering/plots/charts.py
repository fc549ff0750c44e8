"""Data -> plotly figure. No Streamlit, no torch: numbers, texts and a `Palette` in, a figure out.

The meaning of color and mark is fixed: baseline gray, dotted, open; steered solid and filled; controls a light band.
Both color and shape carry it, so that it survives gray print. Labels are at the lines, not in a legend.
Texts that come from a model or a visitor pass `plain`: plotly reads a little HTML, and these are not HTML.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from .base import Line, Palette, base, plain, tint


def _style(line: Line, palette: Palette) -> dict:
    if line.kind == "baseline":
        return {"color": palette.baseline, "dash": "dot", "width": 2}
    if line.kind == "control":
        return {"color": palette.baseline, "dash": "solid", "width": 1}
    return {"color": palette.series[line.color % len(palette.series)], "dash": "solid", "width": 2.2}


def along_text(
    lines: Sequence[Line],
    palette: Palette,
    *,
    prompt_tokens: int = 0,
    tau: float | None = None,
    y: str = "projection",
    height: int = 320,
    selected: int | None = None,
) -> go.Figure:
    """Numbers along the tokens of every variant; controls only as the band between their extremes."""
    figure = base(palette, height, x="token", y=y)
    controls = [line.values for line in lines if line.kind == "control"]
    if controls:
        length = min(len(values) for values in controls)
        columns = [[values[i] for values in controls if values[i] is not None] for i in range(length)]
        xs = [i for i, column in enumerate(columns) if column]
        low, high = [min(columns[i]) for i in xs], [max(columns[i]) for i in xs]  # type: ignore[type-var]
        # A single control has no width; a thin band still shows it.
        figure.add_scatter(x=xs, y=high, mode="lines", line={"width": 1, "color": palette.band}, hoverinfo="skip")
        figure.add_scatter(
            x=xs, y=low, mode="lines", line={"width": 1, "color": palette.band}, fill="tonexty",
            fillcolor=palette.band, hoverinfo="skip",
        )  # fmt: skip
    if prompt_tokens > 1:
        figure.add_vrect(x0=-0.5, x1=prompt_tokens - 0.5, fillcolor=palette.band, line_width=0, layer="below")
        figure.add_annotation(
            x=-0.3, y=1, yref="paper", text="prompt", showarrow=False, xanchor="left", yanchor="top",
            font={"color": palette.muted, "size": 12},
        )  # fmt: skip
    ends: list[tuple[float, float, str, str]] = []
    for line in lines:
        if line.kind == "control":
            continue
        style = _style(line, palette)
        tokens = [plain(token) for token in line.tokens] or [""] * len(line.values)
        figure.add_scatter(
            x=list(range(len(line.values))),
            y=list(line.values),
            mode="lines",
            line=style,
            customdata=tokens,
            name=plain(line.name),
            hovertemplate="“%{customdata}” %{y:.2f}<extra>" + plain(line.name) + "</extra>",
        )
        last = [(i, value) for i, value in enumerate(line.values) if value is not None]
        if last:
            ends.append((last[-1][0], last[-1][1], plain(line.name, 22), style["color"]))
    _labels(figure, ends, height)
    if tau is not None:
        figure.add_hline(y=tau, line={"color": palette.negative, "dash": "dash", "width": 1.5})
        figure.add_annotation(
            x=1, xref="paper", y=tau, text=f"tau {tau:g}", showarrow=False, xanchor="right", yanchor="bottom",
            font={"color": palette.negative, "size": 12},
        )  # fmt: skip
    if selected is not None:
        figure.add_vline(x=selected, line={"color": palette.ink, "width": 1})
    return figure


def _labels(figure: go.Figure, ends: list[tuple[float, float, str, str]], height: int) -> None:
    """Labels at the lines' ends, moved apart if they would overlap."""
    traces: Any = figure.data
    values = [float(v) for trace in traces for v in (trace.y if trace.y is not None else ()) if v is not None]
    if not values or not ends:
        return
    figure.update_layout(margin_r=16 + max(8 * len(name) for _, _, name, _ in ends))
    gap = (max(values) - min(values) or 1.0) * 19 / max(120, height - 70)
    taken: list[float] = []
    for _, y, name, color in sorted(ends, key=lambda end: end[1]):
        at = y if not taken else max(y, taken[-1] + gap)
        taken.append(at)
        figure.add_annotation(
            x=1,
            xref="paper",
            y=at,
            text=f"<b>{name}</b>",
            showarrow=False,
            xanchor="left",
            xshift=6,
            font={"color": color, "size": 12},
        )


def histogram(
    groups: Mapping[str, Sequence[float]],
    palette: Palette,
    *,
    colors: Mapping[str, str] | None = None,
    tau: float | None = None,
    x: str = "projection",
    bins: int = 48,
    height: int = 320,
) -> go.Figure:
    """Shares of each group's values over one scale, as outlines, with tau as a line."""
    figure = base(palette, height, x=x, y="share of the group")
    values = [v for group in groups.values() for v in group if math.isfinite(v)]
    if not values:
        return figure
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    for number, (name, group) in enumerate(groups.items()):
        if not group:
            continue
        counts = [0] * (bins + 1)
        for value in group:
            counts[min(bins, int((value - low) / width))] += 1
        shares = [count / len(group) for count in counts]
        color = (colors or {}).get(name) or palette.series[number % len(palette.series)]
        dotted = "baseline" in name.lower() or "neutral" in name.lower()
        figure.add_scatter(
            x=[low + width * (i + 0.5) for i in range(bins + 1)],
            y=shares,
            mode="lines",
            line={"color": color, "shape": "hvh", "width": 2, "dash": "dot" if dotted else "solid"},
            fill="tozeroy",
            fillcolor=tint(color, 0.10),
            name=plain(name),
            hovertemplate="%{x:.2f}: %{y:.1%}<extra>" + plain(name) + "</extra>",
        )
        peak = max(range(bins + 1), key=lambda i: shares[i])
        figure.add_annotation(
            x=low + width * (peak + 0.5), y=shares[peak], text=f"<b>{plain(name, 24)}</b>", showarrow=False,
            yanchor="bottom", yshift=2 + 13 * (number % 3), font={"color": color, "size": 12},
        )  # fmt: skip
    if tau is not None:
        figure.add_vline(x=tau, line={"color": palette.ink, "dash": "dash", "width": 1.5})
        figure.add_annotation(
            x=tau, y=1, yref="paper", text=f"tau {tau:.3g}", showarrow=False, xanchor="left", xshift=4, yanchor="top",
            font={"color": palette.ink, "size": 12},
        )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def dumbbell(
    names: Sequence[str],
    baseline: Sequence[float | None],
    others: Mapping[str, Sequence[float | None]],
    palette: Palette,
    *,
    x: str = "probability",
    height: int | None = None,
) -> go.Figure:
    """Each token's probability under the baseline (open) and the variants (filled), joined by a line."""
    figure = base(palette, height or max(200, 70 + 26 * len(names)), x=x)
    ys = list(range(len(names)))
    for i, start in enumerate(baseline):
        points = [p for p in (start, *(values[i] for values in others.values())) if p is not None]
        if len(points) > 1:
            figure.add_scatter(
                x=[min(points), max(points)],
                y=[i, i],
                mode="lines",
                line={"color": palette.rule, "width": 2},
                hoverinfo="skip",
            )
    for number, (name, values) in enumerate(others.items()):
        figure.add_scatter(
            x=list(values), y=ys, mode="markers", name=plain(name),
            marker={"size": 10, "color": palette.series[number % len(palette.series)]},
            hovertemplate="%{x:.1%}<extra>" + plain(name) + "</extra>",
        )  # fmt: skip
    figure.add_scatter(
        x=list(baseline), y=ys, mode="markers", name="Baseline",
        marker={"size": 10, "color": palette.surface, "line": {"color": palette.baseline, "width": 2.5}},
        hovertemplate="%{x:.1%}<extra>Baseline</extra>",
    )  # fmt: skip
    figure.update_yaxes(
        tickmode="array", tickvals=ys, ticktext=[plain(name, 18) for name in names], autorange="reversed"
    )
    figure.update_xaxes(tickformat=".0%", showgrid=True, rangemode="tozero", nticks=5, tickangle=0)
    return figure


def dose_response(
    doses: Sequence[float],
    effect: Sequence[float],
    palette: Palette,
    *,
    interval: Sequence[tuple[float, float]] | None = None,
    control: Sequence[tuple[float, float]] | None = None,
    cliff: float | None = None,
    x: str = "alpha in units of the layer's norm",
    y: str = "effect",
    height: int = 320,
) -> go.Figure:
    """The effect against the dose, the controls as a band, and the dose at which text breaks as a line."""
    figure = base(palette, height, x=x, y=y)
    for band, color in ((control, palette.band), (interval, tint(palette.accent, 0.18))):
        if band:
            figure.add_scatter(x=list(doses), y=[b for _, b in band], mode="lines", line={"width": 0}, hoverinfo="skip")
            figure.add_scatter(
                x=list(doses), y=[a for a, _ in band], mode="lines", line={"width": 0}, fill="tonexty", fillcolor=color,
                hoverinfo="skip",
            )  # fmt: skip
    figure.add_scatter(
        x=list(doses), y=list(effect), mode="lines+markers", line={"color": palette.accent, "width": 2.2},
        marker={"size": 7}, hovertemplate="%{x:g}: %{y:.3g}<extra></extra>",
    )  # fmt: skip
    if cliff is not None:
        figure.add_vline(x=cliff, line={"color": palette.negative, "dash": "dash", "width": 1.5})
        figure.add_annotation(
            x=cliff, y=1, yref="paper", text="text breaks", showarrow=False, xanchor="left", xshift=4, yanchor="top",
            font={"color": palette.negative, "size": 12},
        )  # fmt: skip
    return figure


def lines(
    xs: Sequence[float],
    series: Mapping[str, Sequence[float | None]],
    palette: Palette,
    *,
    x: str,
    y: str,
    height: int = 300,
) -> go.Figure:
    """Several named series over one axis, labeled at their ends."""
    figure = base(palette, height, x=x, y=y)
    ends = []
    for number, (name, values) in enumerate(series.items()):
        color = palette.series[number % len(palette.series)]
        figure.add_scatter(
            x=list(xs), y=list(values), mode="lines+markers", line={"color": color, "width": 2}, marker={"size": 6},
            name=plain(name), hovertemplate="%{x:g}: %{y:.3g}<extra>" + plain(name) + "</extra>",
        )  # fmt: skip
        last = [(a, b) for a, b in zip(xs, values, strict=True) if b is not None]
        if last:
            ends.append((last[-1][0], last[-1][1], plain(name, 22), color))
    _labels(figure, ends, height)
    return figure


def bars(
    names: Sequence[str], values: Sequence[float], palette: Palette, *, x: str = "", height: int | None = None
) -> go.Figure:
    """Horizontal bars from zero: positive in the accent, negative in orange."""
    figure = base(palette, height or max(140, 60 + 24 * len(names)), x=x)
    figure.add_bar(
        x=list(values), y=list(range(len(names))), orientation="h",
        marker={"color": [palette.accent if value >= 0 else palette.negative for value in values]},
        customdata=[plain(name, 120) for name in names], hovertemplate="%{customdata}: %{x:.3g}<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(
        tickmode="array", tickvals=list(range(len(names))), ticktext=[plain(n, 24) for n in names], showgrid=False,
        autorange="reversed",
    )  # fmt: skip
    figure.update_xaxes(showgrid=True)
    figure.update_layout(bargap=0.35)
    return figure


def log_histogram(
    edges: Sequence[float], counts: Sequence[int], palette: Palette, *, x: str = "", height: int = 220
) -> go.Figure:
    """Counts between edges that grow by a factor, on a logarithmic axis, so that all bars are equally wide."""
    figure = base(palette, height, x=x, y="tokens")
    centers = [math.sqrt(low * high) for low, high in itertools.pairwise(edges)]
    ranges = [f"{low:.3g} to {high:.3g}" for low, high in itertools.pairwise(edges)]
    figure.add_bar(
        x=[math.log2(center) for center in centers], y=list(counts), width=0.46, marker={"color": palette.accent},
        customdata=ranges, hovertemplate="%{customdata}: %{y} tokens<extra></extra>",
    )  # fmt: skip
    used = [i for i, count in enumerate(counts) if count]
    if used:
        low, high = math.log2(edges[used[0]]), math.log2(edges[used[-1] + 1])
        ticks = [t for t in range(math.floor(low), math.ceil(high) + 1) if t % max(1, round((high - low) / 8)) == 0]
        figure.update_xaxes(
            range=[low - 0.3, high + 0.3], tickmode="array", tickvals=ticks, ticktext=[f"{2.0**t:.3g}" for t in ticks]
        )
    return figure


def effect_by_layer(
    layers: Sequence[int],
    effects: Sequence[tuple[float, float, float]],
    controls: Sequence[Sequence[float]],
    palette: Palette,
    *,
    y: str = "effect",
    height: int = 320,
) -> go.Figure:
    """Each layer's effect with its interval, and the range of the controls as a band around zero."""
    figure = base(palette, height, x="layer", y=y)
    low, high = [min(values) for values in controls], [max(values) for values in controls]
    figure.add_scatter(x=list(layers), y=high, mode="lines", line={"width": 1, "color": palette.band}, hoverinfo="skip")
    figure.add_scatter(
        x=list(layers), y=low, mode="lines", line={"width": 1, "color": palette.band}, fill="tonexty",
        fillcolor=palette.band, hoverinfo="skip",
    )  # fmt: skip
    values = [value for value, _, _ in effects]
    figure.add_scatter(
        x=list(layers), y=values, mode="lines+markers", line={"color": palette.accent, "width": 2.2},
        marker={"size": 9},
        error_y={
            "type": "data", "symmetric": False, "color": palette.accent, "thickness": 1.5, "width": 4,
            "array": [up - value for value, _, up in effects],
            "arrayminus": [value - down for value, down, _ in effects],
        },
        hovertemplate="layer %{x}: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    figure.add_hline(y=0, line={"color": palette.rule, "width": 1})
    figure.update_xaxes(tickmode="array", tickvals=list(layers))
    return figure
