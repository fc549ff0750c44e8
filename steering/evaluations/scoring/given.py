"""Answers that another program produced: a row with an item's fields and `text`, to what the scorers read off it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ...jobs.reading import parse_json, short
from .items import Item
from .measure import Scorer
from .reading.claims import ClaimReading, read_claim
from .reading.values import claim_of, is_true
from .scorers import LABELS, SCORERS, Claims

# The scorer of a row by its kind, else by the label that it has.
BY_KIND = {
    "claim": "claims", "choice": "letters", "request": "refusals", "dilemma": "voices", "question": "answers",
    "dilemma_open": "school words (proxy)",
}  # fmt: skip
BY_LABEL = {"true": "claims", "harmful": "refusals", "letter": "letters", "foundation": "ratings", "answers": "answers"}
# Their answers take no stand on a claim.
OTHER_KINDS = frozenset(BY_KIND) - {"claim", "question"} | {"options", "voices", "moods", "story"}


class Scored(NamedTuple):
    """What came of one line: its number, and either the stance and measures, or a sentence on what is wrong with it."""

    line: int
    stance: str = "neither"
    measures: Mapping[str, float] = {}
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return json.dumps({"line": self.line, "error": self.error})
        return json.dumps({"stance": self.stance, "measures": dict(self.measures)})


def score_lines(text: str, scorer: Scorer | None = None) -> Iterator[Scored]:
    """What is read off every line of a JSONL text, in order; blank lines are skipped, a broken one says why."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                stance, measures = score_row(parse_json(line, where=f"line {number}"), scorer)
            except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
                said = f"the label {error} is missing" if isinstance(error, KeyError) else str(error)
                head = "" if said.lower().startswith(f"line {number}") else f"Line {number}: "
                yield Scored(number, error=f"{head}{said or 'it cannot be read'}")
            else:
                yield Scored(number, stance, measures)


def score_row(row: Any, scorer: Scorer | None = None) -> tuple[str, dict[str, float]]:
    """The stance and the measures of one row.

    Raises:
        ValueError: it is no object, has no `text`, or lacks what the scorer reads.
    """
    if not isinstance(row, dict):
        raise ValueError(f"each line is an object with an item's fields and 'text'; got {short(row)}.")
    if not isinstance(row.get("text"), str):
        got = short(row["text"]) if "text" in row else "none"
        raise ValueError(f"'text' holds the answer as a text, which may be empty; got {got}.")
    labels = {key: value for key, value in row.items() if key not in ("text", "prompt", "labels", "system")}
    labels |= row["labels"] if isinstance(row.get("labels"), dict) else {}
    labels = {key: value for key, value in labels.items() if value is not None}
    if (true := is_true(labels)) is not None:
        labels["true"] = true
    if isinstance(harmful := labels.get("harmful"), str):
        labels["harmful"] = harmful.strip().lower() in ("true", "yes", "1")
    item = Item(_asked(row, labels), labels=labels)
    chosen = scorer or scorer_of(labels)
    if scorer is None and chosen is not None and chosen.name == "claims" and "true" not in labels:
        chosen = None  # the stance can be read, but not whether it is right
    missing = [] if chosen is None else [label for label in LABELS.get(chosen.name, ()) if label not in labels]
    if chosen is not None and missing:
        raise ValueError(f"the scorer {chosen.name!r} reads the label {missing[0]!r}; this row has none.")
    reading = _reading(item, row["text"])
    stance = "neither" if reading is None else reading.stance
    if reading is not None and isinstance(chosen, Claims):  # one reading for both
        took = chosen.taken(item, row["text"])
        stance = took if took in ("agrees", "denies") else "neither"
    if chosen is None:
        return stance, {"undecided": float(stance == "neither")}
    return stance, dict(chosen.score(item, row["text"]))


def scorer_of(labels: Mapping[str, Any]) -> Scorer | None:
    """The scorer for what is known about an item, or None where nothing is."""
    name = BY_KIND.get(str(labels.get("kind"))) or next((BY_LABEL[one] for one in BY_LABEL if one in labels), None)
    return SCORERS[name] if name else None


def _reading(item: Item, text: str) -> ClaimReading | None:
    labels = item.labels
    if str(labels.get("kind")) in OTHER_KINDS or ("true" not in labels and ({"harmful", "letter"} & set(labels))):
        return None
    return read_claim(text, claim_of(item.text, labels))


def _asked(row: Mapping[str, Any], labels: Mapping[str, Any]) -> str:
    """What was asked: the prompt, the last user's words of a conversation, or at least the claim."""
    prompt = row.get("prompt") or row.get("question")
    if isinstance(prompt, list):
        turns = [turn for turn in prompt if isinstance(turn, dict)]
        mine = [turn for turn in turns if turn.get("role", turn.get("type")) in ("user", "human")] or turns
        prompt = mine[-1].get("content") if mine else None
    asked = prompt or labels.get("claimed") or labels.get("truth")
    if not isinstance(asked, str) or not asked.strip():
        raise ValueError("'prompt' holds what was asked, as a text or as messages; this row has none.")
    return asked
