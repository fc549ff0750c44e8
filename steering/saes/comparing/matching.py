"""Compare dictionaries: which features of two are the same, how stable each is, and a loss that asks for agreement.

The one-to-one matching is scipy's; the regularization of a group by it is Marks et al. 2024 (arXiv 2411.01220), Mutual
Feature Regularization.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

WARM_UP = 100  # steps until the regularization counts in full
REMATCH = 25  # steps between two matchings; in between, features move less than they differ


@dataclass(frozen=True)
class Matching:
    """Features of one dictionary beside those of another, each at most once, and the cosine of each couple."""

    left: Int[np.ndarray, " couples"]
    right: Int[np.ndarray, " couples"]
    cosine: Float[np.ndarray, " couples"]

    @property
    def mean(self) -> float:
        """The mean cosine of the couples: 1 for the same features in whatever order."""
        return float(self.cosine.mean())


def cosines(a: Float[Tensor, "m d"], b: Float[Tensor, "n d"]) -> Float[Tensor, "m n"]:
    """The cosine of every row of `a` with every row of `b`."""
    return F.normalize(a.float(), dim=-1) @ F.normalize(b.float(), dim=-1).T


@torch.no_grad()
def match(a: Float[Tensor, "m d"], b: Float[Tensor, "n d"]) -> Matching:
    """The one-to-one matching of rows with the largest sum of cosines; min(m, n) couples, in the order of `a`.

    Raises:
        ValueError: the rows differ in width, so they are not features of the same stream.
    """
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"Features are matched in one space; widths {a.shape[1]} and {b.shape[1]} arrived.")
    table = cosines(a, b).cpu().numpy()
    left, right = linear_sum_assignment(table, maximize=True)
    return Matching(left, right, table[left, right])


@torch.no_grad()
def best_cosine(a: Float[Tensor, "m d"], b: Float[Tensor, "n d"], rows: int = 2048) -> Float[Tensor, " m"]:
    """For each row of `a` the largest cosine with a row of `b` (several rows of `a` may share one)."""
    return torch.cat([cosines(part, b).max(-1).values for part in a.split(rows)])


@torch.no_grad()
def stability(of: Float[Tensor, "m d"], others: Sequence[Float[Tensor, "n d"]]) -> Float[Tensor, " m"]:
    """For each feature the mean, over other dictionaries, of its best cosine there; 1 is found everywhere.

    Raises:
        ValueError: there is no other dictionary.
    """
    if not others:
        raise ValueError("Stability compares with at least one other dictionary; got none.")
    return torch.stack([best_cosine(of, other) for other in others]).mean(0)


@torch.no_grad()
def interference(rows: Float[Tensor, "m d"], block: int = 2048) -> Float[Tensor, " m"]:
    """For each feature the largest cosine with another feature of the same dictionary."""
    parts = []
    for start in range(0, len(rows), block):
        table = cosines(rows[start : start + block], rows)
        index = torch.arange(len(table), device=rows.device)
        table[index, start + index] = -1.0
        parts.append(table.max(-1).values)
    return torch.cat(parts)


class Mutual:
    """The regularization of a group: the mean over pairs of 1 - mean cosine of their matched decoder rows."""

    def __init__(self) -> None:
        self._couples: list[tuple[int, int, Tensor, Tensor]] = []

    def loss(self, decoders: Sequence[Float[Tensor, "m d"]], step: int) -> Tensor:
        """The term of one step, warmed up by a cosine; gradients reach both sides of every pair.

        The matching, which costs the cube of the width, is made anew every REMATCH steps, and always at multiples of
        it, so that a training that goes on from a checkpoint at such a step matches the same features.
        """
        if step % REMATCH == 0 or not self._couples:
            self._couples = [
                (i, j, torch.from_numpy(found.left), torch.from_numpy(found.right))
                for i in range(len(decoders))
                for j in range(i + 1, len(decoders))
                for found in [match(decoders[i].detach(), decoders[j].detach())]
            ]
        warm = 0.5 * (1 - math.cos(math.pi * min(step / WARM_UP, 1.0)))
        apart = [1 - F.cosine_similarity(decoders[i][a], decoders[j][b]).mean() for i, j, a, b in self._couples]
        return warm * torch.stack(apart).mean()


def imbalance(rates: Float[Tensor, " m"], wanted: float) -> float:
    """The mean over features of (|rate - wanted| / wanted)^3: large where few features do all the work."""
    return float(((rates - wanted).abs() / wanted).pow(3).mean())
