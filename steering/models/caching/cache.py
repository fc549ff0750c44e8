"""The key-value cache of a batch whose rows come and go.

transformers' dynamic cache copies itself whole for every new token; this one keeps spare room and writes one column.
Rows are padded on the left, so all end at the same column and a step writes the same column for every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Int
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from ...jobs.jobs import Cancelled
from ..checks.exact import unpacked
from ..model import Model

_ROOM = 64  # columns of spare room when a buffer grows


class _RoomyLayer(DynamicLayer):
    """One layer's keys and values: views into buffers with spare columns."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = None
        if self._buffers is None or self.keys is None or self.values is None or not self.keys.numel():
            self._fill(key_states, value_states, 0)
            return key_states, value_states
        start, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        if end > self._buffers[0].shape[-2]:
            self._fill(self.keys, self.values, end - start)
        assert self._buffers is not None
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., start:end, :] = new
        self.keys, self.values = (buffer[..., :end, :] for buffer in self._buffers)
        return self.keys, self.values

    def _fill(self, keys: Tensor, values: Tensor, more: int, drop_left: int = 0) -> None:
        """New buffers that hold these keys and values, with room for `more` columns and the usual spare."""
        length = keys.shape[-2] - drop_left
        buffers = []
        for old in (keys, values):
            new = old.new_empty(*old.shape[:-2], length + more + _ROOM, old.shape[-1])
            new[..., :length, :] = old[..., drop_left:, :]
            buffers.append(new)
        self._buffers = (buffers[0], buffers[1])
        self.keys, self.values = (buffer[..., :length, :] for buffer in buffers)

    def take(self, rows: Int[Tensor, "rows"], drop_left: int = 0) -> None:
        assert self.keys is not None and self.values is not None
        self._fill(self.keys.index_select(0, rows), self.values.index_select(0, rows), 0, drop_left=drop_left)

    def begin(self, other: _RoomyLayer, places: Sequence[tuple[int, int, int]], columns: int) -> None:
        """Becomes `columns` wide, each row with the columns of another layer's row that a place names, at its end."""
        assert other.keys is not None and other.values is not None
        self.lazy_initialization(other.keys, other.values)
        shape = (len(places), other.keys.shape[1], columns)
        keys, values = (old.new_zeros(*shape, old.shape[-1]) for old in (other.keys, other.values))
        for new, old in ((keys, other.keys), (values, other.values)):
            for row, (source, start, n) in enumerate(places):
                new[row, :, columns - n :] = old[source, :, start : start + n]
        self._fill(keys, values, 0)

    def append(self, other: _RoomyLayer) -> None:
        """Take in another layer's rows; all end at the same column, so the shorter of the two is padded on the left."""
        assert self.keys is not None and other.keys is not None and self.values is not None and other.values is not None
        rows, length = len(self.keys), max(self.keys.shape[-2], other.keys.shape[-2])
        buffers = []
        for mine, theirs in ((self.keys, other.keys), (self.values, other.values)):
            new = mine.new_empty(rows + len(theirs), mine.shape[1], length + _ROOM, mine.shape[-1])
            for part, old in ((new[:rows], mine), (new[rows:], theirs)):
                start = length - old.shape[-2]
                part[..., :start, :] = 0  # never attended to, but multiplied by a weight of zero
                part[..., start:length, :] = old
            buffers.append(new)
        self._buffers = (buffers[0], buffers[1])
        self.keys, self.values = (buffer[..., :length, :] for buffer in buffers)


class RowCache(Cache):
    """A cache whose rows can be chosen, repeated, and joined by others.

    No layer is a sliding-window layer: the mask applies the window, which keeps left padding and joining exact.
    """

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=_RoomyLayer)

    @property
    def length(self) -> int:
        """Columns so far, padding included."""
        return self.get_seq_length()

    @property
    def column_bytes(self) -> int:
        """What one column of one row takes."""
        both = [side for layer in self.layers for side in (layer.keys, layer.values)]  # type: ignore[union-attr]
        return sum(side.element_size() * side.shape[1] * side.shape[-1] for side in both if side is not None)

    def take(self, rows: Int[Tensor, "rows"], *, layers: int | None = None, drop_left: int = 0) -> None:
        """Keep or repeat rows (of the first `layers` layers, if given), and drop columns on the left."""
        for layer in self.layers[:layers]:
            layer.take(rows.to(layer.keys.device), drop_left)  # type: ignore[union-attr]

    def begin(self, other: RowCache, places: Sequence[tuple[int, int, int]], columns: int, layers: int) -> None:
        """Adds as many layers as are wanted in all, whose rows begin with columns of another cache's rows.

        Args:
            places: for each row the other cache's row, its first column that is taken, and how many are taken.
            columns: how many columns there are then; a row that takes fewer has padding on its left.
        """
        for source in other.layers[len(self.layers) : layers]:
            layer = _RoomyLayer()
            layer.begin(source, places, columns)  # type: ignore[arg-type]
            self.layers.append(layer)

    def join(self, other: RowCache) -> None:
        """Append the rows of another cache; the shorter of the two is padded on the left."""
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.append(theirs)  # type: ignore[union-attr]


_works: WeakKeyDictionary[Model, dict[int, bool]] = WeakKeyDictionary()


def can_cache(model: Model) -> bool:
    """Whether a batch of rows can be decoded step by step with a `RowCache`; tried once a model.

    Models that keep another state than keys and values (Mamba, Qwen3-Next and other hybrids) run over the whole text
    again at every step instead: slower, and exact.
    """
    return _can(model, 1)


def can_continue(model: Model) -> bool:
    """Whether a batch of rows can read several tokens at once after a `RowCache`; asked once a model, by trying."""
    return can_cache(model) and _can(model, 2)


def _can(model: Model, more: int) -> bool:
    found = _works.setdefault(model, {})
    if more not in found:
        try:
            # By exact products: those in bfloat16 differ by more than what is looked for.
            found[more] = _tried(model if model.products == "float32" else unpacked(model), more)
        except Cancelled:
            raise
        except Exception:  # families raise different errors for a cache that they do not know
            found[more] = False
    return found[more]


@torch.inference_mode()
def _tried(model: Model, more: int) -> bool:
    """Whether two rows of unequal length go on for some tokens with the cache as they do without it."""
    rows = [[(7 * i + 3) % (model.d_vocab - 1) + 1 for i in range(n + more)] for n in (5, 3)]
    tokens, mask, positions = model.pad(rows)
    real, cache, end = mask.long(), RowCache(), -more
    model.forward(tokens[:, :end], attention_mask=real[:, :end], positions=positions[:, :end], cache=cache, keep=1)
    cache.take(torch.tensor([0, 1], device=model.device))
    found = model.forward(tokens[:, end:], attention_mask=real, positions=positions[:, end:], cache=cache, keep=1)
    for row, one in zip(rows, found[:, -1].float(), strict=True):
        whole = model.forward(torch.tensor([row], device=model.device))[0, -1].float()
        if not float((one - whole).abs().max()) <= 64 * torch.finfo(model.dtype).eps * float(whole.abs().max()) + 1e-4:
            return False
    return True
