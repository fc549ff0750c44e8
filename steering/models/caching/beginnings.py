"""What texts have in common at the front, as a tree, so that it is read once and each goes on from there.

A chat template's system message, a few-shot prefix and the question before several answers are the same tokens in many
texts: a beginning, longer beginnings that go on from it, and the texts at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .cache import RowCache

Tokens = tuple[int, ...]
# Tokens: a shorter beginning saves less than a pass of its own costs.
LEAST = 8
# The most that the keys and values of one pass take that goes on from what was read before.
CACHE_BYTES = 2**28


@dataclass(frozen=True)
class Group:
    """Texts, by number, that have their first `length` tokens in common."""

    length: int
    numbers: tuple[int, ...]


def split(texts: Mapping[int, Tokens], most: Mapping[int, int], done: int = 0) -> tuple[list[Group], list[int]]:
    """The groups of texts that are worth a longer beginning than `done` tokens, and the texts that are in none.

    Texts that are the same from end to end are no reason for one.

    Args:
        most: how many of a text's tokens may belong to a beginning.
    """
    ordered = sorted(texts, key=texts.__getitem__)
    if not ordered:
        return [], []
    length = _common(texts, most, ordered)
    if length >= done + LEAST and _differ(texts, ordered):
        return [Group(length, tuple(ordered))], []
    groups, alone = [], []
    for numbers in _neighbors(texts, most, ordered, done):
        if _differ(texts, numbers):
            groups.append(Group(_common(texts, most, numbers), tuple(numbers)))
        else:
            alone += numbers
    return groups, alone


def _neighbors(
    texts: Mapping[int, Tokens], most: Mapping[int, int], ordered: Sequence[int], done: int
) -> Iterator[list[int]]:
    """Texts in order, together as long as they share at least half of what is left of each of them."""
    group: list[int] = []
    for number in ordered:
        if group:
            both = (group[0], number)
            left = max(len(texts[n]) for n in both) - done
            if _common(texts, most, both) - done < max(LEAST, left / 2):
                yield group
                group = []
        group.append(number)
    if group:
        yield group


def _common(texts: Mapping[int, Tokens], most: Mapping[int, int], numbers: Sequence[int]) -> int:
    """How many tokens all these texts share at the front."""
    some = [texts[number] for number in numbers]
    first, last = min(some), max(some)  # what these two share, all between them share
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return min(same, *(most[number] for number in numbers))


def _differ(texts: Mapping[int, Tokens], numbers: Sequence[int]) -> bool:
    return len({texts[number] for number in numbers}) > 1


@dataclass(frozen=True, eq=False)
class After:
    """Texts that were read, with their keys and values, and which of them each row of another pass goes on from."""

    lengths: Sequence[int]
    cache: RowCache
    owners: Sequence[int] = ()

    def of(self, owners: Sequence[int]) -> After:
        return replace(self, owners=owners)

    def kept(self, lengths: Sequence[int]) -> tuple[int, list[int]]:
        """How many columns a pass over rows of these lengths need not read again, and how many of them are each row's.

        As many as the row has that has the most left to read. Rows end at the same column, so of a row that has less
        left, the last tokens of its beginning are read again.
        """
        left = max(n - self.lengths[k] for n, k in zip(lengths, self.owners, strict=True))
        columns = max(lengths) - left
        return columns, [max(0, n - left) for n in lengths]

    def begin(
        self, cache: RowCache, lengths: Sequence[int], unique: Sequence[int] | None = None, layers: int = 0
    ) -> int:
        """Fills an empty cache with what the rows go on from; returns its columns.

        Args:
            unique: the rows that stand for all of the same text in the first so many `layers`.
        """
        columns, kept = self.kept(lengths)
        starts = [self.cache.length - n for n in self.lengths]
        places = [(k, starts[k], n) for k, n in zip(self.owners, kept, strict=True)]
        if unique is not None:
            cache.begin(self.cache, [places[row] for row in unique], columns, layers)
        cache.begin(self.cache, places, columns, len(self.cache.layers))
        return columns
