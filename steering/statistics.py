"""Intervals, paired tests and verdicts for what was measured.

Variants of a prompt share their sampling noise, so comparisons are paired: `paired_bootstrap` and `sign_flip` for
numbers, `paired_shares` and `mcnemar` for right and wrong answers. A report makes many comparisons, so `holm` adjusts
their p-values over all of them, and `verdict` is the one place that puts a comparison into a word.

Holm's correction and not Benjamini-Hochberg's: each verdict of a report is quoted by itself, so what has to be rare is
one false verdict among all, and measures of the same texts depend on one another, which Holm's allows in any form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

Numbers = Sequence[float] | ndarray
LEVEL = 0.05  # the chance that a report in which nothing changed says anywhere that something did
POWER = 0.8  # with which the smallest detectable difference would be found
MIN_ITEMS = 10  # below this no verdict is made: McNemar's test needs 6 flips one way before any correction
MAX_UNREAD = 0.1  # the share of unread answers above which no verdict is made
_EXACT = 14  # differences whose signs are all tried; of more, a sample is drawn
_DRAWS, _BLOCKS = 20_000, 10  # sign patterns drawn at a time; more blocks while hardly any is as extreme


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


def bootstrap(values: Numbers, confidence: float = 0.95, draws: int = 1000, seed: int = 0) -> Estimate:
    """The mean of independent values and an interval that holds from five values on.

    The studentized bootstrap (Efron and Tibshirani 1993, 12.5), which follows skewed values, and where it is shorter
    than Student's t interval, halfway between the two: with few values or many equal ones it is too short by itself.

    Raises:
        ValueError: fewer than two values, or NaN or infinity among them.
    """
    x = _row(values, "values")
    if len(x) < 2:
        raise ValueError(f"A bootstrap resamples at least two values; got {len(x)}.")
    mean, spread = float(x.mean()), float(x.std(ddof=1))
    if np.ptp(x) == 0:
        return Estimate(mean, mean, mean)
    low, high = _studentized(x[None], _confidence(confidence), draws, seed)
    return Estimate(mean, mean - float(high[0]) * spread, mean - float(low[0]) * spread)


def _studentized(
    values: Float[ndarray, "rows n"], confidence: float, draws: int, seed: int
) -> tuple[Float[ndarray, "rows"], Float[ndarray, "rows"]]:
    """Lower and upper quantile of (mean - true mean) / spread of each row; see `bootstrap`."""
    n, tail = values.shape[1], (1 - confidence) / 2
    student = float(stats.t.ppf(1 - tail, n - 1)) / math.sqrt(n)
    weights = _weights(n, draws, seed)
    centered = values - values.mean(1, keepdims=True)
    means = centered @ weights.T
    spreads = np.sqrt(np.maximum((centered**2) @ weights.T - means**2, 0) * n / (n - 1))
    # A resample may have no spread; its statistic is beyond any other. The bound keeps the interval finite.
    ratios = np.divide(means, spreads, out=np.copysign(np.inf, means), where=spreads > 1e-9 * values.std(1)[:, None])
    ratios[means == 0] = 0
    ratios = np.clip(ratios, -4 * student, 4 * student)
    low, high = np.quantile(ratios, (tail, 1 - tail), axis=1)
    return np.minimum(low, (low - student) / 2), np.maximum(high, (high + student) / 2)


@lru_cache(maxsize=16)
def _weights(n: int, draws: int, seed: int) -> Float[ndarray, "draws n"]:
    """How often each of n values is drawn in a resample, over n."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws) / n


def paired_bootstrap(
    before: Numbers, after: Numbers, confidence: float = 0.95, draws: int = 1000, seed: int = 0
) -> Estimate:
    """The mean of after - before over the same items, with the interval of the paired differences; see `bootstrap`.

    Raises:
        ValueError: different lengths, fewer than two items, or NaN or infinity.
    """
    x, y = _pair(before, after)
    return bootstrap(y - x, confidence, draws, seed)


