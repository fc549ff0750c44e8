"""What a search for directions gives, whichever it is: the directions in its order, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..direction import Direction


@dataclass(frozen=True, eq=False)
class FoundVectors:
    """Directions at the source in the search's order; `len`, iteration and indexing are those of the directions.

    Attributes:
        passes: products with the model's Jacobian, or forward and backward passes, each one row of a batch, times the
            prompts.
        seconds: how long it took.
    """

    directions: tuple[Direction, ...]
    passes: int
    seconds: float

    def __len__(self) -> int:
        return len(self.directions)

    def __iter__(self) -> Iterator[Direction]:
        return iter(self.directions)

    def __getitem__(self, index: int) -> Direction:
        return self.directions[index]
