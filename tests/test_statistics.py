"""Intervals and tests: by hand, by their definitions, and by how often they are right."""

import numpy as np
import pytest
from reference import measures as reference
from scipy.stats import binom, ttest_1samp

from steering import statistics
from steering.statistics import (
    MIN_ITEMS,
    auroc,
    auroc_interval,
    bootstrap,
    correlation,
    detectable_effect,
    detectable_share,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_shares,
    sign_flip,
    verdict,
    wilson,
)


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


N = (5, 10, 20, 60)


@pytest.mark.parametrize("n", N)
@pytest.mark.parametrize("kind", ["normal", "laplace", "exponential", "uniform"])
def test_intervals_of_means_hold_for_few_items(n: int, kind: str) -> None:
    """Between 93 and 97% of 4,000 draws: symmetric, heavy-tailed, skewed and bounded values."""
    rng = np.random.default_rng(1)
    values = getattr(rng, kind)(size=(4000, n))
    true = {"normal": 0.0, "laplace": 0.0, "exponential": 1.0, "uniform": 0.5}[kind]
    low, high = statistics._studentized(values, 0.95, 1000, 0)
    mean, spread = values.mean(1), values.std(1, ddof=1)
    held = ((mean - high * spread <= true) & (true <= mean - low * spread)).mean()
    print(f"{kind}, n = {n}: {held:.3f}")
    assert 0.93 <= held <= 0.97
    one = bootstrap(values[0], draws=1000)
    assert (one.low, one.high) == pytest.approx(((mean - high * spread)[0], (mean - low * spread)[0]))


@pytest.mark.parametrize("n", N)
def test_intervals_of_changes_of_shares_hold_for_few_items(n: int) -> None:
    """Over every table of answers: both right, gained, lost, both wrong, with any chances."""
    rng = np.random.default_rng(1)
    chances = rng.dirichlet([1, 1, 1, 1], size=10_000)  # every table is as likely
    counts = rng.multinomial(n, chances).astype(float)
    low, high = statistics._newcombe(counts, 0.95)
    true = chances[:, 1] - chances[:, 2]
    held = ((low <= true) & (true <= high)).mean()
    print(f"n = {n}: {held:.3f}")
    assert 0.93 <= held <= 0.97
    both, gained, lost, neither = counts[0].astype(int)
    one = paired_shares(
        [1] * both + [0] * gained + [1] * lost + [0] * neither, [1] * (both + gained) + [0] * (n - both - gained)
    )
    assert (one.low, one.high) == pytest.approx((low[0], high[0]))


def test_newcombe_by_his_own_example() -> None:
    """Newcombe (1998), table II: 36, 12, 2, 0 of 50 and 53, 0, 0, 1 of 54 give these intervals by method 10."""

    def answers(both: int, gained: int, lost: int, neither: int) -> tuple[list[int], list[int]]:
        before = [1] * both + [0] * gained + [1] * lost + [0] * neither
        return before, [1] * both + [1] * gained + [0] * lost + [0] * neither

    found = paired_shares(*answers(36, 12, 2, 0))
    assert found.value == pytest.approx(0.2) and (found.low, found.high) == pytest.approx((0.0569, 0.3404), abs=2e-4)
    back = paired_shares(*reversed(answers(36, 12, 2, 0)))
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    assert paired_shares([1, 0], [1, 0]).value == 0 and paired_shares([0] * 5, [1] * 5).high == 1


def test_sign_flips_by_hand() -> None:
    """Of (3, 1, 1) with any signs, 2 of 8 sums are 5 or -5 and 6 of 8 at least 3 away from 0; zeros change nothing."""
    assert sign_flip([3, 1, 1]) == sign_flip([3, 0, 1, 1, 0]) == 0.25
    assert sign_flip([3, -1, 1]) == sign_flip([-3, 1, -1]) == 0.75
    assert sign_flip([0.0, 0.0]) == 1.0
    assert sign_flip([0.1] * 6) == 2 / 2**6
    # Of equal differences it is the coin's: 16 of 20 up.
    assert sign_flip([1] * 16 + [-1] * 4) == pytest.approx(mcnemar([0] * 16 + [1] * 4, [1] * 16 + [0] * 4).p, rel=0.15)
    assert sign_flip(np.ones(40)) < 1e-5


@pytest.mark.parametrize("kind", ["normal", "standard_cauchy"])
def test_sign_flips_are_right_as_often_as_they_say(kind: str) -> None:
    rng = np.random.default_rng(0)
    p = np.array([sign_flip(row) for row in getattr(rng, kind)(size=(600, 9))])
    assert all((p <= level).mean() <= level + 2.5 * (level / 600) ** 0.5 for level in (0.01, 0.05, 0.2))


