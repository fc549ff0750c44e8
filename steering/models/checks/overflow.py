"""The error for a model whose numbers leave the range of its dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from ..model import Model


def overflowed(model: Model) -> str:
    """One sentence: numbers that are not finite, in which dtype, and what to do."""
    dtype = str(model.dtype).removeprefix("torch.")
    most = torch.finfo(model.dtype).max
    other = {"float16": "bfloat16 or float32", "bfloat16": "float32"}.get(dtype)
    way = f"Open the model in {other}, or steer less" if other else "Steer less"
    return f"Numbers of {model.name} overflow in {dtype} (beyond {most:.3g}, or none at all). {way}."


def check_finite(model: Model, values: Tensor) -> Tensor:
    """The values.

    Raises:
        ValueError: one of them is infinite or no number.
    """
    if not bool(values.isfinite().all()):
        raise ValueError(overflowed(model))
    return values
