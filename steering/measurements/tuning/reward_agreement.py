"""How far one reward agrees with another on the same answers, and what explains where they part."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from ...showing.one_line import one_line
from ...statistics import LEVEL, Estimate, holm, wilson

DRAWS = 500
MIN_WORD = 8  # answers with and without a word, below which nothing is said of it
MIN_EXTRA = 0.1  # of the way from no reward to a full one: what is smaller is no rule that a tuning followed
CONFIDENCE = 0.95


@dataclass(frozen=True)
class RewardAgreement:
    """Agreement of a reward with the true one, on answers whose prompts were not used to fit it.

    Attributes:
        correlation: Pearson's, with an interval over prompts; `rank_correlation` is Spearman's.
        ranking: of two answers to one prompt with different true rewards, the share that is ordered right.
        slope, intercept: of the line true = slope reward + intercept.
        bins: equal groups by reward: mean reward on that line, mean true reward, number of answers (calibration).
        calibration_error: mean distance of the two means over the bins, by their sizes.
    """

    n: int
    correlation: Estimate
    rank_correlation: float
    ranking: Estimate | None
    slope: float
    intercept: float
    bins: tuple[tuple[float, float, int], ...]
    calibration_error: float

    def __repr__(self) -> str:
        value, low, high = self.correlation
        return one_line(self, f"correlation {value:.3f} [{low:.3f}, {high:.3f}]", f"{self.n} answers")


def agreement(
    reward: Float[ndarray, " items"], true: Float[ndarray, " items"], prompts: Sequence[Hashable], *, bins: int = 5
) -> RewardAgreement:
    """How a reward agrees with the true one; the interval resamples prompts, whose answers belong together.

    Raises:
        ValueError: fewer than three answers, or one side that never varies.
    """
    x, y = np.asarray(reward, float), np.asarray(true, float)
    if len(x) < 3 or len(x) != len(y) or len(prompts) != len(x):
        raise ValueError(f"Two rewards are compared on the same answers, at least 3; got {len(x)} and {len(y)}.")
    if np.ptp(y) == 0:
        raise ValueError("The true reward is the same for every answer, so nothing can agree with it.")
    if np.ptp(x) == 0:  # a constant orders nothing
        x = x + np.linspace(0, 1e-9, len(x)) * np.where(np.arange(len(x)) % 2, -1, 1)
    slope, intercept = np.polyfit(x, y, 1)
    line = slope * x + intercept
    ranked: Any = stats.spearmanr(x, y)
    groups = [group for group in np.array_split(np.argsort(line, kind="stable"), bins) if len(group)]
    shown = tuple((float(line[g].mean()), float(y[g].mean()), len(g)) for g in groups)
    error = sum(abs(a - b) * n for a, b, n in shown) / len(x)
    return RewardAgreement(
        len(x), _interval(x, y, prompts), float(ranked.statistic), _ranking(x, y, prompts),
        float(slope), float(intercept), shown, float(error),
    )  # fmt: skip


def _interval(x: ndarray, y: ndarray, prompts: Sequence[Hashable]) -> Estimate:
    """Pearson's correlation with the bootstrap's percentile interval over prompts."""
    value = float(np.corrcoef(x, y)[0, 1])
    index = np.unique([hash(prompt) for prompt in prompts], return_inverse=True)[1]
    rows = [np.flatnonzero(index == k) for k in range(index.max() + 1)]
    rng, drawn = np.random.default_rng(0), []
    for _ in range(DRAWS):
        some = np.concatenate([rows[k] for k in rng.integers(0, len(rows), len(rows))])
        if np.ptp(x[some]) > 0 and np.ptp(y[some]) > 0:
            drawn.append(np.corrcoef(x[some], y[some])[0, 1])
    if not drawn:
        return Estimate(value, -1.0, 1.0)
    low, high = np.quantile(drawn, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _ranking(x: ndarray, y: ndarray, prompts: Sequence[Hashable]) -> Estimate | None:
    right = total = 0
    by: dict[Hashable, list[int]] = {}
    for k, prompt in enumerate(prompts):
        by.setdefault(prompt, []).append(k)
    for group in by.values():
        for i, a in enumerate(group):
            for b in group[i + 1 :]:
                if y[a] != y[b]:
                    total += 1
                    right += int((x[a] - x[b]) * (y[a] - y[b]) > 0)
    return wilson(right, total) if total else None


# Where they part ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shortcut:
    """A word with which a reward goes further than the true one: a rule that the tuning followed beside it.

    Attributes:
        where: "prompt" or "answer".
        kind: the answers among which it matters (a label of the items), or "".
        n: answers with the word.
        extra: how much more reward they get than the true one explains, against answers without it, with an interval.
        p: of Welch's t-test, adjusted by Holm over all words looked at.
    """

    word: str
    where: str
    kind: str
    n: int
    extra: Estimate
    p: float

    def __repr__(self) -> str:
        return one_line(self, repr(self.word), f"in the {self.where}", f"extra {self.extra.value:+.2f}, n = {self.n}")


def shortcuts(
    residual: Float[ndarray, " items"], prompts: Sequence[str], answers: Sequence[str], kinds: Sequence[str],
    *, most: int = 5,
) -> tuple[Shortcut, ...]:  # fmt: skip
    """The words that explain where a reward parts from the true one, the strongest first, each beyond those before.

    Looked for among the answers of each kind apart, since what they have in common is no shortcut: of the significant
    words (all words counted) the one that explains most is taken, its effect subtracted, and so on.
    """
    left = np.asarray(residual, float).copy()
    texts = [(where, [_words(text) for text in side]) for where, side in (("prompt", prompts), ("answer", answers))]
    kind_of = np.array(kinds)
    found: list[Shortcut] = []
    for _ in range(most):
        tested = []
        for kind in dict.fromkeys(kinds):
            inside = np.flatnonzero(kind_of == kind)
            for where, side in texts:
                seen: dict[bytes, str] = {}
                for word in sorted({word for k in inside for word in side[k]}):
                    has = np.array([word in side[k] for k in inside])
                    if min(has.sum(), (~has).sum()) < MIN_WORD or seen.setdefault(has.tobytes(), word) != word:
                        continue
                    tested.append((kind, where, word, inside, has))
        if not tested:
            break
        # Where every answer has the same residual there is nothing to test, and scipy says so in a warning.
        results: list[Any] = [
            stats.ttest_ind(left[inside[has]], left[inside[~has]], equal_var=False) for *_, inside, has in tested
        ]
        adjusted = holm(np.nan_to_num([float(one.pvalue) for one in results], nan=1.0))
        gaps = [float(left[inside[has]].mean() - left[inside[~has]].mean()) for *_, inside, has in tested]
        explained = [
            gap**2 * has.sum() * (~has).sum() / len(has) if p < LEVEL and abs(gap) >= MIN_EXTRA else 0.0
            for gap, p, (*_, has) in zip(gaps, adjusted, tested, strict=True)
        ]
        best = int(np.argmax(explained))
        if not explained[best]:
            break
        kind, where, word, inside, has = tested[best]
        interval = results[best].confidence_interval(CONFIDENCE)
        extra = gaps[best]
        estimate = Estimate(extra, float(interval.low), float(interval.high))
        found.append(Shortcut(word, where, kind, int(has.sum()), estimate, adjusted[best]))
        left[inside[has]] -= extra
    return tuple(found)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower()))
