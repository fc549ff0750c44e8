"""The palette of the visitor's theme, and the few lines of CSS that the theme's own options cannot say."""

from __future__ import annotations

import streamlit as st

from ...plots.base import Palette

# The meaning of color is the same everywhere: baseline gray, steered teal, negative orange, controls a light band.
LIGHT = Palette(
    ink="#24221f",
    muted="#68645d",
    rule="#e3dfd5",
    surface="#fdfcf9",
    baseline="#8a857b",
    accent="#0b7285",
    negative="#c2570c",
    band="rgba(138,133,123,0.16)",
    series=("#0b7285", "#6b4ea0", "#3f7d3a", "#a83266", "#8c6d1f", "#2f5aa8", "#c2570c"),
    sequential=(
        "#f2f7f8",
        "#dcebee",
        "#c3dde2",
        "#a5ccd4",
        "#83b8c3",
        "#5fa2b0",
        "#3d8b9b",
        "#1f7587",
        "#0f5f70",
        "#074956",
    ),
    diverging=(
        "#8a3a04",
        "#b8601f",
        "#d68a4f",
        "#eab98f",
        "#f7e4d3",
        "#dcebee",
        "#a5ccd4",
        "#5fa2b0",
        "#1f7587",
        "#074956",
    ),
)
DARK = Palette(
    ink="#e9e6df",
    muted="#b3ada3",
    rule="#33353a",
    surface="#141517",
    baseline="#a29c92",
    accent="#4fbccd",
    negative="#f08c46",
    band="rgba(162,156,146,0.18)",
    series=("#4fbccd", "#b49ae0", "#86c07f", "#e487b0", "#d1b35c", "#83a9ec", "#f08c46"),
    sequential=(
        "#12262b",
        "#16343b",
        "#1a444d",
        "#1f5661",
        "#256a77",
        "#2c7f8e",
        "#3696a7",
        "#4fadbd",
        "#79c6d3",
        "#abdee6",
    ),
    diverging=(
        "#f5a467",
        "#d8823f",
        "#a9602a",
        "#70421f",
        "#3a2819",
        "#16343b",
        "#1f5661",
        "#2c7f8e",
        "#4fadbd",
        "#abdee6",
    ),
)


def is_dark() -> bool:
    """Whether the visitor sees the dark theme (Streamlit may not know yet in a session's very first run)."""
    return st.context.theme.type == "dark"


def palette() -> Palette:
    """The colors for charts in the visitor's theme."""
    return DARK if is_dark() else LIGHT


FIRST = """[data-testid="stHorizontalBlock"]:has(.st-key-first_compare) > [data-testid="stColumn"]:first-child"""
CSS = """<style>
[data-testid="stMainBlockContainer"] { padding-left: 2rem; padding-right: 2rem; max-width: 1680px; }
[data-testid="stText"] { white-space: pre-wrap; overflow-wrap: anywhere; }
[class*="st-key-card_"] { border-top: 3px solid EDGE; overflow-wrap: anywhere; }
CARDS
[class*="st-key-stream_"] [data-testid="stText"], [class*="st-key-stream_"] [data-testid="stText"] * {
  font-family: "Source Serif", Georgia, serif; font-size: 1.12rem; line-height: 1.75;
}
[class*="st-key-chat_user_"] [data-testid="stText"] { background: color-mix(in srgb, EDGE 45%, transparent);
  border-radius: 10px; padding: 0.5rem 0.9rem; max-width: 44rem; }
[class*="st-key-below_"] { height: 80px; min-height: 80px; flex: none; overflow: hidden; }
[class*="st-key-earlier_"] { opacity: 0.5; }
[data-stale="true"]:has([data-testid="stPlotlyChart"]) { opacity: 0.75; }
[class*="st-key-below_"] [data-testid="stMetricLabel"] { font-size: 0.8rem; }
[class*="st-key-below_"] [data-testid="stMetricValue"] { font-size: 1.1rem; }
[class*="st-key-below_"] [data-testid="stMetricDelta"] { font-size: 0.78rem; }
[data-variant="segmented_control"][aria-checked="true"] p,
[data-testid="stTab"][aria-selected="true"] p { color: ACCENT; }
[data-testid="stSidebarNavLink"]:focus-visible, [data-testid="stPageLink-NavLink"]:focus-visible {
  outline: 2px solid ACCENT; outline-offset: -2px; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p { color: MUTED; opacity: 1; }
[data-testid="stSliderThumbValue"] p { color: ACCENT; }
[data-testid="stWidgetLabel"][disabled] p { color: MUTED; }
[class*="st-key-card_open_"] { border-color: ACCENT; }
[class*="st-key-card_open_"] button:disabled p { color: ACCENT; font-weight: 600; }
[class*="_row"] > [class*="_kind"] { flex: 1 1 6.5rem; min-width: 6.5rem; }
[data-testid="stBaseButton-primary"] kbd { color: inherit; opacity: 1; }
/* A bar moves even while the server is too busy to say how far it is. */
@media (prefers-reduced-motion: no-preference) {
  [data-testid="stProgress"] [role="progressbar"] { animation: alive 1.6s ease-in-out infinite alternate; }
  @keyframes alive { from { opacity: 1; } to { opacity: 0.55; } }
}
[data-testid="stAlertContainer"] { border: 1px solid EDGE; }
[data-testid="stAlertContainer"] p { font-size: 0.93rem; }
@media (max-width: 640px) {
  .st-key-first_question { flex-wrap: wrap; } .st-key-first_question > * { flex: 1 1 100%; }
  [data-testid="stBaseButton-primary"] kbd { display: none; }
  /* The list of features is leafed through sideways, so that the open one stands right below it. */
  .st-key-features_gallery { flex-direction: row; flex-wrap: nowrap; overflow-x: auto; scroll-snap-type: x proximity; }
  .st-key-features_gallery > * { flex: 0 0 86%; min-width: 0; scroll-snap-align: start; }
  [data-testid="stMainBlockContainer"] { padding-left: 1rem; padding-right: 1rem; }
  [data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"] [class*="st-key-answers_"])
    > [data-testid="stColumn"]:first-child { order: 2; }
  /* The controls' column dissolves, so that its first part comes before the answers and the rest after them. */
  FIRST, FIRST > * { display: contents; }
  FIRST > * > * { order: 2; min-width: 100%; }
  FIRST > * > *:has(.st-key-first_compare), FIRST > * > .st-key-first_compare { order: -1; }
}
</style>"""


def style() -> None:
    """Add the CSS to the page: the cards' edges have the colors that their lines have in the charts."""
    colors = palette()
    edges = [f"[class*=st-key-card_baseline_-1] {{ border-top-color: {colors.baseline}; }}"]
    edges += [
        f"[class*=st-key-card_steered_{number}] {{ border-top-color: {colors.series[number % len(colors.series)]}; }}"
        for number in range(8)
    ]
    st.html(
        CSS.replace("FIRST", FIRST)
        .replace("EDGE", colors.rule)
        .replace("ACCENT", colors.accent)
        .replace("MUTED", colors.muted)
        .replace("CARDS", "\n".join(edges))
    )
