"""Heatmaps: of pairs, of layers and doses, of layers and tokens, with cells that can be clicked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from .base import Palette, base, plain


def heatmap(
    matrix: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    palette: Palette,
    *,
    low: float | None = -1.0,
    high: float | None = 1.0,
    numbers: bool | None = None,
    x: str = "",
    y: str = "",
    height: int | None = None,
    unit: str = "cosine",
) -> go.Figure:
    """A matrix with named rows and columns; diverging colors where the scale is symmetric around zero."""
    figure = base(palette, height or max(160, 60 + 30 * len(rows)), x=x, y=y)
    diverging = low is not None and high is not None and low == -high
    colors = palette.diverging if diverging else palette.sequential
    shown = len(rows) * len(columns) <= 150 if numbers is None else numbers
    shown_rows, shown_columns = [plain(r) for r in rows], [plain(c) for c in columns]
    figure.add_heatmap(
        z=[list(row) for row in matrix],
        zmin=low,
        zmax=high,
        colorscale=[[i / (len(colors) - 1), color] for i, color in enumerate(colors)],
        showscale=not shown,
        colorbar={"thickness": 10, "tickfont": {"color": palette.muted, "size": 11}, "outlinewidth": 0},
        xgap=1,
        ygap=1,
        texttemplate="%{z:.2f}" if shown else None,
        textfont={"size": 12},
        hovertext=[[f"{r} · {c}" for c in shown_columns] for r in shown_rows],
        hovertemplate="%{hovertext}: %{z:.3f} " + unit + "<extra></extra>",
    )
    for axis, names in ((figure.update_xaxes, columns), (figure.update_yaxes, rows)):
        step = max(1, math.ceil(len(names) / 16))
        ticks = list(range(0, len(names), step))
        axis(tickmode="array", tickvals=ticks, ticktext=[plain(names[i], 22) for i in ticks], showgrid=False)
    # Names that need turning lean to the left: to the right, the last one would be cut off at the figure's edge.
    figure.update_xaxes(autotickangles=[0, -40, -90])
    figure.update_yaxes(autorange="reversed")
    return figure


def clickable(figure: go.Figure, said: Sequence[Sequence[str]], *, first_on_top: bool = False) -> None:
    """Make every cell of a heatmap clickable, with its text (which has passed `plain`) on hover.

    Plotly reports clicks on points, and a heatmap has none, so every cell gets an invisible one. Points would widen the
    axes beyond the cells, so their ranges are fixed.
    """
    rows, columns = len(said), len(said[0])
    places = [(x, y) for y in range(rows) for x in range(columns)]
    figure.add_scatter(
        x=[x for x, _ in places], y=[y for _, y in places], mode="markers",
        marker={"size": 24, "symbol": "square", "opacity": 0},
        text=[said[y][x] for x, y in places], hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(range=[-0.5, columns - 0.5])
    figure.update_yaxes(range=[rows - 0.5, -0.5] if first_on_top else [-0.5, rows - 0.5], autorange=None)


def token_grid(
    values: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    palette: Palette,
    *,
    cells: Sequence[Sequence[str]] | None = None,
    limit: float | None = None,
    unit: str = "",
    selected: int | None = None,
) -> go.Figure:
    """A number for each layer (rows, the first at the bottom) and token (columns); texts in the cells where given.

    Diverging around zero with a `limit`, else from 0 to 1.
    """
    figure = base(palette, 90 + 26 * len(rows), y="layer")
    colors = palette.sequential if limit is None else palette.diverging
    texts = [[plain(cell, 9) for cell in row] for row in cells] if cells else None
    wide = len(columns) <= 24
    names = [plain(column, 12) or "␣" for column in columns]  # a token may be a space and nothing else
    figure.add_heatmap(
        z=[list(row) for row in values],
        zmin=0.0 if limit is None else -limit,
        zmax=1.0 if limit is None else limit,
        colorscale=[[i / (len(colors) - 1), color] for i, color in enumerate(colors)],
        colorbar={"thickness": 10, "tickfont": {"color": palette.muted, "size": 11}, "outlinewidth": 0},
        xgap=1,
        ygap=1,
        text=texts,
        texttemplate="%{text}" if texts and wide else None,
        textfont={"size": 11},
        hoverinfo="skip",
    )
    said = [f"“{plain(column) or '␣'}”" for column in columns]
    clickable(
        figure,
        [
            [
                f"layer {plain(row)}, {said[x]}: {values[y][x]:.2f} {unit}" + (f" for “{texts[y][x]}”" if texts else "")
                for x in range(len(columns))
            ]
            for y, row in enumerate(rows)
        ],
    )
    step = max(1, math.ceil(len(columns) / 48))
    ticks = list(range(0, len(columns), step))
    figure.update_xaxes(
        tickmode="array", tickvals=ticks, ticktext=[names[i] for i in ticks], tickangle=-60, showgrid=False
    )
    figure.update_yaxes(tickmode="array", tickvals=list(range(len(rows))), ticktext=[plain(row) for row in rows])
    if selected is not None and selected < len(columns):
        figure.add_vrect(
            x0=selected - 0.5, x1=selected + 0.5, line={"color": palette.ink, "width": 2}, fillcolor="rgba(0,0,0,0)"
        )
    return figure


def candidate_grid(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    said: Sequence[Sequence[str]],
    excluded: Sequence[Sequence[bool]],
    palette: Palette,
    *,
    chosen: tuple[int, int] | None = None,
    selected: tuple[int, int] | None = None,
    limit: float | None = None,
    unit: str = "",
) -> go.Figure:
    """A number for each place (rows, the first on top) and layer; a cross on what was excluded, a frame on the chosen.

    Args:
        said: what a cell says on hover; has passed `plain`.
        limit: colors diverge around zero up to it; None: from zero up, in one color.
        chosen, selected: row and column; the chosen one in the accent color, the selected one in ink.
    """
    columns = len(values[0])
    figure = base(palette, 110 + 34 * len(rows), x="layer")
    colors = palette.sequential if limit is None else palette.diverging
    figure.add_heatmap(
        z=[list(row) for row in values], zmin=0.0 if limit is None else -limit, zmax=limit,
        colorscale=[[i / (len(colors) - 1), color] for i, color in enumerate(colors)],
        colorbar={
            "thickness": 10, "tickfont": {"color": palette.muted, "size": 11}, "outlinewidth": 0,
            "title": {"text": unit, "font": {"color": palette.muted, "size": 11}},
        },
        xgap=1, ygap=1, hoverinfo="skip",
    )  # fmt: skip
    crossed = [(x, y) for y, row in enumerate(excluded) for x, out in enumerate(row) if out]
    for color, width in ((palette.surface, 5), (palette.ink, 1.5)):  # an edge, so that it is seen on any color
        figure.add_scatter(
            x=[x for x, _ in crossed], y=[y for _, y in crossed], mode="markers", hoverinfo="skip",
            marker={"symbol": "x-thin", "size": 9, "line": {"color": color, "width": width}},
        )  # fmt: skip
    clickable(figure, said, first_on_top=True)
    for place, color in ((chosen, palette.accent), (selected, palette.ink)):
        if place is not None:
            y, x = place
            figure.add_shape(
                type="rect", x0=x - 0.5, x1=x + 0.5, y0=y - 0.5, y1=y + 0.5, line={"color": color, "width": 2.5}
            )
    step = max(1, math.ceil(columns / 24))
    figure.update_xaxes(tickmode="array", tickvals=list(range(0, columns, step)), showgrid=False)
    figure.update_yaxes(
        tickmode="array", tickvals=list(range(len(rows))), ticktext=[plain(row, 22) for row in rows], showgrid=False
    )
    return figure
