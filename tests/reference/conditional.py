"""CAST's condition as its paper writes it (Lee et al. 2024, arXiv 2409.05907, section 3.2)."""

import torch
from torch import Tensor


def similarity(h: Tensor, c: Tensor) -> float:
    """sim(h, proj_c h) with h the mean over the prompt's tokens and tanh over the projection."""
    mean = sum(h) / len(h)
    projector = torch.outer(c, c) / float(c @ c)
    projected = torch.tanh(projector @ mean)
    return float(mean @ projected) / (float(mean.norm()) * float(projected.norm()))
