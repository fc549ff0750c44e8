"""Angular steering as its paper writes it (arXiv 2510.26243), with polar coordinates in the plane."""

import math

import torch
from torch import Tensor


def turned(h: Tensor, v: Tensor, w: Tensor, degrees: float, adaptive: bool = False) -> Tensor:
    """Every token's part in the plane of v and w turned to the target angle, measured from v; its length stays."""
    q, _ = torch.linalg.qr(torch.stack([v, w], 1))
    b1 = v / v.norm()
    b2 = q[:, 1] * (1.0 if float(q[:, 1] @ w) > 0 else -1.0)
    out = []
    for x in h:
        along, across = float(x @ b1), float(x @ b2)
        if adaptive and along <= 0:
            out.append(x)
            continue
        length, target = math.hypot(along, across), math.radians(degrees)
        outside = x - along * b1 - across * b2
        out.append(outside + length * math.cos(target) * b1 + length * math.sin(target) * b2)
    return torch.stack(out)
