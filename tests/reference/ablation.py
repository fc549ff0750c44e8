"""Ablations as their papers write them, a token at a time."""

import torch
from torch import Tensor


def directional(h: Tensor, r: Tensor) -> Tensor:
    """h - r_hat r_hat^T h. Arditi et al. 2024 (arXiv 2406.11717), equation 4."""
    r_hat = r / r.norm()
    projector = torch.outer(r_hat, r_hat)
    return torch.stack([x - projector @ x for x in h])


def affine(h: Tensor, positive_mean: Tensor, negative_mean: Tensor, alpha: float) -> Tensor:
    """h - proj(h) + proj(mu-) + alpha (mu+ - mu-). Marshall et al. 2024 (arXiv 2411.09003), equation 3 (ACE)."""
    difference = positive_mean - negative_mean
    projector = torch.outer(difference, difference) / (difference @ difference)
    return torch.stack([x - projector @ x + projector @ negative_mean + alpha * difference for x in h])
