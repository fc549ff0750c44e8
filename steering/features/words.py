"""What a person types into a search field, as a full-text query that cannot be a syntax error."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+")


def match(query: str) -> str:
    """An FTS5 expression that asks for all words of a query, each as a prefix; empty where there is no word in it."""
    return " ".join(f'"{word}"*' for word in _WORD.findall(query))
