"""The token view: model text as tinted tokens with tooltips, safe whatever the tokens hold.

Tokens reach the browser as data and are set by `textContent`; nothing of a model's text is ever read as HTML or
Markdown. Characters that are invisible or turn the direction of writing are shown by their code point.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from ..models import Model

_PARTS = Path(__file__).parent / "components"
_HTML = """<div class="wrap"><div class="tv" role="listbox"></div><div class="tip" hidden></div>
<div class="legend" hidden><span class="low"></span><i></i><span class="high"></span></div></div>"""

_component = st.components.v2.component(
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


def visible(text: str) -> str:
    """The text with newlines as ⏎, tabs as ⇥ and every other invisible or direction-turning character as ⟨U+....⟩."""
    shown = []
    for char in text:
        if char == "\n":
            shown.append("⏎")
        elif char == "\t":
            shown.append("⇥")
        elif char == " " or unicodedata.category(char) not in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp", "Zs"):
            shown.append(char)
        else:
            shown.append(f"⟨U+{ord(char):04X}⟩")
    return "".join(shown)


def pieces(lm: Model, tokens: Sequence[int]) -> list[str]:
    """The text that each token adds to what is before it: with its leading space, which decoding it alone may drop."""
    found = []
    for i, token in enumerate(tokens):
        before = list(tokens[i - 1 : i]) if i else []
        joined = lm.text([*before, token], special=True)
        found.append(joined[len(lm.text(before, special=True)) :] if before else joined)
    return found


def token_data(token: Token) -> dict:
    """What the browser is sent for one token."""
    return {
        "t": visible(token.text),
        "v": token.value,
        "p": token.prompt,
        "c": token.changed,
        "b": "\n" in token.text,
        "tip": [[name, visible(value)] for name, value in token.tip],
    }


def token_view(
    tokens: Sequence[Token],
    *,
    key: str,
    scale: float | None = None,
    selected: int | None = None,
    low: str = "",
    high: str = "",
    label: str = "Tokens",
) -> int | None:
    """The index of the token that was clicked just now, or None.

    Args:
        scale: the value of the strongest tint; by default the largest magnitude among the tokens. Give the same one to
            views that are to be compared.
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
        },
        on_picked_change=lambda: None,
    )
    picked = result.get("picked")
    return picked if isinstance(picked, int) and 0 <= picked < len(tokens) else None
