"""The Dynamic Inhibitory Regulator as its post's code has it, and activation capping."""

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def as_posted(h: Tensor, encode: Map, decode: Map, v: Tensor, tau: float, lam: float) -> Tensor:
    """decode(x - lam ReLU(<x, v> - tau) v), x = encode(h): the SAE's error is lost. "DIR", LessWrong draft."""
    v = v / v.norm()
    out = []
    for token in h:
        x = encode(token)
        excess = max(float(x @ v) - tau, 0.0)
        out.append(decode(x - lam * excess * v))
    return torch.stack(out)


def error_kept(h: Tensor, encode: Map, decode: Map, v: Tensor, tau: float, lam: float, nonneg: bool = False) -> Tensor:
    """The same, with the error h - decode(encode(h)) put back; with `nonneg` no feature is pushed below zero."""
    v = v / v.norm()
    out = []
    for token in h:
        x = encode(token)
        new = x - lam * max(float(x @ v) - tau, 0.0) * v
        out.append(decode(new.clamp(min=0) if nonneg else new) + (token - decode(x)))
    return torch.stack(out)


def ablated(h: Tensor, encode: Map, decode: Map, v: Tensor) -> Tensor:
    """decode(x - <x, v> v) with the error put back: reading A of the post's "standard ablation"."""
    v = v / v.norm()
    return torch.stack([decode(encode(x) - (encode(x) @ v) * v) + (x - decode(encode(x))) for x in h])


def capped(h: Tensor, v: Tensor, tau: float) -> Tensor:
    """h - v max(<h, v> - tau, 0). Lu et al. 2026 (arXiv 2601.10387), activation capping."""
    v = v / v.norm()
    return torch.stack([x - v * max(float(x @ v) - tau, 0.0) for x in h])
