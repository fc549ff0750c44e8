"""How far pairs agree: by hand, against naive loops, and the laws of what is held out."""

from __future__ import annotations

import numpy as np
import pytest

from steering.directions import agreement, estimators
from steering.directions.agreement import contrasts, cosines, held_out


def sides(n: int = 30, width: int = 12, signal: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    v = np.zeros(width)
    v[0] = signal
    base = rng.normal(size=(n, width)) * 2
    return base + v + 0.5 * rng.normal(size=(n, width)), base - v + 0.5 * rng.normal(size=(n, width))


def test_agreement_by_hand() -> None:
    # Differences (1, 0), (0, 1), (1, 1). The first against the mean of the others, (0.5, 1): 0.5 / sqrt(1.25) = 0.447.
    found = agreement.agreement(np.array([[1.0, 0], [0, 1], [1, 1]]), np.zeros((3, 2)))
    r = 0.5**0.5
    np.testing.assert_allclose(found.cosines, [[1, 0, r], [0, 1, r], [r, r, 1]], atol=1e-12)
    assert found.others[0] == pytest.approx(0.5 / 1.25**0.5)
    assert found.mean_cosine == pytest.approx(2 * r / 3)


def test_the_cone_by_hand() -> None:
    """Of (1, 0) and (0, 1) two are drawn: both, whose mean is the set's own, or one twice, 45 degrees beside it."""
    cone = agreement.agreement(np.eye(2), np.zeros((2, 2)), draws=400).cone
    assert set(cone.round(3)) == {0.0, 45.0}
    assert 0.4 < (cone > 1).mean() < 0.6


def test_the_cone_narrows_with_more_pairs_and_widens_with_noise() -> None:
    few, many = (np.median(agreement.agreement(*sides(n)).cone) for n in (8, 200))
    noise = np.median(agreement.agreement(*sides(200, signal=0.01)).cone)
    assert many < few < 90 and noise > 2 * many


def test_a_swapped_pair_is_an_outlier() -> None:
    p, q = sides()
    p[4], q[4] = q[4].copy(), p[4].copy()
    assert agreement.agreement(p, q).outliers == [4]


@pytest.mark.parametrize(
    ("others", "outliers"),
    [
        ([0.2, 0.8, 0.8, 0.9, 0.9], [0]),  # median 0.8, deviations 0.6 0 0 .1 .1: below 0.8 - 3 x 1.4826 x 0.1 = 0.36
        ([0.4, 0.8, 0.8, 0.9, 0.9], []),
        ([-0.1, 0.2, 0.5, 0.8, 0.9], [0]),  # not below 0.5 - 3 x 1.4826 x 0.3 = -0.83, but against the others
        ([-0.5, -0.5], []),  # of two, neither is the strange one
    ],
)
def test_outliers_by_hand(others: list[float], outliers: list[int]) -> None:
    assert agreement.Agreement(np.eye(len(others)), np.array(others), np.zeros(1)).outliers == outliers


def test_what_is_held_out_by_hand() -> None:
    """Positive sides 3 and 2, negative sides 1 and 2.5: 3 is above both, 2 above 1 only and below its own."""
    found = agreement.HeldOut(np.array([3.0, 2.0]), np.array([1.0, 2.5]))
    assert found.auroc == 0.75 and found.right.tolist() == [True, False]


def test_groups_are_asked_for_or_one_for_each_pair_or_ten() -> None:
    p, q = sides(30)
    fit = estimators.mean_difference
    for asked, same in (((fit,), {"folds": 30}), ((estimators.pca,), {"folds": 10})):
        np.testing.assert_allclose(held_out(p, q, *asked).positive, held_out(p, q, *asked, **same).positive)
    two = held_out(p, q, fit, folds=2).positive
    assert not np.allclose(two, held_out(p, q, fit).positive)
    assert not np.allclose(two, held_out(p, q, fit, folds=2, seed=1).positive)


def test_held_out_leaves_the_pair_out() -> None:
    p, q = sides(10)
    found = held_out(p, q)
    for i in range(10):
        others = [j for j in range(10) if j != i]
        v = p[others].mean(0) - q[others].mean(0)
        middle, half = (p[others].mean(0) + q[others].mean(0)) @ v / 2, (p[others].mean(0) - q[others].mean(0)) @ v / 2
        assert found.positive[i] == pytest.approx((p[i] @ v - middle) / half)
        assert found.negative[i] == pytest.approx((q[i] @ v - middle) / half)


@pytest.mark.parametrize("fit", agreement.FITS.values())
def test_signal_is_found_and_noise_is_not(fit: agreement.Fit) -> None:
    p, q = sides(40)
    assert held_out(p, q, fit).auroc > 0.8 and held_out(p, q, fit).right.mean() > 0.95
    # In 300 dimensions 40 pairs of pure noise are told apart by a direction that has seen them.
    rng, found = np.random.default_rng(2), []
    for _ in range(6):
        p, q = rng.normal(size=(2, 40, 300))
        if fit is not estimators.pca:
            assert (p @ fit(p, q) > q @ fit(p, q)).mean() > 0.95
        found.append(held_out(p, q, fit, folds=10).auroc)
    assert 0.4 < np.mean(found) < 0.6


def test_the_order_of_pairs_and_a_rotation_change_nothing() -> None:
    p, q = sides(12)
    Q = np.linalg.qr(np.random.default_rng(3).normal(size=(12, 12)))[0]
    a, b = agreement.agreement(p, q), agreement.agreement(p @ Q, q @ Q)
    np.testing.assert_allclose(a.others, b.others, atol=1e-9)
    np.testing.assert_allclose(a.cone, b.cone, atol=1e-5)
    flipped = agreement.agreement(p[::-1], q[::-1])
    np.testing.assert_allclose(a.others, flipped.others[::-1], atol=1e-12)
    np.testing.assert_allclose(held_out(p, q).positive, held_out(p[::-1], q[::-1]).positive[::-1], atol=1e-9)


def test_contrasts_are_the_estimators() -> None:
    p, q = sides()
    found = contrasts(p, q)
    assert list(found) == ["mean_difference", "pca", "probe", "lda"]
    v = estimators.mean_difference(p, q)
    np.testing.assert_allclose(found["mean_difference"], v / np.linalg.norm(v))
    matrix = cosines(np.stack(list(found.values())))
    np.testing.assert_allclose(np.diag(matrix), 1)
    assert (matrix > 0).all()
    # One pair has no spread within a side, so lda is left out and the others are still compared.
    assert list(contrasts(np.array([[1.0, 0.0]]), np.zeros((1, 2)))) == ["mean_difference", "pca", "probe"]


def test_one_pair_cannot_agree() -> None:
    with pytest.raises(ValueError, match="at least two pairs"):
        agreement.agreement(np.ones((1, 3)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="at least two pairs"):
        held_out(np.ones((1, 3)), np.zeros((1, 3)))