def paired_shares(before: Numbers, after: Numbers, confidence: float = 0.95) -> Estimate:
    """The share of yes after minus before on the same items, with Newcombe's interval (1998, method 10).

    It joins the two Wilson intervals by their correlation, so it holds for few items and near 0 and 1.

    Raises:
        ValueError: different lengths, no items, or other answers than yes and no.
    """
    x, y = _answers(before, after)
    counts = np.array([[(x * y).sum(), ((1 - x) * y).sum(), (x * (1 - y)).sum(), ((1 - x) * (1 - y)).sum()]])
    low, high = _newcombe(counts, _confidence(confidence))
    return Estimate(float(y.mean() - x.mean()), float(low[0]), float(high[0]))


def _newcombe(
    counts: Float[ndarray, "rows 4"], confidence: float
) -> tuple[Float[ndarray, "rows"], Float[ndarray, "rows"]]:
    """Ends of the interval of each row of counts: yes both times, gained, lost, no both times."""
    both, gained, lost, neither = counts.T
    n, new, old = counts.sum(1), both + gained, both + lost
    (new_low, new_high), (old_low, old_high) = (
        proportion_confint(k, n, alpha=1 - confidence, method="wilson") for k in (new, old)
    )
    sides = new * (n - new) * old * (n - old)
    together = both * neither - gained * lost
    together = np.where(together > n / 2, together - n / 2, np.minimum(together, 0))  # his continuity correction
    phi = together / np.sqrt(np.maximum(sides, 1))

    def reach(a: ndarray, b: ndarray) -> ndarray:
        return np.sqrt(np.maximum(0, a * a - 2 * phi * a * b + b * b))

    change = (gained - lost) / n
    low = change - reach(new / n - new_low, old_high - old / n)
    return np.maximum(-1, low), np.minimum(1, change + reach(new_high - new / n, old / n - old_low))


def sign_flip(differences: Numbers, seed: int = 0) -> float:
    """The two-sided p-value of the mean of paired differences: how often random signs make it as large (Fisher 1935).

    If both sides are alike, each difference is as likely to be its negative, whatever the distribution: all signs are
    tried, or drawn where there are more than 2^14 ways.

    Raises:
        ValueError: no differences, or NaN or infinity.
    """
    x = np.abs(_row(differences, "differences"))
    total = abs(float(np.sum(differences)))
    x = x[x > 0]
    if not len(x):
        return 1.0
    bound = total - 1e-9 * float(x.sum())
    if len(x) <= _EXACT:
        return float((np.abs(_signs(len(x), 0) @ x) >= bound).mean())
    hits = drawn = 0
    for block in range(_BLOCKS):
        hits += int((np.abs(_signs(len(x), block + 1 + seed * _BLOCKS) @ x) >= bound).sum())
        drawn += _DRAWS
        if hits >= 20:
            break
    return (1 + hits) / (1 + drawn)


@lru_cache(maxsize=32)
def _signs(n: int, block: int) -> ndarray:
    """All patterns of n signs up to their reversal (block 0), or a block of drawn ones, as -1 and 1 in int8."""
    if not block:
        return (1 - 2 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1)).astype(np.int8)
    return np.random.default_rng(block).choice(np.array([-1, 1], np.int8), (_DRAWS, n))


def mcnemar(before: Numbers, after: Numbers) -> Flips:
    """McNemar's exact test of right and wrong answers to the same items: only the items that flipped count.

    Raises:
        ValueError: different lengths, or no items.
    """
    x, y = _answers(before, after)
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


