"""Do the pairs agree? What can be measured of a direction before anything is generated.

Everything here works on activations that were read once: row i of `positive` and of `negative` are the two sides of
pair i. What is called held-out never uses a pair to judge a direction that the same pair helped to make.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..statistics import auroc
from . import estimators

Fit = Callable[[ndarray, ndarray], ndarray]
FITS: dict[str, Fit] = {
    "mean_difference": estimators.mean_difference,
    "pca": estimators.pca,
    "probe": estimators.probe,
    "lda": estimators.lda,
}


@dataclass(frozen=True)
class HeldOut:
    """Projections of every pair's two sides on a direction made without that pair, and what they say together.

    `positive` and `negative` are centered on the middle between the two classes of the pairs that made the direction,
    in units of half their distance: +1 is the positive class, -1 the negative one.
    """

    positive: Float[ndarray, " pairs"]
    negative: Float[ndarray, " pairs"]

    @property
    def auroc(self) -> float:
        """AUROC: the chance that a random positive side projects higher than a random negative one."""
        return auroc(self.positive, self.negative)

    @property
    def right(self) -> Bool[ndarray, " pairs"]:
        """For each pair, whether its positive side projects higher than its own negative side."""
        return self.positive > self.negative


@dataclass(frozen=True)
class Agreement:
    """How far the pairs point the same way.

    Attributes:
        cosines: between the differences (positive minus negative) of all pairs.
        others: of each pair's difference with the mean difference of all other pairs.
        cone: angles in degrees between the mean difference and those of resampled pairs.
    """

    cosines: Float[ndarray, "pairs pairs"]
    others: Float[ndarray, " pairs"]
    cone: Float[ndarray, " draws"]

    @property
    def mean_cosine(self) -> float:
        """The mean cosine of two different pairs; about 0 for pairs that have nothing in common."""
        n = len(self.cosines)
        return float((self.cosines.sum() - np.trace(self.cosines)) / (n * (n - 1))) if n > 1 else float("nan")

    @property
    def outliers(self) -> list[int]:
        """Pairs that point against the others, or less along them than is usual in the set by 3 robust deviations."""
        middle = np.median(self.others)
        spread = 1.4826 * np.median(np.abs(self.others - middle))
        strange = (self.others < 0) | (self.others < middle - 3 * max(float(spread), 1e-6))
        return [int(i) for i in np.flatnonzero(strange)] if len(self.others) > 2 else []


def agreement(
    positive: Float[ndarray, "pairs width"], negative: Float[ndarray, "pairs width"], *, draws: int = 300, seed: int = 0
) -> Agreement:
    """How far the differences of pairs agree with each other.

    By hand: differences (1, 0), (0, 1), (1, 1) have cosines 0, 0.71, 0.71; the first against the mean of the others,
    (0.5, 1), has 0.45.

    Raises:
        ValueError: fewer than two pairs.
    """
    d = _differences(positive, negative)
    lengths = np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-12)
    unit = d / lengths
    rest = (d.sum(0) - d) / (len(d) - 1)
    rest = rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-12)
    weights = np.random.default_rng(seed).multinomial(len(d), np.full(len(d), 1 / len(d)), size=draws) / len(d)
    drawn, mean = weights @ d, d.mean(0)
    scale = np.maximum(np.linalg.norm(drawn, axis=1) * np.linalg.norm(mean), 1e-12)
    angles = np.degrees(np.arccos(np.clip(drawn @ mean / scale, -1, 1)))
    return Agreement(np.clip(unit @ unit.T, -1, 1), (unit * rest).sum(1), angles)


def held_out(
    positive: Float[ndarray, "pairs width"],
    negative: Float[ndarray, "pairs width"],
    fit: Fit = estimators.mean_difference,
    *,
    folds: int | None = None,
    seed: int = 0,
) -> HeldOut:
    """Every pair judged by a direction that the other pairs made: leave one out, or `folds` groups of pairs.

    The default is leave-one-out for the mean difference, which has a closed form, and ten groups for others.

    Raises:
        ValueError: fewer than two pairs.
    """
    _differences(positive, negative)
    p, q = (np.asarray(side, np.float64) for side in (positive, negative))
    n = len(p)
    groups = folds or (n if fit is estimators.mean_difference else 10)
    owner = np.random.default_rng(seed).permutation(n) % min(groups, n)
    out = np.empty((2, n))
    for group in range(min(groups, n)):
        test = owner == group
        train_p, train_q = p[~test], q[~test]
        v = fit(train_p, train_q)
        middle, half = (train_p.mean(0) + train_q.mean(0)) / 2 @ v, (train_p.mean(0) - train_q.mean(0)) / 2 @ v
        half = half if abs(half) > 1e-12 else 1e-12
        out[0, test], out[1, test] = (p[test] @ v - middle) / half, (q[test] @ v - middle) / half
    return HeldOut(out[0], out[1])


def contrasts(positive: Float[ndarray, "pairs width"], negative: Float[ndarray, "pairs width"]) -> dict[str, ndarray]:
    """The vector of every contrast on the same activations, as unit vectors, for those that can be made."""
    found = {}
    for name, fit in FITS.items():
        try:
            v = fit(positive, negative)
        except ValueError:  # such as lda without spread: the others still can be compared
            continue
        found[name] = v / np.linalg.norm(v)
    return found


def cosines(vectors: Float[ndarray, "n width"]) -> Float[ndarray, "n n"]:
    """The matrix of cosines between vectors."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.clip(unit @ unit.T, -1, 1)


def _differences(positive: ndarray, negative: ndarray) -> ndarray:
    p, q = (np.asarray(side, np.float64) for side in (positive, negative))
    if p.shape != q.shape or p.ndim != 2:
        raise ValueError(f"Pairs have two sides of one width; got {p.shape} and {q.shape}.")
    if len(p) < 2:
        raise ValueError(f"Agreement is among at least two pairs; got {len(p)}. Add a pair.")
    return p - q
