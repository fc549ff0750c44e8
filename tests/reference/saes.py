"""SAE encoders and decoders as their papers write them, one token at a time, to compare SAELens' classes with."""

import torch
from torch import Tensor


def standard(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """f = ReLU(W_enc (x - b_dec) + b_enc). Bricken et al. 2023."""
    return torch.relu((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"])


def gated(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """f = 1[pi > 0] * ReLU(exp(r_mag) * W_gate (x - b_dec) + b_mag), pi = W_gate (x - b_dec) + b_gate.

    Rajamanoharan et al. 2024a (arXiv 2404.16014), equations 4 to 7.
    """
    projected = (x - w["b_dec"]) @ w["W_enc"]
    gate = (projected + w["b_gate"] > 0).float()
    return gate * torch.relu(torch.exp(w["r_mag"]) * projected + w["b_mag"])


def jumprelu(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """f = pi * H(pi - theta), pi = ReLU(W_enc (x - b_dec) + b_enc). Rajamanoharan et al. 2024b (arXiv 2407.14435)."""
    pre = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    return torch.relu(pre) * (pre > w["threshold"]).float()


def topk(w: dict[str, Tensor], x: Tensor, k: int) -> Tensor:
    """f = ReLU(TopK(W_enc (x - b_dec) + b_enc)). Gao et al. 2024 (arXiv 2406.04093)."""
    pre = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    out = torch.zeros_like(pre)
    for token in range(pre.shape[0]):
        kept = pre[token].argsort(descending=True)[:k]
        out[token, kept] = torch.relu(pre[token, kept])
    return out


def decode(w: dict[str, Tensor], f: Tensor) -> Tensor:
    """x_hat = f W_dec + b_dec."""
    return f @ w["W_dec"] + w["b_dec"]
