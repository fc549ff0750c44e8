"""Shared parts of the fused steps: attention masks, rotary positions, attention of one query a row."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def masks(
    real: Int[Tensor, "rows columns"] | None, columns: int, windows: Iterable[int | None], device: torch.device
) -> dict[int | None, Bool[Tensor, "_ 1 1 columns"] | None]:
    """Which columns of the cache a new token sees, for each width of a sliding window; None where it sees all."""
    seen = None if real is None else real.bool()[:, None, None]
    found: dict[int | None, Tensor | None] = {None: seen}
    for window in {one for one in windows if one is not None}:
        if columns <= window:
            found[window] = seen
        else:
            near = (torch.arange(columns, device=device) >= columns - window)[None, None, None]
            found[window] = near if seen is None else seen & near
    return found


def rotary_tables(cos: Float[Tensor, "rows 1 width"], sin: Float[Tensor, "rows 1 width"]) -> tuple[Tensor, Tensor]:
    """A family's tables made ready for `rotate`: the sign of the first half is in the sine."""
    half = sin.shape[-1] // 2
    return cos, torch.cat((-sin[..., :half], sin[..., half:]), -1)


def rotate(x: Float[Tensor, "rows heads width"], tables: tuple[Tensor, Tensor]) -> Float[Tensor, "rows heads width"]:
    """Queries or keys turned by their positions, the first half of a head with the second."""
    cos, sin = tables
    half = x.shape[-1] // 2
    return torch.addcmul(x * cos, torch.cat((x[..., half:], x[..., :half]), -1), sin)


def attend(
    q: Float[Tensor, "rows heads 1 width"],
    k: Float[Tensor, "rows kv_heads columns width"],
    v: Float[Tensor, "rows kv_heads columns width"],
    mask: Tensor | None,
    scale: float,
) -> Float[Tensor, "rows 1 heads_width"]:
    """The heads' outputs side by side."""
    z = F.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
    return z.reshape(z.shape[0], 1, -1)
