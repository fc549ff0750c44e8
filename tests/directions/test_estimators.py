"""Contrasts on arrays: the laws, examples by hand, the papers written out, and the trap of a centered PCA."""

from collections.abc import Callable

import numpy as np
import pytest
from reference import contrasts as reference
from sklearn.decomposition import PCA

from steering.directions import estimators

Fit = Callable[[np.ndarray, np.ndarray], np.ndarray]
ALL = [estimators.mean_difference, estimators.pca, estimators.probe, estimators.lda]


def data(
    pairs: int = 60, width: int = 8, seed: int = 0, shift: float = 2.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs that share a topic of their own and differ by `shift` along one direction plus noise."""
    g = np.random.default_rng(seed)
    true = g.normal(size=width)
    true /= np.linalg.norm(true)
    topic = 3 * g.normal(size=(pairs, width))
    noise = lambda: 0.5 * g.normal(size=(pairs, width))  # noqa: E731
    return topic + shift / 2 * true + noise(), topic - shift / 2 * true + noise(), true


@pytest.fixture(params=ALL, ids=lambda fit: fit.__name__)
def fit(request: pytest.FixtureRequest) -> Fit:
    return request.param


@pytest.mark.parametrize("pairs", [60, 5])  # more pairs than channels, and fewer
def test_turning_the_activations_turns_the_direction(fit: Fit, pairs: int) -> None:
    positive, negative, _ = data(pairs)
    Q = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    np.testing.assert_allclose(fit(positive @ Q, negative @ Q), fit(positive, negative) @ Q, atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_the_positive_side_is_higher(fit: Fit, seed: int) -> None:
    positive, negative, _ = data(seed=seed)
    v = fit(positive, negative)
    assert (positive @ v).mean() > (negative @ v).mean()


def test_swapping_the_labels_turns_it_around(fit: Fit) -> None:
    positive, negative, _ = data()
    np.testing.assert_allclose(fit(negative, positive), -fit(positive, negative), atol=1e-6)


def test_the_order_of_pairs_does_not_matter(fit: Fit) -> None:
    positive, negative, _ = data()
    order = np.random.default_rng(2).permutation(len(positive))
    np.testing.assert_allclose(fit(positive[order], negative[order]), fit(positive, negative), atol=1e-6)


def test_it_finds_what_was_put_in(fit: Fit) -> None:
    positive, negative, true = data(pairs=400)
    v = fit(positive, negative)
    # lda sees the topics as spread within a side and needs more pairs for the same angle
    assert v @ true / np.linalg.norm(v) > (0.8 if fit is estimators.lda else 0.98)


def test_all_but_the_mean_difference_have_length_one(fit: Fit) -> None:
    positive, negative, _ = data()
    length = np.linalg.norm(fit(positive, negative))
    assert length == pytest.approx(1.0) or (fit is ALL[0] and length == pytest.approx(2.0, abs=0.3))


def test_the_mean_difference_is_the_mean_of_the_differences() -> None:
    positive, negative, _ = data()
    v = estimators.mean_difference(positive, negative)
    np.testing.assert_allclose(v, (positive - negative).mean(0), atol=1e-12)


def test_small_differences_of_large_numbers_survive() -> None:
    """In float32 1e6 + 1e-3 is 1e6, and the mean of differences would be 0."""
    negative = np.full((4, 2), 1e6)
    v = estimators.mean_difference(negative + np.array([1e-3, 0.0]), negative)
    np.testing.assert_allclose(v, [1e-3, 0.0], rtol=1e-5)


# By hand ------------------------------------------------------------------------------------------------------------


def test_mean_difference_by_hand() -> None:
    """mean of (1, 2) and (3, 0) is (2, 1); of (0, 0) and (0, 2) it is (0, 1); the difference is (2, 0)."""
    v = estimators.mean_difference(np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 2.0]]))
    np.testing.assert_allclose(v, [2.0, 0.0])


def test_pca_by_hand() -> None:
    """Differences (3, 4) and (6, 8) lie on one line, so v = (3, 4) / 5; swapped labels give -(3, 4) / 5."""
    positive, negative = np.array([[3.0, 4.0], [6.0, 8.0]]), np.zeros((2, 2))
    np.testing.assert_allclose(estimators.pca(positive, negative), [0.6, 0.8])
    np.testing.assert_allclose(estimators.pca(negative, positive), [-0.6, -0.8])


def test_probe_by_hand() -> None:
    """All differences are (2, 0): the second weight is never rewarded and the penalty keeps it at 0, so v = (1, 0)."""
    negative = np.array([[1.0, 5.0], [4.0, -2.0]])
    np.testing.assert_allclose(estimators.probe(negative + np.array([2.0, 0.0]), negative), [1.0, 0.0], atol=1e-9)


def test_lda_by_hand() -> None:
    """Both sides spread as the corners of a square, S = I, for which every shrinkage is I: v = (1, 1) / sqrt 2."""
    corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    v = estimators.lda(corners + 3.0, corners)
    np.testing.assert_allclose(v, [0.5**0.5, 0.5**0.5])


# Against the papers, written out ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [60, 5])
def test_pca_is_the_papers(pairs: int) -> None:
    positive, negative, _ = data(pairs)
    np.testing.assert_allclose(estimators.pca(positive, negative), reference.pca_pair(positive, negative), atol=1e-8)


@pytest.mark.parametrize("C", [0.1, 1.0, 10.0])
def test_probe_is_the_papers(C: float) -> None:
    positive, negative, _ = data()
    expected = reference.logistic(positive, negative, C)
    np.testing.assert_allclose(estimators.probe(positive, negative, C=C), expected, atol=1e-4)
    assert np.array_equal(estimators.probe(positive, negative, C=C), estimators.probe(positive, negative)) == (C == 1.0)


@pytest.mark.parametrize("pairs", [60, 3])  # 3 pairs of width 8: the small system of Woodbury
def test_lda_is_the_papers(pairs: int) -> None:
    positive, negative, _ = data(pairs)
    expected = reference.ledoit_wolf_lda(positive, negative)
    np.testing.assert_allclose(estimators.lda(positive, negative), expected, atol=1e-8)


def test_lda_of_many_pairs_is_hardly_shrunk() -> None:
    """Channels that spread differently, seen often: Sigma is nearly S, which turns v away from loud channels."""
    positive, negative, _ = data(2000)
    loud = 2.0 ** np.arange(8)
    positive, negative = positive * loud, negative * loud
    v = estimators.lda(positive, negative)
    np.testing.assert_allclose(v, reference.ledoit_wolf_lda(positive, negative), atol=1e-8)
    S = (np.cov(positive.T, bias=True) + np.cov(negative.T, bias=True)) / 2
    plain = np.linalg.solve(S, positive.mean(0) - negative.mean(0))
    assert v @ plain / np.linalg.norm(plain) > 0.9


def test_a_probe_does_not_depend_on_the_units() -> None:
    positive, negative, _ = data()
    np.testing.assert_allclose(
        estimators.probe(100 * positive, 100 * negative), estimators.probe(positive, negative), atol=1e-6
    )


# Traps --------------------------------------------------------------------------------------------------------------


def test_a_centered_pca_of_ordered_pairs_finds_nothing() -> None:
    """A centered PCA subtracts the mean difference, which is the direction that is looked for."""
    g = np.random.default_rng(0)
    true = np.zeros(64)
    true[0] = 1.0
    negative = g.normal(size=(200, 64))
    positive = negative + 4 * true + g.normal(size=(200, 64))
    centered = PCA(n_components=1).fit(positive - negative).components_[0]
    assert abs(centered @ true) < 0.3
    assert estimators.pca(positive, negative) @ true > 0.98
    mean = estimators.mean_difference(positive, negative)
    assert mean @ true / np.linalg.norm(mean) > 0.98


def test_a_loud_nuisance_takes_pca_and_leaves_the_mean() -> None:
    """One channel in which pairs differ a lot, in no consistent way: why the mean difference is the default."""
    g = np.random.default_rng(0)
    true, loud = np.eye(16)[0], np.eye(16)[1]
    negative = g.normal(size=(400, 16))
    positive = negative + true + 30 * loud * g.choice([-1.0, 1.0], size=(400, 1)) * (np.arange(400)[:, None] % 2)
    balanced = positive - np.outer((positive - negative) @ loud, loud).mean(0)
    assert abs(estimators.pca(balanced, negative) @ true) < 0.1
    mean = estimators.mean_difference(balanced, negative)
    assert mean @ true / np.linalg.norm(mean) > 0.99


# Bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("positive", "negative", "message"),
    [
        (np.ones((2, 3)), np.zeros((3, 3)), r"same shape.*\(2, 3\) and \(3, 3\)"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "one row for each pair"),
        (np.ones(3), np.zeros(3), "one row for each pair"),
        (np.array([[np.nan]]), np.array([[0.0]]), "NaN or infinity"),
        (np.ones((2, 3)), np.ones((2, 3)), "same activations"),
    ],
)
def test_what_no_direction_can_be_fitted_to(positive: np.ndarray, negative: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimators._checked(positive, negative)


def test_lda_of_one_pair() -> None:
    with pytest.raises(ValueError, match="vary within a side"):
        estimators.lda(np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]]))
