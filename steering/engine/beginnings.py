"""Rows that go on from what other rows have read: what they share at the front is read once.

A chat template's first tokens, a few-shot prefix and the question before several answers are the same in many rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..models.caching.beginnings import After
from ..models.caching.cache import RowCache
from .rows import Row


@dataclass(frozen=True, eq=False)
class AfterRows:
    """Rows that were read, with their keys and values, and which of them each row of another pass goes on from."""

    rows: Sequence[Row]
    cache: RowCache
    owners: Sequence[int] = ()

    def of(self, owners: Sequence[int]) -> AfterRows:
        return replace(self, owners=owners)

    def begin(self, cache: RowCache, rows: Sequence[Row], unique: Sequence[int], block: int) -> int:
        """Fills a cache with what the rows go on from, and their ledgers; returns its columns.

        Args:
            unique: the rows that stand for all of the same sequence in the layers below `block`.
        """
        after = After([len(row.sequence) for row in self.rows], self.cache, self.owners)
        lengths = [len(row.sequence) for row in rows]
        for row, k, n in zip(rows, self.owners, after.kept(lengths)[1], strict=True):
            # An intervention that leaves the beginning alone may be missing there.
            for mine, theirs in zip(row.ledgers, self.rows[k].ledgers, strict=False):
                mine.inherit(theirs, n)
        return after.begin(cache, lengths, unique, block)


def may_share(row: Row) -> bool:
    """Whether nothing that is done to the row's first tokens depends on later ones, and nothing is recorded there."""
    edits = [placement for _, placement in row.placements]
    return not row.record and not any(
        one.from_prompt is not None or one.gate is not None or one.whole_history for one in edits
    )


def beginning(row: Row, length: int, *, steered: bool) -> Row:
    """The row that reads the first `length` tokens of a row, for that row and others to go on from."""
    steps = row.interventions if steered else ()
    return replace(row, interventions=steps, first=length, edits={}, gates={}, traces={}, generated=[], targets=())


def edited(row: Row, length: int, prints: dict[int, str]) -> tuple:
    """What is done to the first `length` tokens of a row: equal keys, equal keys and values."""
    found = []
    for index, (k, _) in enumerate(row.placements):
        low, high = row.span(index)
        if low < min(high, length):
            one = row.interventions[k]
            if id(one) not in prints:
                prints[id(one)] = one.fingerprint
            found.append((k, prints[id(one)], index, low, min(high, length)))
    return tuple(found)
