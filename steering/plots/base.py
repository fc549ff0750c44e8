"""Shared by all charts: a theme's palette, a variant's line, an empty figure, texts that plotly shows literally."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go


@dataclass(frozen=True)
class Palette:
    """The colors of a theme."""

    ink: str
    muted: str
    rule: str
    surface: str
    baseline: str
    accent: str
    negative: str
    band: str
    series: tuple[str, ...]
    sequential: tuple[str, ...]
    diverging: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One variant's numbers along its tokens: `kind` is "baseline", "steered" or "control"."""

    name: str
    values: Sequence[float | None]
    kind: str = "steered"
    tokens: Sequence[str] = ()
    color: int = 0


def plain(text: str, length: int = 40) -> str:
    """The text as plotly shows it literally: escaped, on one line, cut at `length` characters."""
    line = " ".join(str(text).split())
    return html.escape(line if len(line) <= length else line[: length - 1] + "…")


def keeping_end(name: str, length: int) -> str:
    """A name of at most so many letters that keeps its end: arms of one family differ in the last words."""
    if len(name) <= length:
        return name
    return f"{name[: length - 14].rstrip(' ,')}…{name[-13:].lstrip()}"


def percent(share: float) -> str:
    """A share as a percentage with the digits that matter: 0.3%, 12%."""
    return f"{100 * share:.1f}%" if share < 0.095 else f"{100 * share:.0f}%"


def base(palette: Palette, height: int = 300, *, x: str = "", y: str = "") -> go.Figure:
    """An empty figure in the theme, with axis names."""

    def axis(title: str) -> dict:
        return {
            "gridcolor": palette.rule,
            "zeroline": False,
            "linecolor": palette.rule,
            "ticks": "",
            "tickfont": {"color": palette.muted, "size": 12},
            "title": {"text": title, "font": {"color": palette.muted, "size": 12}, "standoff": 8},
            "automargin": True,
        }

    # All at once: `update_layout` with the same settings takes ten times as long, and a page draws several figures.
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": palette.ink, "size": 13, "family": "Source Sans, sans-serif"},
            "showlegend": False,
            "hoverlabel": {
                "bgcolor": palette.ink,
                "font": {"color": palette.surface},
                "bordercolor": palette.ink,
            },
            "xaxis": {**axis(x), "showgrid": False},
            "yaxis": axis(y),
            "dragmode": False,
        }
    )


def tint(color: str, alpha: float) -> str:
    """A hex color with an opacity, as plotly's fill wants it."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
