"""Small pieces of HTML for a notebook. Every text in them is escaped: it comes from models and from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .one_line import clipped

STRONGEST = 0.55  # opacity of the strongest tint; text stays readable on it in light and dark notebooks
POSITIVE, NEGATIVE = "230, 126, 34", "41, 128, 185"  # orange and blue, told apart by color-blind readers too


def tinted_tokens(texts: Sequence[str], values: Sequence[float], what: str) -> str:
    """Tokens with a background by their value: orange above zero, blue below, strongest at the largest magnitude.

    Args:
        what: what the values are; the tooltip of every token says it with the number.
    """
    largest = max((abs(value) for value in values), default=0.0) or 1.0
    spans = []
    for text, value in zip(texts, values, strict=True):
        color, opacity = POSITIVE if value > 0 else NEGATIVE, STRONGEST * abs(value) / largest
        title = escape(f"{what} {value:.3g}", quote=True)
        spans.append(f'<span style="background: rgba({color}, {opacity:.2f})" title="{title}">{escape(text)}</span>')
    return f'<div style="white-space: pre-wrap; overflow-wrap: anywhere">{"".join(spans)}</div>'


def caption(text: str) -> str:
    """A line of small text."""
    return f'<div style="opacity: 0.7; font-size: 90%">{escape(text)}</div>'


def table(rows: Sequence[Mapping[str, Any]], widest: int = 120) -> str:
    """Rows as a table with the columns of the first one; cells are cut to `widest` characters."""
    columns = list(rows[0]) if rows else []
    head = "".join(f'<th style="text-align: left">{escape(column)}</th>' for column in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="text-align: left">{escape(clipped(row.get(column, ""), widest))}</td>' for column in columns
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
