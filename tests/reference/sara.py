"""SARA as the author's notebook has it (Tlaie 2024, arXiv 2405.17345), a channel at a time.

Singular values and vectors come from the eigenvectors of A A^T, so this shares no code with the implementation.
"""

import math

import torch
from torch import Tensor


def reduced(h: Tensor, k: int) -> Tensor:
    """U S of the channels x tokens matrix A, its first k columns."""
    a = h.double().T
    values, vectors = torch.linalg.eigh(a @ a.T)
    columns = [vectors[:, -1 - i] * math.sqrt(max(float(values[-1 - i]), 0.0)) for i in range(k)]
    return torch.stack(columns, 1)


def aligned(matrix: Tensor, other: Tensor) -> Tensor:
    """The matrix with every column flipped that points away from the other's."""
    columns = []
    for i in range(matrix.shape[1]):
        flip = float(matrix[:, i] @ other[:, i]) < 0
        columns.append(-matrix[:, i] if flip else matrix[:, i])
    return torch.stack(columns, 1)


def gain(original: Tensor, attract: Tensor, repel: Tensor) -> Tensor:
    """cos(A_n, A+_n) - cos(A_n, A-_n) for every channel n."""
    k = min(len(original), len(attract), len(repel))
    o = reduced(original, k)
    plus, minus = aligned(reduced(attract, k), o), aligned(reduced(repel, k), o)
    out = []
    for n in range(original.shape[1]):
        out.append(_cosine(o[n], plus[n]) - _cosine(o[n], minus[n]))
    return torch.tensor(out)


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b) / (float(a.norm()) * float(b.norm()))
