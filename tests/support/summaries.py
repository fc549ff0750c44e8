"""What a value holds, as plain data to compare within rounding: hashes differ with the processor's last bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def summary(value: Any) -> Any:
    """Numbers and texts as they are; of tensors their shape, norm and first entries; of directions site and vector."""
    if isinstance(value, Tensor):
        flat = value.detach().float().cpu().reshape(-1)
        return {"shape": list(value.shape), "norm": float(flat.norm()), "first": flat[:4].tolist()}
    if hasattr(value, "vector") and hasattr(value, "site"):
        return {"site": str(value.site), "vector": summary(value.vector), "features": value.sae is not None}
    if hasattr(value, "W_dec") or hasattr(value, "d_sae"):
        return {"sae": str(value.site)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: summary(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): summary(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [summary(one) for one in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def close(a: Any, b: Any, tolerance: float = 1e-3) -> bool:
    """Whether two summaries say the same, numbers within a share of the larger one."""
    if isinstance(a, dict) and isinstance(b, dict):
        # A setting that came later is None where nothing was chosen.
        keys = a.keys() | b.keys()
        return all(close(a.get(key), b.get(key), tolerance) for key in keys)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(close(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, float | int) and isinstance(b, float | int) and not isinstance(a, bool):
        return abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-2)
    return a == b
