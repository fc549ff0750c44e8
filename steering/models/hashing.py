"""A hash of a model's weights, by which directions and saved runs identify their model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def weights_hash(module: nn.Module, dtype: torch.dtype = torch.float32) -> str:
    """A hash of names, shapes and a sample of every tensor of a module, its numbers rounded to a dtype."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // 64)][:64].to("cpu", dtype).float()
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]


def roundings(module: nn.Module) -> dict[str, str]:
    """The hash of the weights rounded to bfloat16 ("rounded") and to float16 ("half").

    A checkpoint loaded in float32 and in one of these agrees in that one's hash.
    """
    return {"rounded": weights_hash(module, torch.bfloat16), "half": weights_hash(module, torch.float16)}


def same_weights(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two identities (`Model.identity`) are of the same weights; true where one of them does not say.

    Loading a float32 checkpoint in 16 bits rounds its numbers, so the exact hash differs and that of the rounded
    numbers does not. (A float32 checkpoint in bfloat16 and in float16 shares no hash: both have lost digits.)
    """
    keys = ("fingerprint", "rounded", "half")
    known = [(one[key], other[key]) for key in keys if one.get(key) and other.get(key)]
    return not known or any(mine == theirs for mine, theirs in known)
