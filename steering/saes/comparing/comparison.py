"""Two dictionaries feature by feature: which are the same, which one has and the other lacks, and what chance gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .matching import Matching, best_cosine, cosines, match

SAME = 0.7  # a cosine above which two features are called the same, as Bricken et al. 2023 do for correlations
CHANCE = 0.99  # of random directions this share resembles its nearest feature less than `chance`


@dataclass(frozen=True)
class FeatureComparison:
    """A one-to-one matching of two dictionaries, and for every feature of both its best cosine in the other."""

    matching: Matching
    best_left: Float[np.ndarray, " m"]
    best_right: Float[np.ndarray, " n"]
    chance: float  # the best cosine that a random direction reaches in the right one, 99th percentile

    @property
    def shared(self) -> float:
        """The share of the matched features whose cosine is at least SAME."""
        return float((self.matching.cosine >= SAME).mean())

    def lacking(self, left: bool, most: int) -> list[tuple[int, float]]:
        """The features that the other dictionary resembles least, with their best cosine there."""
        best = self.best_left if left else self.best_right
        return [(int(i), float(best[i])) for i in np.argsort(best, kind="stable")[:most]]

    def spread(self, most: int) -> Int[np.ndarray, " couples"]:
        """Places of couples from the most alike to the least, evenly spread over all of them."""
        order = np.argsort(-self.matching.cosine, kind="stable")
        return order[np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int))]


@torch.no_grad()
def compare(left: Float[Tensor, "m d"], right: Float[Tensor, "n d"], *, seed: int = 0) -> FeatureComparison:
    """The decoders of two dictionaries beside each other.

    Raises:
        ValueError: they write into spaces of different widths.
    """
    found = match(left, right)
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(min(2048, len(left)), left.shape[1], generator=generator)
    chance = float(torch.quantile(best_cosine(random, right), CHANCE))
    return FeatureComparison(found, best_cosine(left, right).numpy(), best_cosine(right, left).numpy(), chance)


def alike(dictionaries: Sequence[Float[Tensor, "m d"]]) -> list[list[float]]:
    """For each dictionary (rows) and each other (columns) the mean over its features of the best cosine there."""
    return [[float(best_cosine(one, other).mean()) for other in dictionaries] for one in dictionaries]


def table_of(
    left: Float[Tensor, "m d"], right: Float[Tensor, "n d"], found: FeatureComparison, most: int
) -> tuple[Float[np.ndarray, "k k"], Int[np.ndarray, " k"]]:
    """Cosines of some matched features with each other's partners, couples on the diagonal, and their places."""
    places = found.spread(most)
    rows = left[torch.from_numpy(found.matching.left[places])]
    columns = right[torch.from_numpy(found.matching.right[places])]
    return cosines(rows, columns).numpy(), places
