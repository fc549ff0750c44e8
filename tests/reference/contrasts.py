"""Contrasts as the papers and their codes write them: loops over pairs, no batching, no shortcuts."""

import numpy as np
import torch


def caa(positive: list[torch.Tensor], negative: list[torch.Tensor]) -> torch.Tensor:
    """nrimsky/CAA, generate_vectors.py: (all_pos - all_neg).mean(dim=0)."""
    total = torch.zeros_like(positive[0], dtype=torch.float64)
    for a, b in zip(positive, negative, strict=True):
        total = total + (a.double() - b.double())
    return total / len(positive)


def pca_pair(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """PC1 of {x+ - c, x- - c} with c the center of each pair, by the eigenvectors of their scatter matrix."""
    points = []
    for a, b in zip(positive, negative, strict=True):
        c = (a + b) / 2
        points += [a - c, b - c]
    scatter = sum(np.outer(x, x) for x in points)
    v = np.linalg.eigh(scatter)[1][:, -1]
    return v * np.sign(sum(a @ v - b @ v for a, b in zip(positive, negative, strict=True)))


def logistic(positive: np.ndarray, negative: np.ndarray, C: float = 1.0, steps: int = 200) -> np.ndarray:
    """Newton's method on |w|^2 / 2 + C sum log(1 + exp(-y w.x)), x the halves of the pairs in units of their rms."""
    half = (positive - negative) / 2
    half = half / np.sqrt((half**2).sum(1).mean())
    X = np.concatenate([half, half])  # y x: the negative side is -half with label -1
    w = np.zeros(X.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(X @ w))
        gradient = w - C * X.T @ p
        hessian = np.eye(len(w)) + C * (X.T * (p * (1 - p))) @ X
        w = w - np.linalg.solve(hessian, gradient)
    return w / np.linalg.norm(w)


def ledoit_wolf_lda(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Sigma^-1 (mu+ - mu-), with the shrinkage of Ledoit and Wolf (2004), section 3.2, written out."""
    X = np.concatenate([positive - positive.mean(0), negative - negative.mean(0)])
    n, d = X.shape
    S = X.T @ X / n
    m = np.trace(S) / d
    d2 = ((S - m * np.eye(d)) ** 2).sum() / d
    b2 = sum(((np.outer(x, x) - S) ** 2).sum() / d for x in X) / n**2
    s = min(b2, d2) / d2
    v = np.linalg.solve((1 - s) * S + s * m * np.eye(d), positive.mean(0) - negative.mean(0))
    return v / np.linalg.norm(v)
