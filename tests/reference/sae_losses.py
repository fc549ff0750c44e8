"""Losses of sparse autoencoders as their papers write them, one token and one feature at a time."""

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def squared(a: Tensor, b: Tensor) -> float:
    return float(sum((p - q) ** 2 for p, q in zip(a.tolist(), b.tolist(), strict=True)))


def decoded(w: Weights, f: Tensor) -> Tensor:
    out = w["b_dec"].clone()
    for j, value in enumerate(f.tolist()):
        out = out + value * w["W_dec"][j]
    return out


def pre(w: Weights, x: Tensor, bias: str = "b_enc") -> Tensor:
    return torch.stack([(x - w["b_dec"]) @ w["W_enc"][:, j] + w[bias][j] for j in range(len(w["W_dec"]))])


def standard(w: Weights, xs: Tensor, sparsity: float, p: float, smooth: float) -> float:
    """|x - x_hat|^2 + sparsity * sum_j f_j^p; for p < 1 each f^p is (f + smooth)^p - smooth^p."""
    total = 0.0
    for x in xs:
        f = torch.relu(pre(w, x))
        penalty = sum(v if p == 1 else (v + smooth) ** p - smooth**p for v in f.tolist())
        total += squared(x, decoded(w, f)) + sparsity * penalty
    return total / len(xs)


def gated(w: Weights, xs: Tensor, sparsity: float) -> float:
    """Rajamanoharan et al. 2024a, equation 8, without its stop-gradients."""
    total = 0.0
    for x in xs:
        gate = pre(w, x, "b_gate")
        projected = gate - w["b_gate"]
        f = torch.tensor(
            [
                max(0.0, float(projected[j] * torch.exp(w["r_mag"][j]) + w["b_mag"][j])) if gate[j] > 0 else 0.0
                for j in range(len(gate))
            ]
        )
        opened = torch.relu(gate)
        total += squared(x, decoded(w, f)) + sparsity * float(opened.sum()) + squared(x, decoded(w, opened))
    return total / len(xs)


def kept(w: Weights, xs: Tensor, k: int, over_batch: bool) -> Tensor:
    """Features of TopK (the k largest of a token) or BatchTopK (the k * tokens largest of the batch)."""
    f = torch.stack([torch.relu(pre(w, x)) for x in xs])
    out = torch.zeros_like(f)
    if over_batch:
        best = sorted(((float(f[i, j]), i, j) for i in range(len(f)) for j in range(f.shape[1])), reverse=True)
        for value, i, j in best[: k * len(xs)]:
            out[i, j] = value
        return out
    for i, row in enumerate(f):
        for j in row.argsort(descending=True)[:k].tolist():
            out[i, j] = row[j]
    return out


def counted(w: Weights, xs: Tensor, k: int, over_batch: bool, widths: tuple[int, ...] = ()) -> float:
    """The error of TopK or BatchTopK, and for a matryoshka also that of its first features alone."""
    features, total = kept(w, xs, k, over_batch), 0.0
    for x, f in zip(xs, features, strict=True):
        for width in (*widths, len(f)):
            first = f.clone()
            first[width:] = 0
            total += squared(x, decoded(w, first))
    return total / len(xs)


def revival(w: Weights, xs: Tensor, k: int, over_batch: bool, dead: list[int]) -> float:
    """The error with which the dead features say the residual; fewer than half the width count in part."""
    total = 0.0
    for x, f in zip(xs, kept(w, xs, k, over_batch), strict=True):
        strength = torch.relu(pre(w, x))
        said = sum((strength[j] * w["W_dec"][j] for j in dead), torch.zeros_like(x))
        total += squared(x - decoded(w, f), said)
    return min(len(dead) / (xs.shape[1] // 2), 1.0) * total / len(xs)


def jumprelu(w: Weights, xs: Tensor, sparsity: float) -> float:
    """|x - x_hat|^2 + sparsity * number of active features (Rajamanoharan et al. 2024b)."""
    total = 0.0
    for x in xs:
        values = pre(w, x)
        f = torch.where(values > w["threshold"], values, torch.zeros_like(values))
        total += squared(x, decoded(w, f)) + sparsity * int((values > w["threshold"]).sum())
    return total / len(xs)
