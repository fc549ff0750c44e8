"""A decoding step of GPT-2: layer norms, learned positions, query, key and value in one product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

from ..packing import PackedLinears
from .attention import attend, masks
from .blocks import through_blocks
from .taps import Taps

CLASSES = (GPT2LMHeadModel,)


def fits(hf: Any) -> bool:
    """Whether a model of this family is as its class makes it, in everything that the step relies on."""
    inner, config = hf.transformer, hf.config
    blocks = list(inner.h)
    norms = [inner.ln_f, *(norm for one in blocks for norm in (one.ln_1, one.ln_2))]
    linears = [linear for one in blocks for linear in (one.attn.c_attn, one.attn.c_proj, one.mlp.c_fc, one.mlp.c_proj)]
    return (
        not (config.add_cross_attention or config.reorder_and_upcast_attn)
        and all(type(norm) is nn.LayerNorm for norm in norms)
        and all(type(linear) is Conv1D for linear in linears)
    )


class _Gpt2Layer:
    def __init__(self, block: Any, packed: PackedLinears) -> None:
        self.norm_1, self.norm_2 = block.ln_1, block.ln_2
        self._heads, self._scale = int(block.attn.num_heads), float(block.attn.scaling)
        self._qkv, self._output = packed.product(block.attn.c_attn), packed.product(block.attn.c_proj)
        self._up, self._down, self._act = (
            packed.product(block.mlp.c_fc),
            packed.product(block.mlp.c_proj),
            block.mlp.act,
        )

    def attention(self, x: Tensor, kept: Any, context: Tensor | None, at: Taps) -> Tensor:
        qkv = self._qkv(x).view(x.shape[0], 3 * self._heads, 1, -1)
        q, k, v = qkv.split(self._heads, 1)
        keys, values = kept.update(k, v)
        z = at.edit("attn_z", attend(q, keys, values, context, self._scale))
        at.read("attn_z", z)
        return self._output(z)

    def mlp(self, x: Tensor) -> Tensor:
        return self._down(self._act(self._up(x)))


class Gpt2Step:
    """One token for every row, by the packed products of a model.

    Args:
        hf: the transformers model; its norms and embeddings are read in place, so that edits of them count.
    """

    def __init__(self, hf: Any, packed: PackedLinears) -> None:
        self._inner, self._head = hf.transformer, packed.product(hf.lm_head)
        self._layers = [_Gpt2Layer(block, packed) for block in hf.transformer.h]

    def __call__(
        self, tokens: Int[Tensor, "rows 1"], positions: Int[Tensor, "rows 1"], real: Tensor | None, cache: Any,
        taps: Mapping[int, Taps],
    ) -> Float[Tensor, "rows 1 vocab"]:  # fmt: skip
        """Logits of one token a row, whose keys and values join the cache."""
        h = self._inner.wte(tokens) + self._inner.wpe(positions)
        mask = masks(real, cache.get_seq_length() + 1, (), h.device)[None]
        return self._head(self._inner.ln_f(through_blocks(self._layers, cache, h, mask, taps)))
