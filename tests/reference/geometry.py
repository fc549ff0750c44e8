"""Spans, leaks, erasure and reading directions, written out plainly in NumPy."""

from __future__ import annotations

import numpy as np


def basis(x: np.ndarray, energy: float) -> np.ndarray:
    """The fewest eigenvectors of X^T X that hold a share of the trace, as rows."""
    values, vectors = np.linalg.eigh(x.T @ x)
    order = np.argsort(-values)
    total, held, rows = values.sum(), 0.0, []
    for i in order:
        rows.append(vectors[:, i])
        held += values[i]
        if held / total >= energy - 1e-12:
            break
    return np.stack(rows)


def ablated(a: np.ndarray, u: np.ndarray) -> np.ndarray:
    """a - (a . u) u, row by row, u of length 1."""
    return np.stack([row - (row @ u) * u for row in a])


def leace(p: np.ndarray, q: np.ndarray, a: np.ndarray) -> np.ndarray:
    """x - W^+ P W (x - mean), W whitens, P projects on W times the cross-covariance (theorem 4.3)."""
    x = np.concatenate([p, q])
    z = np.concatenate([np.ones(len(p)), np.zeros(len(q))])
    mean = x.mean(0)
    covariance = (x - mean).T @ (x - mean) / len(x)
    cross = (x - mean).T @ (z - z.mean()) / len(x)
    values, vectors = np.linalg.eigh(covariance)
    white = vectors @ np.diag(values**-0.5) @ vectors.T
    unwhite = vectors @ np.diag(values**0.5) @ vectors.T
    w = white @ cross
    w = w / np.linalg.norm(w)
    projection = np.outer(w, w)
    return np.stack([row - unwhite @ projection @ white @ (row - mean) for row in a])


def read_directions(x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors of (S V^T) W turned back by V, and their values."""
    _, s, vh = np.linalg.svd(x, full_matrices=False)
    left, values, _ = np.linalg.svd(np.diag(s) @ vh @ weight, full_matrices=False)
    return vh.T @ left, values
