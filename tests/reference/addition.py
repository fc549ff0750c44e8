"""Additions as their papers write them, a token at a time."""

import torch
from torch import Tensor


def caa(h: Tensor, v: Tensor, alpha: float, first: int) -> Tensor:
    """h_t + alpha v for every token t >= first. Rimsky et al. 2023 (arXiv 2312.06681), section 3."""
    return torch.stack([h[t] + alpha * v if t >= first else h[t] for t in range(len(h))])


def actadd(h: Tensor, difference: Tensor, c: float, prompt: int, start: int = 0) -> Tensor:
    """h_t + c (h+ - h-)_t at the first prompt positions. Turner et al. 2023 (arXiv 2308.10248), algorithm 1.

    `start` 1 leaves BOS alone, where the difference of two prompts is zero anyway.
    """
    out = h.clone()
    for t in range(start, min(len(difference), prompt)):
        out[t] = h[t] + c * difference[t]
    return out
