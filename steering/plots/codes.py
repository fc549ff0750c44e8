"""A plot of how features are written into neurons: the weights, what tells superposition from other codes, reading."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .base import Palette, base


def code_card(
    vectors: Sequence[Sequence[float]],
    alignment: Sequence[float],
    interference: Sequence[float],
    linear: Sequence[float],
    own: Sequence[float],
    palette: Palette,
    *,
    height: int = 244,
) -> go.Figure:
    """Three panels: what each feature writes; alignment beside interference; what is read with several at once."""
    figure = make_subplots(
        1, 3,
        # Two lines each: on a phone a panel is 80 pixels wide.
        subplot_titles=("features ×<br>neurons", "interference<br>by alignment", "all read rightly,<br>by how many"),
        column_widths=[0.34, 0.3, 0.36], horizontal_spacing=0.09,
    )  # fmt: skip
    figure.update_layout(base(palette, height).layout)
    figure.update_layout(margin={"l": 8, "r": 8, "t": 40, "b": 8})
    largest = max(abs(value) for row in vectors for value in row) or 1.0
    colors = palette.diverging
    figure.add_heatmap(
        z=[list(row) for row in vectors], zmin=-largest, zmax=largest, showscale=False, xgap=1, ygap=1,
        colorscale=[[i / (len(colors) - 1), color] for i, color in enumerate(colors)],
        hovertemplate="feature %{y}, neuron %{x}: %{z:.2f}<extra></extra>", row=1, col=1,
    )  # fmt: skip
    figure.add_scatter(
        x=list(alignment), y=list(interference), mode="markers", row=1, col=2,
        marker={"size": 9, "color": palette.accent, "opacity": 0.7},
        hovertemplate="alignment %{x:.2f}, interference %{y:.2f}<extra></extra>",
    )  # fmt: skip
    counts = list(range(1, len(own) + 1))
    for name, values, dash in (("its own reader", own, "solid"), ("linear probe", linear, "dot")):
        color = palette.accent if dash == "solid" else palette.baseline
        figure.add_scatter(
            x=counts, y=list(values), mode="lines+markers", line={"color": color, "dash": dash, "width": 2},
            name=name, hovertemplate="%{x} at once: %{y:.0%}<extra>" + name + "</extra>", row=1, col=3,
        )  # fmt: skip
    axis = {"zeroline": False, "ticks": "", "tickfont": {"color": palette.muted, "size": 11}, "automargin": True,
            "gridcolor": palette.rule}  # fmt: skip
    figure.update_xaxes(**axis, showgrid=False)
    figure.update_yaxes(**axis)
    figure.update_yaxes(autorange="reversed", row=1, col=1)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(range=[-0.05, 1.08], row=1, col=2)
    figure.update_yaxes(range=[-0.05, 1.08], tickformat=".0%", row=1, col=3)
    figure.update_xaxes(range=[0.7, max(4, len(own)) + 0.3], dtick=1, row=1, col=3)
    figure.update_annotations(font={"color": palette.muted, "size": 12})
    return figure
