"""Evaluation sets: items in their order, with the scorer that reads the answers."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...showing.html import caption, table
from ...showing.one_line import counted, one_line, quoted
from ..scoring.items import Item
from ..scoring.measure import Scorer

MAX_ITEMS = 50_000
ROWS_SHOWN = 10  # rows of a set that a notebook shows


@dataclass(frozen=True)
class EvaluationSet:
    """Items in their order, the set's name, and the scorer that reads the answers."""

    items: tuple[Item, ...]
    scorer: Scorer
    name: str = ""
    format: str = ""

    def __post_init__(self) -> None:
        if not 0 < len(self.items) <= MAX_ITEMS:
            raise ValueError(f"An evaluation set holds 1 to {MAX_ITEMS} items; got {len(self.items)}.")

    def __repr__(self) -> str:
        return one_line(self, quoted(self.name), counted(len(self), "item"), f"scorer {quoted(self.scorer.name, 40)}")

    def _repr_html_(self) -> str:
        """The first rows, for a notebook."""
        rows = [
            {"prompt": item.text, "options": " / ".join(item.options), **{str(k): v for k, v in item.labels.items()}}
            for item in self.items[:ROWS_SHOWN]
        ]
        more = f"; the first {ROWS_SHOWN} are shown" if len(self) > ROWS_SHOWN else ""
        return caption(f"{self!r}{more}") + table(rows)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    @property
    def content_hash(self) -> str:
        """A hash of the items in their order."""
        return hashlib.sha256("".join(item.id for item in self.items).encode()).hexdigest()[:16]

    @property
    def chance(self) -> float | None:
        """The share that guessing gets right where options are compared: the mean of matching over all of them."""
        shares = [len(item.matching) / len(item.options) for item in self.items if item.options]
        return sum(shares) / len(shares) if shares and self.scorer.needs == "options" else None

    def limit(self, n: int | None, seed: int = 0, by: str | None = None) -> EvaluationSet:
        """At most `n` of the items, drawn by `seed`, in their order; with `by`, equally many of each value of a label.

        Raises:
            ValueError: n is below 1, or no item has the label.
        """
        if n is None or n >= len(self):
            return self
        if n < 1:
            raise ValueError(f"A set is limited to at least one item; got {n}.")
        rng = random.Random(seed)
        groups: dict[Any, list[int]] = {}
        for k, item in enumerate(self.items):
            groups.setdefault(str(item.labels.get(by)) if by else None, []).append(k)
        if by and list(groups) == ["None"]:
            raise ValueError(
                f"The items of {self.name!r} have no label {by!r}; labels: {', '.join(self.label_names())}."
            )
        queues = [rng.sample(group, len(group)) for _, group in sorted(groups.items(), key=lambda entry: str(entry[0]))]
        chosen: list[int] = []
        while len(chosen) < n:
            for queue in queues:
                if queue and len(chosen) < n:
                    chosen.append(queue.pop())
        return replace(self, items=tuple(self.items[k] for k in sorted(chosen)))

    def distinct(self) -> EvaluationSet:
        """Every question once: items that ask the same are one observation, and would narrow intervals falsely."""
        asked = {(str(item.prompt), item.system, item.options): k for k, item in reversed(list(enumerate(self.items)))}
        return replace(self, items=tuple(self.items[k] for k in sorted(asked.values())))

    def where(self, **labels: Any) -> EvaluationSet:
        """The items whose labels have these values.

        Raises:
            ValueError: none has.
        """
        found = tuple(item for item in self.items if all(item.labels.get(k) == v for k, v in labels.items()))
        if not found:
            raise ValueError(f"No item of {self.name!r} has {labels}; its labels are {', '.join(self.label_names())}.")
        return replace(self, items=found)

    def label_names(self) -> list[str]:
        """The names of the labels that the items have."""
        return list(dict.fromkeys(name for item in self.items for name in item.labels))


def unique(sets: Sequence[EvaluationSet]) -> None:
    """Raise ValueError if two sets have the same name: their results would be mixed up."""
    names = [one.name for one in sets]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"Each evaluation set has a name of its own; {repeated[0]!r} comes twice.")
