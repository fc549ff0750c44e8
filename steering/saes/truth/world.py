"""Sparse, correlated features in superposition with a known dictionary, after Sharkey et al. 2022.

A sample is a sum of few feature directions out of more than there are dimensions. Which features occur together, and
how often each occurs, is drawn once; the samples are then endless.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..comparing.matching import best_cosine

FOUND = 0.9  # a cosine from which a learnt feature counts as the true one


@dataclass(frozen=True)
class SparseWorld:
    """The recipe of the data.

    Raises:
        ValueError: a number outside the range that its comment names.
    """

    width: int = 64
    features: int = 256  # more than `width`: they are in superposition
    active: float = 5.0  # features of a sample, on average
    groups: int = 16  # features of a group tend to occur together
    correlation: float = 0.3  # 0 to below 1: of the hidden normals of a group, whose upper tails are what occurs
    decay: float = 0.7  # frequencies fall as rank^-decay; 0 makes all features equally frequent
    noise: float = 0.0  # standard deviation a channel
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError if no such data can be drawn."""
        rules = (
            (self.width >= 2 and self.features >= 1, "width is at least 2 and features at least 1", "features"),
            (0 < self.active < self.features / 2, "active is above 0 and below half of the features", "active"),
            (1 <= self.groups <= self.features, "groups run from 1 to the number of features", "groups"),
            (0 <= self.correlation < 1, "correlation is from 0 to below 1", "correlation"),
            (self.decay >= 0 and self.noise >= 0, "decay and noise are not negative", "decay"),
        )
        for holds, rule, name in rules:
            if not holds:
                raise ValueError(f"In a sparse world, {rule}; {name}={getattr(self, name)!r} arrived.")

    @cached_property
    def dictionary(self) -> Float[Tensor, "features width"]:
        """The true features: random directions of length 1."""
        # Not the seed itself: dictionaries in training begin with normal numbers of their own seeds.
        generator = torch.Generator().manual_seed(7_368_787 + self.seed)
        return F.normalize(torch.randn(self.features, self.width, generator=generator), dim=1)

    @cached_property
    def frequency(self) -> Float[Tensor, " features"]:
        """How often each feature occurs; a group holds frequent and rare ones."""
        falling = torch.arange(1, self.features + 1, dtype=torch.float).pow(-self.decay)
        share = falling * (self.active / falling.sum())
        return share.clamp(max=0.5)

    def sample(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "count width"], Float[Tensor, "count features"]]:
        """Samples and the feature values that they are sums of.

        A feature occurs where a normal variable is in its upper tail; a group's variables share a part. Its value is
        then uniform from 0.5 to 1.5.
        """
        group = torch.arange(self.features) % self.groups
        shared = torch.randn(count, self.groups, generator=generator)[:, group]
        own = torch.randn(count, self.features, generator=generator)
        hidden = self.correlation**0.5 * shared + (1 - self.correlation) ** 0.5 * own
        occurs = hidden > torch.special.ndtri(1 - self.frequency)
        values = occurs * (0.5 + torch.rand(count, self.features, generator=generator))
        x = values @ self.dictionary
        return x + self.noise * torch.randn(x.shape, generator=generator) if self.noise else x, values


def mean_max_cosine(truth: Float[Tensor, "n d"], learnt: Float[Tensor, "m d"]) -> float:
    """The mean over true features of the best cosine with a learnt one (Sharkey et al. 2022): 1 if all are found."""
    return float(best_cosine(truth, learnt).mean())


def found(truth: Float[Tensor, "n d"], learnt: Float[Tensor, "m d"]) -> float:
    """The share of the true features that a learnt one points along."""
    return float((best_cosine(truth, learnt) >= FOUND).float().mean())


def true_share(learnt: Float[Tensor, "m d"], truth: Float[Tensor, "n d"]) -> float:
    """The share of the learnt features that point along a true one."""
    return float((best_cosine(learnt, truth) >= FOUND).float().mean())
