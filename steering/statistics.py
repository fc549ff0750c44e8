"""Intervals and paired tests for what was measured; scipy and statsmodels do the sums.

Variants of a prompt share their sampling noise, so comparisons are paired: `paired_bootstrap` for numbers, `mcnemar`
for right and wrong answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

Numbers = Sequence[float] | ndarray


class Estimate(NamedTuple):
    """A number and the interval that holds the true one with the confidence asked for."""

    value: float
    low: float
    high: float


class Flips(NamedTuple):
    """Paired answers: how many became right, how many became wrong, and McNemar's exact two-sided p."""

    gained: int
    lost: int
    p: float


def wilson(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """The share successes / n and Wilson's interval, which stays within 0 and 1 and is honest for few trials.

    Raises:
        ValueError: no trials, or more successes than trials.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"A share is 0 to n successes of n trials, n at least 1; got {successes} of {n}.")
    found: Any = proportion_confint(successes, n, alpha=1 - _confidence(confidence), method="wilson")
    share = successes / n
    return Estimate(share, min(share, float(found[0])), max(share, float(found[1])))  # rounding at 0 and 1


def bootstrap(values: Numbers, confidence: float = 0.95, draws: int = 2000, seed: int = 0) -> Estimate:
    """The mean of independent values and its bias-corrected and accelerated (BCa) bootstrap interval.

    Raises:
        ValueError: fewer than two values, or NaN or infinity among them.
    """
    x = _row(values, "values")
    if len(x) < 2:
        raise ValueError(f"A bootstrap resamples at least two values; got {len(x)}.")
    mean = float(x.mean())
    if np.ptp(x) == 0:  # BCa divides by the spread
        return Estimate(mean, mean, mean)
    found = stats.bootstrap(
        (x,), np.mean, n_resamples=draws, confidence_level=_confidence(confidence), rng=np.random.default_rng(seed)
    ).confidence_interval
    return Estimate(mean, float(found.low), float(found.high))


def paired_bootstrap(
    before: Numbers, after: Numbers, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> Estimate:
    """The mean of after - before over the same items, with the bootstrap interval of the paired differences.

    Raises:
        ValueError: different lengths, fewer than two items, or NaN or infinity.
    """
    x, y = _pair(before, after)
    return bootstrap(y - x, confidence, draws, seed)


def mcnemar(before: Numbers, after: Numbers) -> Flips:
    """McNemar's exact test of right and wrong answers to the same items: only the items that flipped count.

    Raises:
        ValueError: different lengths, or no items.
    """
    x, y = _pair(before, after)
    if not (np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all()):
        raise ValueError("McNemar's test takes right or wrong, True or False; got other numbers.")
    gained, lost = int(((x == 0) & (y == 1)).sum()), int(((x == 1) & (y == 0)).sum())
    p = stats.binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0
    return Flips(gained, lost, float(p))


def auroc(positive: Numbers, negative: Numbers) -> float:
    """The chance that a positive value is above a negative one, ties counting half: 0.5 is none, 1 perfect separation.

    Raises:
        ValueError: a side is empty, or holds NaN or infinity.
    """
    x, y = _row(positive, "positive"), _row(negative, "negative")
    return float(stats.mannwhitneyu(x, y, method="asymptotic").statistic / (len(x) * len(y)))


def cohen_d(positive: Numbers, negative: Numbers) -> float:
    """The difference of the means in units of the pooled standard deviation.

    Raises:
        ValueError: fewer than two values a side, or no spread at all.
    """
    x, y = _row(positive, "positive"), _row(negative, "negative")
    if min(len(x), len(y)) < 2:
        raise ValueError(f"Cohen's d needs at least two values a side; got {len(x)} and {len(y)}.")
    pooled = ((len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)) / (len(x) + len(y) - 2)
    if pooled == 0:
        raise ValueError("Cohen's d is in units of the spread within the sides; there is none.")
    return float((x.mean() - y.mean()) / math.sqrt(pooled))


def holm(p_values: Numbers) -> list[float]:
    """The p-values adjusted by Holm for being several, in the order given.

    Raises:
        ValueError: none, or one outside 0 to 1.
    """
    p = _row(p_values, "p-values")
    if (p < 0).any() or (p > 1).any():
        raise ValueError(f"A p-value lies between 0 and 1; got {float(p.min())} to {float(p.max())}.")
    adjusted: Any = multipletests(p, method="holm")[1]
    return [float(value) for value in adjusted]


def _confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"A confidence lies between 0 and 1, such as 0.95; got {confidence}.")
    return confidence


def _row(values: Numbers, what: str) -> ndarray:
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"{what.capitalize()} are one row of numbers, at least one; got shape {x.shape}.")
    if not np.isfinite(x).all():
        raise ValueError(f"{what.capitalize()} are finite numbers; {int((~np.isfinite(x)).sum())} of {len(x)} are not.")
    return x


def _pair(before: Numbers, after: Numbers) -> tuple[ndarray, ndarray]:
    x, y = _row(before, "values before"), _row(after, "values after")
    if len(x) != len(y):
        raise ValueError(f"A paired comparison is of the same items; got {len(x)} before and {len(y)} after.")
    return x, y
