"""Rotary positions that follow each row's own length, in families whose frequencies follow the longest of a batch.

LongRoPE switches to its long factors, and dynamic NTK stretches its base, as soon as one row is longer than the model
was trained for. transformers decides that for the whole batch, which would change a short row beside a long one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_BY_LENGTH = ("longrope", "dynamic")


class _ByRows:
    """Calls the family's own `forward` once for the rows of each kind of length; mixed into its class."""

    def forward(self: Any, x: Tensor, position_ids: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        lengths = (position_ids.amax(-1) + 1).tolist()
        layer_type = args[0] if args else kwargs.get("layer_type")
        limit, stretches = _limit(self, layer_type)
        groups: dict[int, list[int]] = {}
        for row, length in enumerate(lengths):
            groups.setdefault(0 if length <= limit else length if stretches else 1, []).append(row)
        if len(groups) == 1:
            _start_anew(self)
            return super().forward(x, position_ids, *args, **kwargs)  # type: ignore[misc]
        found: list[Tensor] = []
        for rows in groups.values():
            index = torch.tensor(rows, device=position_ids.device)
            _start_anew(self)
            parts = super().forward(x[:1], position_ids[index], *args, **kwargs)  # type: ignore[misc]
            found = found or [part.new_empty(len(lengths), *part.shape[1:]) for part in parts]
            for whole, part in zip(found, parts, strict=True):
                whole[index] = part
        return found[0], found[1]


def by_rows(module: nn.Module) -> None:
    """Patch rotary embeddings that depend on a batch's longest row, so that each row's own length counts."""
    for part in module.modules():
        if _types(part) and not isinstance(part, _ByRows):
            # A class of its own, not a hook: copies of the model keep it, and it holds no other module alive.
            part.__class__ = type(type(part).__name__, (_ByRows, type(part)), {})


def turning_point(module: nn.Module) -> tuple[float, bool] | None:
    """The length above which a row's rotary frequencies change, and whether they then change with every further token.

    A cache from before that length is invalid after it. None if the frequencies never change.
    """
    found = [_limit(part, name) for part in module.modules() for name in _types(part)]
    return (min(limit for limit, _ in found), any(stretches for _, stretches in found)) if found else None


def _types(part: nn.Module) -> list[str | None]:
    """The layer types (None: all layers) for which a module's rotary frequencies follow the length."""
    kind = getattr(part, "rope_type", None)
    kinds = kind if isinstance(kind, dict) else {None: kind}
    return [name for name, one in kinds.items() if isinstance(one, str) and any(way in one for way in _BY_LENGTH)]


def _limit(part: Any, layer_type: str | None) -> tuple[float, bool]:
    """The longest row that is computed with the original frequencies, and whether each longer length has its own."""
    kind = part.rope_type[layer_type] if isinstance(part.rope_type, dict) else part.rope_type
    if "dynamic" in str(kind):
        return int(part.original_max_seq_len), True
    if kind != "longrope":
        return float("inf"), False
    parameters = part.config.rope_parameters
    parameters = parameters[layer_type] if isinstance(part.rope_type, dict) else parameters
    known = parameters.get("original_max_position_embeddings") or getattr(
        part.config, "original_max_position_embeddings", part.config.max_position_embeddings
    )
    return int(known), False


def _start_anew(part: Any) -> None:
    """Reset the longest length so far, which dynamic NTK would otherwise keep."""
    for name in [name for name, _ in part.named_buffers(recurse=False) if name.endswith("inv_freq")]:
        prefix = name.removesuffix("inv_freq")
        original = getattr(part, f"{prefix}original_inv_freq", None)
        if "original" in name or original is None:
            continue
        kind = part.rope_type.get(prefix.rstrip("_")) if isinstance(part.rope_type, dict) else part.rope_type
        if "dynamic" in str(kind):
            setattr(part, name, original.to(getattr(part, name).device))
            setattr(part, f"{prefix}max_seq_len_cached", part.original_max_seq_len)