def test_what_n_items_can_find() -> None:
    """60 items, level 0.05: 6 flips one way have p = 0.031, and 6 or more of 60 happen in 80% at a share of 12.7%."""
    share = detectable_share(60)
    assert 1 - binom.cdf(5, 60, share) == pytest.approx(0.8)
    assert mcnemar([0] * 6, [1] * 6).p < 0.05 < mcnemar([0] * 5, [1] * 5).p
    assert detectable_share(5) == np.inf and detectable_share(6) < 1
    assert detectable_share(60, 0.05 / 100) > share > detectable_share(240)
    rng, effect = np.random.default_rng(0), detectable_effect(20)
    found = [ttest_1samp(rng.normal(effect, 1, 20), 0).pvalue < 0.05 for _ in range(1000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)
    # Where no effect is large enough for so few items, or the solver does not get there, nothing is promised.
    assert all(isinstance(detectable_effect(n, 1e-5), float) for n in (2, 3, 4, 8, 40))


def test_one_place_says_what_a_comparison_supports() -> None:
    assert verdict(0.5, 0.01, 20, better="higher") == "better" == verdict(-0.5, 0.01, 20, better="lower")
    assert verdict(-0.5, 0.01, 20, better="higher") == "worse"
    assert verdict(0.5, 0.01, 20) == "changed"
    assert verdict(0.5, 0.06, 20, better="higher") == verdict(0.5, None, 20) == "no clear change"
    assert verdict(0.5, 0.01, 20, controls=(-0.5, 0.1)) == "within the controls"
    assert "too few items" in verdict(0.5, 1e-9, MIN_ITEMS - 1)
    assert "unread" in verdict(0.5, 1e-9, 20, unread=0.11) and verdict(0.5, 1e-9, 20, unread=0.1) == "changed"


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
        (lambda: holm([0.5, 1.5]), "between 0 and 1; got 0.5 to 1.5"),
        (lambda: holm([-0.5, 0.5]), "between 0 and 1; got -0.5 to 0.5"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_module_is_ours() -> None:
    assert statistics.__name__ == "steering.statistics"  # the standard library has one of this name


def test_an_area_with_its_interval() -> None:
    """By hand: 3 and 1 against 2 and 0 win 3 of 4; shares (1, 0.5) on either side, so the variance is 2 * 0.125 / 2."""
    found = auroc_interval([3, 1], [2, 0])
    spread = np.sqrt(0.125)
    ends = np.log(3) + np.array([-1, 1]) * 1.959964 * spread / (0.75 * 0.25)
    assert found == pytest.approx((0.75, *(1 / (1 + np.exp(-ends)))), abs=1e-6)
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.5, 1, 40).round(1), rng.normal(0, 1, 30).round(1)
    assert auroc_interval(x, y).value == pytest.approx(auroc(x, y))
    swapped = auroc_interval(y, x)
    assert swapped.low == pytest.approx(1 - auroc_interval(x, y).high)
    assert auroc_interval(range(10, 20), range(10))[:2] == pytest.approx((1.0, wilson(10, 10).low))
    assert auroc_interval([1, 1], [1, 1]) == (0.5, 0, 1)
    with pytest.raises(ValueError, match="two values on either side; got 1 and 2"):
        auroc_interval([1], [1, 2])


def test_the_area_s_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    true = 0.7602  # of normal values one standard deviation apart: Phi(1 / sqrt 2)
    held = 0
    for _ in range(600):
        _, low, high = auroc_interval(rng.normal(1, 1, 30), rng.normal(0, 1, 60))
        held += low <= true <= high
    assert 0.92 < held / 600 < 0.975


def test_correlation_by_hand_and_where_nothing_varies() -> None:
    """r = 0.8 for (1, 2, 3, 4) and (1, 3, 2, 4); Fisher's interval of four pairs is tanh(atanh 0.8 +- 1.96)."""
    found = correlation([1, 2, 3, 4], [1, 3, 2, 4])
    assert found == pytest.approx((0.8, *np.tanh(np.arctanh(0.8) + np.array([-1, 1]) * 1.959964)), abs=1e-6)
    assert correlation([1, 1, 1, 1], [1, 2, 3, 4]) == (0, -1, 1)
    assert correlation([1, 2, 3, 4], [2, 4, 6, 8]).value == pytest.approx(1)
    with pytest.raises(ValueError, match="four pairs of numbers; got 3"):
        correlation([1, 2, 3], [1, 2, 3])
