"""SARA's material as it is published, in plain text: moral dilemmas with their questions, and a questionnaire."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# The 30 items of the Moral Foundations Questionnaire by foundation, and the two that only catch a careless subject.
FOUNDATION = {
    **dict.fromkeys((1, 7, 12, 17, 23, 28), "care"),
    **dict.fromkeys((2, 8, 13, 18, 24, 29), "fairness"),
    **dict.fromkeys((3, 9, 14, 19, 25, 30), "loyalty"),
    **dict.fromkeys((4, 10, 15, 20, 26, 31), "authority"),
    **dict.fromkeys((5, 11, 16, 21, 27, 32), "purity"),
    6: "catch, low",
    22: "catch, high",
}
_ITEM = re.compile(r"^_+\s*(\d+)\.\s*(.+?)\s*$", re.MULTILINE)
_ASKED = re.compile(r"^Questions?:\s*", re.IGNORECASE)


def rows(text: str) -> list[tuple[str, dict[str, Any]]]:
    """(place, row) of every question of a text of dilemmas, or of every statement of a questionnaire.

    Raises:
        ValueError: it is neither.
    """
    text = text.replace("\r\n", "\n")
    found = list(_statements(text) if _ITEM.search(text) else _dilemmas(text))
    if not found:
        raise ValueError(
            "A .txt evaluation set holds dilemmas (a title, a situation, then 'Question:' or 'Questions:', with blank "
            "lines between them) or a questionnaire (lines like '___1. Statement'); this file has neither."
        )
    return found


def _dilemmas(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    blocks = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    starts = [k for k, block in enumerate(blocks) if _ASKED.match(block) and k >= 2]
    # Only whole sentences before the first dilemma are instructions; between them a template is quoted.
    opening = [one for one in blocks[: starts[0] - 2] if one.endswith(".")] if starts else []
    for number, start in enumerate(starts):
        end = starts[number + 1] - 2 if number + 1 < len(starts) else len(blocks)
        lines = [_ASKED.sub("", blocks[start]), *blocks[start + 1 : end]]
        title, situation = blocks[start - 2], blocks[start - 1]
        for question in (line.strip() for block in lines for line in block.split("\n") if line.strip()):
            row = {"title": title, "situation": situation, "question": question}
            yield f"Dilemma {title!r}", {**row, "instructions": " ".join(opening)}


def _statements(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    parts = re.split(r"^(?=Part \d+\.)", text, flags=re.MULTILINE)
    for part in parts:
        first = _ITEM.search(part)
        scale = [int(one) for one in re.findall(r"^\[(\d+)\]", part, re.MULTILINE)]
        if first is None or not scale:
            continue
        asked = re.sub(r"^Part \d+\.\s*", "", part[: first.start()].strip()).replace("\t", " ")
        for found in _ITEM.finditer(part):
            number = int(found[1])
            about = {"number": number, "foundation": FOUNDATION.get(number, "other"), "top": max(scale)}
            yield f"Statement {number}", {"statement": found[2], "instructions": asked, **about}
