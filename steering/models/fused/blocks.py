"""The blocks of a decoding step one after another, with every stream's hooks and readers at its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor

from .taps import NOTHING, Taps

Stream = Float[Tensor, "rows 1 d_model"]


class FusedLayer(Protocol):
    """The parts of one block of a family."""

    def norm_1(self, h: Stream) -> Stream:
        """What attention is given."""
        ...

    def norm_2(self, h: Stream) -> Stream:
        """What the MLP is given."""
        ...

    def attention(self, x: Stream, kept: Any, context: Any, at: Taps) -> Stream:
        """What attention adds to the stream; the token's keys and values join the layer's cache `kept`.

        Args:
            context: what the family's step has made once for all blocks: masks, rotary tables.
        """
        ...

    def mlp(self, x: Stream) -> Stream:
        """What the MLP adds to the stream."""
        ...


def through_blocks(
    layers: Sequence[FusedLayer], cache: Any, h: Stream, context: Any, taps: Mapping[int, Taps]
) -> Stream:
    """The stream after all blocks, in which the MLP reads what attention has written."""
    for n, (layer, kept) in enumerate(zip(layers, cache.layers, strict=True)):
        at = taps.get(n, NOTHING)
        if n:
            taps.get(n - 1, NOTHING).read("resid_post", h)
        h = at.edit("resid_pre", h)
        at.read("resid_pre", h)
        written = at.edit("attn_out", layer.attention(layer.norm_1(h), kept, context, at))
        before, h = h, h + written
        at.read("attn_out", h, before)
        middle = at.edit("resid_mid", h)
        x = at.edit("mlp_in", layer.norm_2(middle))
        at.read("mlp_in", x)
        written = at.edit("mlp_out", layer.mlp(x))
        h = middle + written
        at.read("resid_mid", h, written)
        at.read("mlp_out", h, middle)
        h = at.edit("resid_post", h)
    taps.get(len(layers) - 1, NOTHING).read("resid_post", h)
    return h


def through_parallel_blocks(
    layers: Sequence[FusedLayer], cache: Any, h: Stream, context: Any, taps: Mapping[int, Taps]
) -> Stream:
    """The stream after all blocks, in which attention and MLP read the same."""
    for n, (layer, kept) in enumerate(zip(layers, cache.layers, strict=True)):
        at = taps.get(n, NOTHING)
        if n:
            taps.get(n - 1, NOTHING).read("resid_post", h)
        h = at.edit("resid_pre", h)
        at.read("resid_pre", h)
        attended = at.edit("attn_out", layer.attention(layer.norm_1(h), kept, context, at))
        at.read("attn_out", attended)
        x = at.edit("mlp_in", layer.norm_2(h))
        at.read("mlp_in", x)
        written = at.edit("mlp_out", layer.mlp(x))
        at.read("mlp_out", written)
        h = at.edit("resid_post", written + attended + h)
    taps.get(len(layers) - 1, NOTHING).read("resid_post", h)
    return h
