"""The linear range of a response: the length at which it is half non-linear, a strength that fits any model.

    R with sqrt( mean_v |Delta(R v) - R J v|^2 / |R J v|^2 ) = 1/2

over unit vectors v (Mack and Turner 2024, the calibration of deep causal transcoding). Below it a vector does what its
Jacobian says; far above it texts break.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...models.model import Model, Prompt
from ...sites import Site
from ..direction import Direction
from .response import Reduce, Response, Tick, random_units


@dataclass(frozen=True)
class LinearRange:
    """The length at which a response is half non-linear, and the curve that it was read from.

    Attributes:
        norm: that length, in the units of the activations; infinity where even the longest tried is nearly linear.
        lengths, deviations: the lengths tried, in order, and the non-linear share at each.
    """

    norm: float
    lengths: tuple[float, ...]
    deviations: tuple[float, ...]

    def __repr__(self) -> str:
        return f"LinearRange(norm {self.norm:.4g}, {len(self.lengths)} lengths tried)"


def linear_range(
    lm: Model,
    direction: Direction | None,
    prompts: Sequence[Prompt],
    target: Site | Literal["logits"],
    *,
    source: Site | None = None,
    share: float = 0.5,
    count: int = 30,
    last: int | None = 3,
    reduce: Reduce = "mean",
    seed: int = 0,
    tick: Tick | None = None,
) -> LinearRange:
    """The length of a direction (or, with None, of `count` random ones) at which `share` of the response is non-linear.

    Found by bisection between a thousandth and a hundred times the activations' typical length.

    Raises:
        ValueError: neither a direction nor a source; share not above 0; what `Response` refuses.
    """
    if direction is None and source is None:
        raise ValueError("The linear range is that of a direction, or of random ones at a source; got neither.")
    if not share > 0:
        raise ValueError(f"The share of the response that is not linear is above 0; got {share}.")
    response = Response(lm, prompts, source or direction.site, target, last, reduce)  # type: ignore[union-attr]
    if direction is None:
        units = random_units(count, response.d_in, seed)
    else:
        units = torch.nn.functional.normalize(direction.check(lm).decoded()[None], dim=-1)
    units = units.to(lm.device)
    linear = response.jvp(units)
    tried: dict[float, float] = {}

    def deviation(length: float) -> float:
        if length not in tried:
            if tick is not None:
                tick(len(tried), 16, "How far is it linear")
            tried[length] = nonlinear_share(response(units * length), linear * length)
        return tried[length]

    low, high = 1e-3 * response.scale, 100 * response.scale
    found = math.inf
    if deviation(low) >= share:
        found = low
    else:
        # Coarse first, to find the first length at which it is reached: a response that saturates comes back below.
        for factor in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0):
            if deviation(factor * response.scale) >= share:
                high = factor * response.scale
                for _ in range(7):
                    middle = math.sqrt(low * high)
                    low, high = (low, middle) if deviation(middle) >= share else (middle, high)
                found = math.sqrt(low * high)
                break
            low = factor * response.scale
    lengths = tuple(sorted(tried))
    return LinearRange(found, lengths, tuple(tried[length] for length in lengths))


def nonlinear_share(moved: Float[Tensor, "k out"], linear: Float[Tensor, "k out"]) -> float:
    """sqrt(mean of |moved - linear|^2 / |linear|^2) over the rows.

    By hand: moved (3, 0) where (2, 0) was predicted is 1/2; with a second row that is exact, sqrt(1/8).
    """
    shares = (moved - linear).double().square().sum(-1) / linear.double().square().sum(-1).clamp_min(1e-30)
    return float(shares.mean().sqrt())
