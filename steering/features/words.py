"""Turn what a person types into a search field into a full-text query that cannot be a syntax error."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+")


def match(query: str) -> str:
    """An FTS5 expression that requires every word of the query, each as a prefix; "" if the query has no word."""
    return " ".join(f'"{word}"*' for word in _WORD.findall(query))


def parts(text: str) -> list[str]:
    """The words of a text, as a query's words are found."""
    return _WORD.findall(text)
