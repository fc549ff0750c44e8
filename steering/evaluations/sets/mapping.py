"""Rows in other formats: a mapping says what each column is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..scoring import scorers
from ..scoring.items import Item
from ..scoring.measure import Scorer
from ..scoring.scorers import ForcedChoice
from .formats import LETTERS, lettered, split


def mapped(values: Mapping[str, Any], mapping: Mapping[str, str]) -> Item:
    """An item of a row in another format.

    Args:
        mapping: "prompt" (needed), "system", "matching" and "not_matching" (options), "choices" and "answer" (a list
            and the right one, by number, letter or text), "true", "letter", "harmful", "answers", "wrong" (labels) ->
            the name of the column.

    Raises:
        ValueError: no prompt is named, or a column that the row does not have.
    """
    if "prompt" not in mapping:
        raise ValueError("A mapping names the column of the prompt at least: {'prompt': ...}.")
    for what, column in mapping.items():
        if column and column not in values:
            raise ValueError(f"there is no column {column!r} for {what!r}; columns: {', '.join(map(str, values))}.")
    get = {what: values[column] for what, column in mapping.items() if column}
    prompt = str(get["prompt"])
    system = str(get.get("system") or "")
    labels: dict[str, Any] = {what: get[what] for what in ("letter",) if what in get}
    labels |= {what: _truth(get[what]) for what in ("true", "harmful") if what in get}
    labels |= {what: _listed(get[what]) for what in ("answers", "wrong") if what in get}
    if "choices" in get:
        choices, answer = _listed(get["choices"]), get["answer"]
        said = str(answer).strip()
        right = choices.index(said) if said in choices else LETTERS.index(said) if said in LETTERS else int(said)
        return replace(lettered(prompt, choices, right, labels), system=system)
    if "matching" in get:
        options = (str(get["matching"]), str(get["not_matching"]))
        return Item(prompt, system, options, (0,), labels)
    return Item(prompt, system, labels=labels)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    said = str(value).strip().lower()
    if said in ("true", "yes", "1", "1.0"):
        return True
    if said in ("false", "no", "0", "0.0"):
        return False
    raise ValueError(f"a yes-or-no column holds true or false, yes or no, 1 or 0; got {value!r}.")


def _listed(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(one) for one in value]
    text = str(value)
    return [str(one) for one in json.loads(text)] if text.lstrip().startswith("[") else split(text.replace("|", ";"))


def suited(item: Item) -> Scorer:
    """The scorer for what a mapped item knows about its answers."""
    if item.options:
        return ForcedChoice()
    named = {"true": "claims", "letter": "letters", "harmful": "refusals", "answers": "answers"}
    return scorers.SCORERS[next((s for label, s in named.items() if label in item.labels), "refusals")]
