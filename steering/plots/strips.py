"""What a text costs at every strength of a dose strip: surprise and repetition, with the turn and the break."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from .base import Palette, base, plain


def strip_costs(
    strengths: Sequence[str],
    surprise: Sequence[float],
    repetition: Sequence[float],
    palette: Palette,
    *,
    turn: int | None = None,
    breaks: int | None = None,
    height: int = 240,
) -> go.Figure:
    """Surprise (nats a token, left, solid) and repetition (share of word triples, right, dotted) by strength.

    Strengths are evenly spaced, as on the strip; the turn and the break are named at vertical lines.
    """
    figure = base(palette, height, x="strength", y="surprise, nats a token")
    xs = list(range(len(strengths)))
    names = [plain(name, 12) for name in strengths]
    figure.add_scatter(
        x=xs, y=list(surprise), mode="lines+markers", name="surprise", customdata=names,
        line={"color": palette.accent, "width": 2.2}, marker={"size": 8},
        hovertemplate="%{customdata}: %{y:.2f} nats a token<extra>surprise</extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=xs, y=list(repetition), mode="lines+markers", name="repetition", yaxis="y2", customdata=names,
        line={"color": palette.baseline, "width": 2, "dash": "dot"}, marker={"size": 8, "symbol": "circle-open"},
        hovertemplate="%{customdata}: %{y:.0%} repeated<extra>repetition</extra>",
    )  # fmt: skip
    for place, text, color in ((turn, "turns", palette.accent), (breaks, "breaks", palette.negative)):
        if place is not None:
            figure.add_vline(x=place - 0.5, line={"color": color, "dash": "dash", "width": 1.5})
            figure.add_annotation(
                x=place - 0.5, y=1, yref="paper", text=f"<b>{text}</b>", showarrow=False, xanchor="left", xshift=4,
                yanchor="top", font={"color": color, "size": 12},
            )  # fmt: skip
    figure.update_xaxes(tickmode="array", tickvals=xs, ticktext=names)
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(
        yaxis2={
            "overlaying": "y", "side": "right", "range": [0, 1.02], "tickformat": ".0%", "showgrid": False,
            "tickfont": {"color": palette.muted, "size": 12},
            "title": {"text": "repetition", "font": {"color": palette.muted, "size": 12}},
        }
    )  # fmt: skip
    return figure
