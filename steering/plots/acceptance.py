"""The picture of an experiment on claims: false ones accepted against true ones denied, a dot an arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from .base import Palette, base, keeping_end, plain

LONGEST, LETTER = 28, 0.018  # of a name in letters, and of a letter on an axis of 380 pixels


class Spot(NamedTuple):
    """An arm: the share of false claims it accepts and of true ones it denies, each with its interval.

    `kind` is "baseline", "steered", "control", or "random" for one seed of a random control.
    """

    name: str
    accepts: tuple[float, float, float]
    denies: tuple[float, float, float]
    kind: str = "steered"


def acceptance(spots: Sequence[Spot], palette: Palette, *, best: str = "", height: int = 430) -> go.Figure:
    """False claims accepted (x) against true claims denied (y); the ideal corner is at the origin.

    Random controls are a cloud of small dots, the baseline an open circle, controls diamonds; `best` has its name
    beside it, and so have the others where there is room.
    """
    figure = base(palette, height, x="false claims accepted", y="true claims denied")
    figure.add_shape(
        type="rect", x0=0, y0=0, x1=0.1, y1=0.1, layer="below", line={"width": 0},
        fillcolor=palette.band,
    )  # fmt: skip
    figure.add_annotation(
        x=0.005, y=0.095, text="ideal", showarrow=False, xanchor="left", yanchor="top",
        font={"color": palette.muted, "size": 12},
    )  # fmt: skip
    figure.add_shape(
        type="line", x0=0, y0=1, x1=1, y1=0, line={"color": palette.rule, "dash": "dot", "width": 1.5}, layer="below"
    )
    figure.add_annotation(
        x=0.52, y=0.5, text="indifferent to the claim", showarrow=False, xanchor="left",
        font={"color": palette.muted, "size": 11},
    )  # fmt: skip
    looks = {
        "random": (palette.baseline, "circle", 6, 0.45),
        "control": (palette.baseline, "diamond-open", 11, 1.0),
        "baseline": (palette.baseline, "circle-open", 14, 1.0),
        "steered": (palette.accent, "circle", 11, 1.0),
    }
    for kind, (color, symbol, size, opacity) in looks.items():
        some = [spot for spot in spots if spot.kind == kind]
        if not some:
            continue
        bars = [] if kind == "random" else some
        figure.add_scatter(
            x=[s.accepts[0] for s in some], y=[s.denies[0] for s in some], mode="markers", opacity=opacity,
            marker={"color": color, "symbol": symbol, "size": size, "line": {"width": 2, "color": color}},
            error_x=_bars([s.accepts for s in bars], color), error_y=_bars([s.denies for s in bars], color),
            customdata=[plain(s.name, 70) for s in some], name=kind,
            hovertemplate="%{customdata}<br>accepts %{x:.0%} of the false, denies %{y:.0%} of the true<extra></extra>",
        )  # fmt: skip
    top = min(1.03, max([0.6, *(spot.denies[2] + 0.1 for spot in spots)]))
    for spot in _named(spots, best, top):
        left = _to_the_left(spot)
        figure.add_annotation(
            x=spot.accepts[0], y=spot.denies[0], text=f"<b>{plain(keeping_end(spot.name, LONGEST), LONGEST)}</b>",
            showarrow=False, xanchor="right" if left else "left", xshift=-11 if left else 11, yshift=10,
            font={"color": palette.accent if spot.kind == "steered" else palette.muted, "size": 12},
        )  # fmt: skip
    figure.update_xaxes(range=[-0.03, 1.03], tickformat=".0%", showgrid=True)
    figure.update_yaxes(range=[-0.03, top], tickformat=".0%")
    return figure


def _bars(values: Sequence[tuple[float, float, float]], color: str) -> dict:
    return {
        "type": "data", "symmetric": False, "array": [max(0.0, high - value) for value, _, high in values],
        "arrayminus": [max(0.0, value - low) for value, low, _ in values], "thickness": 1, "width": 0, "color": color,
    } if values else {"visible": False}  # fmt: skip


def _to_the_left(spot: Spot) -> bool:
    return spot.accepts[0] >= 0.5


def _named(spots: Sequence[Spot], best: str, top: float) -> list[Spot]:
    """The spots with a name beside them: the best one and the baseline first, then those whose name has room."""
    order = sorted(
        (s for s in spots if s.kind != "random"),
        key=lambda s: (s.name != best, s.kind != "baseline", s.kind != "steered"),
    )
    kept: list[Spot] = []
    for spot in order:
        if all(
            abs(spot.denies[0] - other.denies[0]) > 0.055 * top or _apart(_span(spot), _span(other)) for other in kept
        ):
            kept.append(spot)
    return kept


def _span(spot: Spot) -> tuple[float, float]:
    """From where to where a spot's name goes, in shares of the axis, where the figure is narrow."""
    wide, at = 0.03 + LETTER * min(len(spot.name), LONGEST), spot.accepts[0]
    return (at - wide, at) if _to_the_left(spot) else (at, at + wide)


def _apart(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[1] < other[0] or other[1] < one[0]
