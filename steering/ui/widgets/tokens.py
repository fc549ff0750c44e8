"""The token view: model text as tinted tokens with tooltips, safe whatever the tokens hold.

Tokens reach the browser as data and are set by `textContent`; nothing of a model's text is ever read as HTML or
Markdown. Characters that are invisible or turn the direction of writing are shown by their code point.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st
from streamlit.components import v2 as components

from ...showing.visible import visible

_PARTS = Path(__file__).parent / "components"
_HTML = """<div class="wrap">
<button type="button" class="fold" aria-expanded="false" hidden><span></span><b></b></button>
<div class="tv" role="listbox"></div>
<button type="button" class="more" hidden>Show all of it</button>
<div class="tip" hidden></div>
<div class="legend" hidden><span class="low"></span><i></i><span class="high"></span></div></div>"""

# A template's own tokens (<|user|>, <s>) are shown small: they are no words of the text.
_SPECIAL = re.compile(r"\s*<[|/]?[\w ]{1,24}[|]?>\s*")

_component = components.component(
    "tiller_tokens",
    html=_HTML,
    css=(_PARTS / "tokens.css").read_text(encoding="utf-8"),
    js=(_PARTS / "tokens.js").read_text(encoding="utf-8"),
)


@dataclass(frozen=True)
class Token:
    """One token to show: its text, the number that tints it, and the lines of its tooltip."""

    text: str
    value: float | None = None
    tip: tuple[tuple[str, str], ...] = ()
    prompt: bool = False
    changed: bool = False
    extra: dict = field(default_factory=dict, compare=False)


def token_data(token: Token) -> dict:
    """A token as the browser's component takes it."""
    return {
        "t": visible(token.text) or "⋯",  # a part of a character has no text of its own
        "v": token.value,
        "p": token.prompt,
        "c": token.changed,
        "x": bool(_SPECIAL.fullmatch(token.text)),
        "b": "\n" in token.text,
        "tip": [[name, visible(value)] for name, value in token.tip],
    }


def _picked(key: str, into: str | None) -> None:
    index = (st.session_state.get(key) or {}).get("picked")
    if into is not None and isinstance(index, int):
        st.session_state[into] = index


def token_view(
    tokens: Sequence[Token],
    *,
    key: str,
    scale: float | None = None,
    selected: int | None = None,
    low: str = "",
    high: str = "",
    label: str = "Tokens",
    into: str | None = None,
    fold: str | None = None,
) -> int | None:
    """Draw tokens; return the index of the token that was just clicked, or None.

    Args:
        into: a key of session state that takes the index before the page is drawn again, so that whatever shows the
            chosen token is up to date in the same run.
        scale: the value of the strongest tint; by default the largest magnitude among the tokens. Give the same one to
            views that are to be compared.
        fold: what is written on the line that the prompt's tokens are folded to; None shows them.
        low, high: what the two ends of the scale mean; no legend without them.
    """
    values = [abs(token.value) for token in tokens if token.value is not None]
    result = _component(
        key=key,
        data={
            "tokens": [token_data(token) for token in tokens],
            "scale": max(values, default=0.0) if scale is None else scale,
            "selected": selected,
            "low": low,
            "high": high,
            "label": label,
            "fold": None if fold is None else visible(fold),
        },
        on_picked_change=lambda: _picked(key, into),
    )
    picked = result.get("picked")
    return picked if isinstance(picked, int) and 0 <= picked < len(tokens) else None
