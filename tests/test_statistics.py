"""Intervals and tests: by hand, by their definitions, and by how often they are right."""

import numpy as np
import pytest
from reference import measures as reference
from scipy.stats import binom

from steering import statistics
from steering.statistics import auroc, bootstrap, cohen_d, holm, mcnemar, paired_bootstrap, wilson


def test_wilson_by_hand() -> None:
    """0 of n: low is 0 and high is z^2 / (n + z^2) = 3.8415 / 13.8415 = 0.2775 for n = 10."""
    share = wilson(0, 10)
    assert (share.value, share.low) == (0.0, 0.0)
    assert share.high == pytest.approx(0.27753, abs=1e-4)


@pytest.mark.parametrize(("k", "n"), [(0, 3), (1, 1), (7, 20), (50, 100), (999, 1000)])
def test_wilson_is_the_papers(k: int, n: int) -> None:
    share = wilson(k, n)
    assert (share.low, share.high) == pytest.approx(reference.wilson(k, n), abs=1e-9)
    assert 0 <= share.low <= share.value <= share.high <= 1
    assert wilson(n - k, n).low == pytest.approx(1 - share.high)
    assert wilson(k, n, confidence=0.99).high >= share.high


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    shares = [wilson(k, 40) for k in range(41)]
    coverage = [
        sum(binom.pmf(k, 40, p) for k, (_, low, high) in enumerate(shares) if low <= p <= high)
        for p in np.linspace(0.05, 0.95, 91)
    ]
    assert 0.94 < np.mean(coverage) < 0.97 and min(coverage) > 0.88
    g = np.random.default_rng(0)
    resampled = [bootstrap(g.exponential(size=60), draws=300, seed=i) for i in range(150)]
    assert 0.87 < np.mean([low <= 1.0 <= high for _, low, high in resampled]) <= 0.99


def test_the_bootstrap_is_close_to_the_plain_one() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=100)
    found = bootstrap(values, draws=4000)
    assert (found.low, found.high) == pytest.approx(reference.percentile_bootstrap(values, 4000, 5), abs=0.08)
    assert found.value == pytest.approx(values.mean())
    assert bootstrap(values) == bootstrap(values) != bootstrap(values, seed=1)
    # A normal mean's interval is z wide on each side: z = 0.674 for a half, 1.96 for 95 %.
    half = bootstrap(values, 0.5, draws=4000)
    assert (half.high - half.low) / (found.high - found.low) == pytest.approx(0.674 / 1.96, rel=0.1)


def test_paired_is_narrower_than_what_items_differ_by() -> None:
    """Items differ by 10, the effect is 0.5 with noise 0.1: paired it is clear, and its sign is after - before."""
    g = np.random.default_rng(0)
    before = g.normal(0, 10, size=50)
    after = before + 0.5 + g.normal(0, 0.1, size=50)
    found = paired_bootstrap(before, after)
    assert 0.4 < found.low < found.value < found.high < 0.6
    assert paired_bootstrap(after, before).value == pytest.approx(-found.value)
    assert paired_bootstrap(before, after, 0.5, 300, 7) == bootstrap(after - before, 0.5, 300, 7)
    assert paired_bootstrap([1, 2, 3], [2, 3, 4]) == (1.0, 1.0, 1.0)


def test_mcnemar_by_hand() -> None:
    """5 flips, all to the better: p = 2 / 2^5 = 0.0625. 30 items that did not flip change nothing."""
    before, after = [False] * 5 + [True] * 30, [True] * 35
    assert mcnemar(before, after) == (5, 0, 0.0625)
    assert mcnemar(after, before) == (0, 5, 0.0625)
    assert mcnemar([True, False], [True, False]) == (0, 0, 1.0)


@pytest.mark.parametrize(("gained", "lost"), [(1, 0), (3, 3), (10, 2), (0, 9), (40, 25)])
def test_mcnemar_is_the_coins(gained: int, lost: int) -> None:
    before, after = [0] * gained + [1] * lost, [1] * gained + [0] * lost
    assert mcnemar(before, after).p == pytest.approx(reference.mcnemar(gained, lost))


def test_auroc_by_hand() -> None:
    """Pairs (3, 1) (3, 2) (2, 1) are won and (2, 2) is a tie: 3.5 of 4."""
    assert auroc([3, 2], [1, 2]) == 0.875
    assert auroc([1, 1], [1, 1]) == 0.5
    g = np.random.default_rng(0)
    x, y = g.integers(0, 9, 30) + 1.0, g.integers(0, 9, 40) + 0.0
    assert auroc(x, y) == pytest.approx(reference.auroc(x.tolist(), y.tolist()))
    assert auroc(y, x) == pytest.approx(1 - auroc(x, y))


def test_cohen_d_by_hand() -> None:
    """Means 3 and 1; variances 1 and 1, pooled 1: d = 2. Twice the data spread, half the d."""
    assert cohen_d([2, 3, 4], [0, 1, 2]) == 2.0
    assert cohen_d([1, 3, 5], [-1, 1, 3]) == 1.0
    # Unequal sizes: ((3 - 1) 1 + (2 - 1) 8) / 3 = 10 / 3, d = (3 - 2) / sqrt(10 / 3)
    assert cohen_d([2, 3, 4], [0, 4]) == pytest.approx(1 / (10 / 3) ** 0.5)


def test_holm() -> None:
    """0.01 x 3 = 0.03, 0.02 x 2 = 0.04, and 0.03 x 1 = 0.03 may not be below the one before: 0.04."""
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    p = np.random.default_rng(0).random(12).tolist()
    assert holm(p) == pytest.approx(reference.holm(p))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(3, 2), "got 3 of 2"),
        (lambda: wilson(0, 0), "got 0 of 0"),
        (lambda: wilson(-1, 2), "got -1 of 2"),
        (lambda: wilson(1, 2, confidence=95), "between 0 and 1, such as 0.95; got 95"),
        (lambda: bootstrap([1.0]), "at least two values; got 1"),
        (lambda: bootstrap(np.ones((2, 2))), r"one row of numbers, at least one; got shape \(2, 2\)"),
        (lambda: bootstrap([1.0, float("nan")]), "finite numbers; 1 of 2 are not"),
        (lambda: paired_bootstrap([1, 2], [1, 2, 3]), "got 2 before and 3 after"),
        (lambda: mcnemar([True], [True, False]), "got 1 before and 2 after"),
        (lambda: mcnemar([0.5, 1], [1, 1]), "right or wrong"),
        (lambda: mcnemar([], []), "at least one"),
        (lambda: auroc([], [1]), "at least one"),
        (lambda: cohen_d([1, 1], [1, 1]), "there is none"),
        (lambda: cohen_d([1], [1, 2]), "at least two values a side; got 1 and 2"),
        (lambda: cohen_d([1, 2], [1]), "at least two values a side; got 2 and 1"),
        (lambda: holm([0.5, 1.5]), "between 0 and 1; got 0.5 to 1.5"),
        (lambda: holm([-0.5, 0.5]), "between 0 and 1; got -0.5 to 0.5"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_module_is_ours() -> None:
    assert statistics.__name__ == "steering.statistics"  # the standard library has one of this name
