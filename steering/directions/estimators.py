"""Estimators: activations of the two sides of pairs in, one vector out. Plain arrays, no model.

Row i of `positive` and row i of `negative` are the two sides of pair i. Every estimator turns with the data (a rotation
of the activations rotates the result), ignores the order of pairs, and points from negative to positive.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.linear_model import LogisticRegression


def mean_difference(
    positive: Float[ndarray, "pairs width"], negative: Float[ndarray, "pairs width"]
) -> Float[ndarray, "width"]:
    """v = mean(positive) - mean(negative), which for pairs is the mean of the differences (CAA, arXiv 2312.06681)."""
    positive, negative = _checked(positive, negative)
    return positive.mean(0) - negative.mean(0)


def pca(positive: Float[ndarray, "pairs width"], negative: Float[ndarray, "pairs width"]) -> Float[ndarray, "width"]:
    """The unit vector along which pairs spread most around their own centers (RepE, arXiv 2310.01405).

    The first right singular vector of the differences, NOT centered: a PCA that subtracts the mean difference, as
    scikit-learn's does, removes the very thing that is looked for (RepE escapes by shuffling the order in each pair).
    """
    positive, negative = _checked(positive, negative)
    differences = positive - negative
    v = np.linalg.svd(differences, full_matrices=False)[2][0]
    # A singular vector has no sign of its own.
    return v if (differences @ v).mean() >= 0 else -v


def probe(
    positive: Float[ndarray, "pairs width"], negative: Float[ndarray, "pairs width"], *, C: float = 1.0
) -> Float[ndarray, "width"]:
    """w / |w| of an L2-penalized logistic regression on the pairs, each centered on itself, without an intercept.

    Activations are divided by one number, their root mean square length, so that C means the same at every layer; a
    number for each channel would break the rotation law.
    """
    positive, negative = _checked(positive, negative)
    half = (positive - negative) / 2
    scale = np.sqrt((half**2).sum(1).mean())
    X = np.concatenate([half, -half]) / scale
    y = np.repeat([1, 0], len(half))
    model = LogisticRegression(C=C, fit_intercept=False, max_iter=2000, tol=1e-8).fit(X, y)
    return _unit(model.coef_[0])


def lda(positive: Float[ndarray, "pairs width"], negative: Float[ndarray, "pairs width"]) -> Float[ndarray, "width"]:
    """The unit vector along Sigma^-1 (mean(positive) - mean(negative)), Sigma the within-class covariance.

    Shrunk by Ledoit and Wolf: Sigma = (1 - s) S + s m I, m the mean variance. Not by scikit-learn's LDA, which scales
    every channel before it shrinks and so does not turn with the data.

    Raises:
        ValueError: one pair, or no spread within the sides.
    """
    positive, negative = _checked(positive, negative)
    difference = positive.mean(0) - negative.mean(0)
    X = np.concatenate([positive - positive.mean(0), negative - negative.mean(0)])
    m = (X**2).sum() / X.size
    if not m > 0:
        raise ValueError("lda needs activations that vary within a side; these do not. Use more pairs.")
    s = ledoit_wolf_shrinkage(X, assume_centered=True)
    ridge = max(s, 1e-6) * m
    B = X * np.sqrt((1 - s) / len(X))
    if len(B) < B.shape[1]:
        # Woodbury: with fewer texts than channels (feature space!) the small system says the same.
        inner = np.linalg.solve(ridge * np.eye(len(B)) + B @ B.T, B @ difference)
        return _unit((difference - B.T @ inner) / ridge)
    return _unit(np.linalg.solve(ridge * np.eye(B.shape[1]) + B.T @ B, difference))


def _unit(v: ndarray) -> ndarray:
    return v / np.linalg.norm(v)


def _checked(positive: ndarray, negative: ndarray) -> tuple[ndarray, ndarray]:
    """Both sides in float64: a mean of differences of large numbers loses its digits in less."""
    positive, negative = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    if positive.ndim != 2 or positive.shape != negative.shape or not len(positive):
        raise ValueError(
            f"A contrast takes two tables of the same shape, one row for each pair; got {positive.shape} and "
            f"{negative.shape}."
        )
    if not (np.isfinite(positive).all() and np.isfinite(negative).all()):
        raise ValueError("Activations are finite; these have NaN or infinity. Load the model in float32.")
    if np.array_equal(positive, negative):
        raise ValueError("The two sides have the same activations, so there is no direction between them.")
    return positive, negative