def auroc_interval(positive: Numbers, negative: Numbers, confidence: float = 0.95) -> Estimate:
    """`auroc` with DeLong's interval (1988) on the logit scale, which stays within 0 and 1.

    A separation without a single error has no variance by that formula; its interval is Wilson's for as many trials as
    the smaller side has values.

    Raises:
        ValueError: a side has fewer than two values, or holds NaN or infinity.
    """
    x, y = _row(positive, "positive"), _row(negative, "negative")
    if min(len(x), len(y)) < 2:
        raise ValueError(f"An interval takes two values on either side; got {len(x)} and {len(y)}.")
    # For each value the share of the other side that it is on the right side of, ties counting half.
    above = (_below(y, x) / len(y), 1 - _below(x, y) / len(x))
    area = float(above[0].mean())
    spread = math.sqrt(sum(float(one.var(ddof=1)) / len(one) for one in above))
    if not 0 < area < 1 or not spread:
        n = min(len(x), len(y))
        return Estimate(area, *wilson(round(area * n), n, confidence)[1:]) if area in (0, 1) else Estimate(area, 0, 1)
    z = float(stats.norm.ppf(0.5 + _confidence(confidence) / 2))
    middle, reach = math.log(area / (1 - area)), z * spread / (area * (1 - area))
    return Estimate(area, *(1 / (1 + math.exp(-min(max(end, -700), 700))) for end in (middle - reach, middle + reach)))


def _below(sample: ndarray, values: ndarray) -> ndarray:
    """How many of a sample are below each value, ties counting half."""
    ordered = np.sort(sample)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def correlation(one: Numbers, other: Numbers, confidence: float = 0.95) -> Estimate:
    """Pearson's correlation of paired numbers with Fisher's interval; 0 between -1 and 1 where a side does not vary.

    Raises:
        ValueError: different lengths, fewer than four pairs, or NaN or infinity.
    """
    x, y = _pair(one, other)
    if len(x) < 4:
        raise ValueError(f"A correlation's interval takes four pairs of numbers; got {len(x)}.")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Estimate(0.0, -1.0, 1.0)
    r = float(np.clip(np.corrcoef(x, y)[0, 1], -1 + 1e-12, 1 - 1e-12))
    reach = float(stats.norm.ppf(0.5 + _confidence(confidence) / 2)) / math.sqrt(len(x) - 3)
    return Estimate(r, math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach))


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


def detectable_share(n: int, level: float = LEVEL) -> float:
    """The smallest change of a share that McNemar's test of n items finds at that level with POWER: all flips one way.

    infinity where n items cannot find any. Flips in both directions make the detectable change larger.
    """
    needed = max(1, math.ceil(1 - math.log2(level)))  # flips one way: their p is 2^(1 - flips)
    if needed > n:
        return math.inf
    # P(at least `needed` of n) = POWER, by the beta distribution of the share.
    return float(stats.beta.ppf(POWER, needed, n - needed + 1))


@lru_cache(maxsize=1024)
def detectable_effect(n: int, level: float = LEVEL) -> float:
    """The smallest mean difference that a paired test of n items finds at that level with POWER.

    In units of the standard deviation of the differences.
    """
    if n <= 2:
        return math.inf
    # Of few items and a strict level the solver finds nothing, and hands back where it began, as an array.
    found = float(np.ravel(TTestPower().solve_power(nobs=n, alpha=level, power=POWER))[0])
    return found if abs(float(TTestPower().power(found, n, level)) - POWER) < 0.01 else math.inf


def verdict(
    change: float, adjusted: float | None, n: int, *, better: str = "", controls: Numbers = (), unread: float = 0.0
) -> str:
    """What a comparison supports, in one word or two. Every page and report uses these.

    Args:
        adjusted: the p-value adjusted over all comparisons of the report (`holm`), or None where none was made.
        n: how many items were compared.
        better: "higher" or "lower" where a direction is good.
        controls: the same change under random controls; one that is as large leaves nothing to claim.
        unread: the share of answers that could not be read.
    """
    if n < MIN_ITEMS:
        return f"too few items (under {MIN_ITEMS})"
    if unread > MAX_UNREAD:
        return "too many answers unread"
    if adjusted is None or adjusted >= LEVEL or change == 0:
        return "no clear change"
    if len(controls) and max(abs(one) for one in controls) >= abs(change):
        return "within the controls"
    if not better:
        return "changed"
    return "better" if (change > 0) == (better == "higher") else "worse"


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


def _answers(before: Numbers, after: Numbers) -> tuple[ndarray, ndarray]:
    x, y = _pair(before, after)
    if not (np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all()):
        raise ValueError("Paired answers are right or wrong, True or False; got other numbers.")
    return x, y
