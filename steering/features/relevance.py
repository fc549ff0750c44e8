"""Which of the features that match a query match it best: a name before a peak, a peak before what is promoted."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_WORD = re.compile(r"[^\W_]+")
# What a match counts, by where it is; within the strongest examples, by the share of the peaks.
NOTE, NAME, PEAK, PROMOTED, NEAR = 8.0, 4.0, 6.0, 2.0, 1.0


def relevance(
    base: sqlite3.Connection,
    ids: Sequence[int],
    query: str,
    open_blob: Callable[[bytes], Any],
    names: Mapping[int, str],
    notes: Mapping[int, str],
) -> dict[int, float]:
    """How well each feature matches the words of a query; larger is better.

    A word is matched by its beginning, as the search does; a whole word counts twice.
    """
    words = [word.lower() for word in _WORD.findall(query)]
    texts = {int(token): str(text).strip().lower() for token, text in base.execute("SELECT id, text FROM vocab")}
    heads = {token: max(_match(text, word) for word in words) for token, text in texts.items()} if words else {}
    found = {}
    for number in ids:
        promoted, context, blob = base.execute(
            "SELECT promoted, context, examples FROM features WHERE id = ?", (int(number),)
        ).fetchone()
        score = NOTE * _within(notes.get(number, ""), words) + NAME * _within(names.get(number, ""), words)
        strongest = [shown for band, shown in open_blob(blob) if band == 0]
        peaks = [heads.get(tokens[peak], 0.0) for peak, _, tokens, _ in (strongest[0] if strongest else ())]
        score += PEAK * sum(peaks) / max(len(peaks), 1)
        said = str(promoted).split("\x1f")
        score += PROMOTED * max((max(_match(text.strip().lower(), word) for word in words) / (1 + place / 3)
                                 for place, text in enumerate(said)), default=0.0) if words else 0.0  # fmt: skip
        found[int(number)] = score + NEAR * _within(str(context), words)
    return found


def _match(text: str, word: str) -> float:
    """1 for the word itself, one half for what begins with it, else 0; a piece of two letters is no word."""
    if text == word:
        return 1.0
    return (
        0.5 if text.startswith(word) or (len(text) > 2 and word.startswith(text) and len(word) - len(text) < 3) else 0.0
    )


def _within(text: str, words: Sequence[str]) -> float:
    """The share of the words that a text has, whole words counting in full."""
    there = [part.lower() for part in _WORD.findall(text)]
    return sum(max((_match(part, word) for part in there), default=0.0) for word in words) / max(len(words), 1)
