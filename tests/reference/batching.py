"""A key-value cache as lists of rows, to compare the roomy one with."""

import torch
from torch import Tensor


def padded(rows: list[Tensor]) -> Tensor:
    """Rows [heads columns width] of unequal length as one tensor, zeros on the left."""
    longest = max(row.shape[1] for row in rows)
    pads = [row.new_zeros(row.shape[0], longest - row.shape[1], row.shape[2]) for row in rows]
    return torch.stack([torch.cat([pad, row], 1) for pad, row in zip(pads, rows, strict=True)])
