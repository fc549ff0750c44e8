"""A map of layers and strengths: effect as color and number, fluency as opacity, a star at the best cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from .base import Palette, base, plain, tint
from .matrices import clickable

Place = tuple[int, float]
BROKEN = "\u00d7"  # beside the number of a cell whose text breaks: opacity alone would not do


def strength_grid(
    effects: Mapping[Place, float],
    fluency: Mapping[Place, float],
    said: Mapping[Place, str],
    palette: Palette,
    *,
    stars: Sequence[Place] = (),
    x: str = "strength, in layer norms",
) -> tuple[go.Figure, list[int], list[float]]:
    """The figure with its layers (rows, the first at the bottom) and strengths (columns); a cell may be unmeasured.

    Args:
        fluency: 1 is as fluent as without steering, 0 is broken; a cell fades with it.
        said: what a cell says when it is pointed at.
    """
    layers, strengths = sorted({layer for layer, _ in effects}), sorted({strength for _, strength in effects})
    figure = base(palette, 110 + 34 * len(layers), x=x, y="layer")
    limit = max((abs(value) for place, value in effects.items() if fluency[place] > 0), default=0.0) or 1.0
    colors = palette.diverging

    def grid(of: Mapping[Place, float]) -> list[list[float | None]]:
        return [[of.get((layer, strength)) for strength in strengths] for layer in layers]

    figure.add_heatmap(
        z=grid(effects), zmin=-limit, zmax=limit, xgap=2, ygap=2, hoverinfo="skip",
        colorscale=[[i / (len(colors) - 1), color] for i, color in enumerate(colors)],
        colorbar={"thickness": 10, "tickfont": {"color": palette.muted, "size": 11}, "outlinewidth": 0},
    )  # fmt: skip
    # A heatmap has no opacity of its own for each cell, so a veil in the color of the page lies over it.
    figure.add_heatmap(
        z=grid({place: 1 - value for place, value in fluency.items()}), zmin=0, zmax=1, xgap=2, ygap=2,
        showscale=False, hoverinfo="skip", colorscale=[[0, tint(palette.surface, 0)], [1, tint(palette.surface, 0.9)]],
    )  # fmt: skip
    for (layer, strength), value in effects.items():
        place = (layer, strength)
        mark = "\u2605 " if place in stars else ""
        number = f"{value:+.2f}".replace("-", "\u2212")
        broken = f" {BROKEN}" if fluency[place] <= 0 else ""
        strong = abs(value) * fluency[place] > 0.6 * limit  # the number stands on a dark cell
        figure.add_annotation(
            x=strengths.index(strength), y=layers.index(layer), text=f"{mark}{number}{broken}", showarrow=False,
            font={"size": 13 if mark else 11, "color": palette.surface if strong else palette.ink},
        )  # fmt: skip
    clickable(figure, [[plain(said.get((la, s), "not measured"), 240) for s in strengths] for la in layers])
    figure.update_xaxes(
        tickmode="array",
        tickvals=list(range(len(strengths))),
        ticktext=[f"{s:+g}".replace("-", "\u2212") for s in strengths],
        showgrid=False,
    )
    figure.update_yaxes(tickmode="array", tickvals=list(range(len(layers))), ticktext=[str(one) for one in layers])
    return figure, layers, strengths
