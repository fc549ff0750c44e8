"""A decoding step of GPT-NeoX (Pythia): layer norms, rotary positions on part of a head, MLP beside attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import GPTNeoXForCausalLM

from ..packing import PackedLinears
from .attention import attend, masks, rotary_tables, rotate
from .blocks import through_blocks, through_parallel_blocks
from .taps import Taps

CLASSES = (GPTNeoXForCausalLM,)


def fits(hf: Any) -> bool:
    """Whether a model of this family is as its class makes it, in everything that the step relies on."""
    inner = hf.gpt_neox
    blocks = list(inner.layers)
    norms = [
        inner.final_layer_norm,
        *(n for one in blocks for n in (one.input_layernorm, one.post_attention_layernorm)),
    ]
    linears = [
        linear
        for one in blocks
        for linear in (one.attention.query_key_value, one.attention.dense, one.mlp.dense_h_to_4h, one.mlp.dense_4h_to_h)
    ]
    rope = getattr(hf.config, "rope_parameters", None) or {}
    return (
        rope.get("rope_type", "default") in ("default", "linear")
        and all(type(norm) is nn.LayerNorm for norm in (*norms, inner.final_layer_norm))
        and all(type(linear) is nn.Linear for linear in linears)
    )


class _NeoxLayer:
    def __init__(self, block: Any, packed: PackedLinears) -> None:
        self.norm_1, self.norm_2 = block.input_layernorm, block.post_attention_layernorm
        attention, mlp = block.attention, block.mlp
        self._width, self._scale = int(attention.head_size), float(attention.scaling)
        self._turned = int(attention.rotary_ndims)
        self._qkv, self._output = packed.product(attention.query_key_value), packed.product(attention.dense)
        self._up, self._down, self._act = packed.product(mlp.dense_h_to_4h), packed.product(mlp.dense_4h_to_h), mlp.act

    def attention(self, x: Tensor, kept: Any, context: Any, at: Taps) -> Tensor:
        mask, rotary = context
        # The family keeps query, key and value of each head side by side.
        qkv = self._qkv(x).view(x.shape[0], -1, 3, self._width)
        qk, v = qkv[:, :, :2].transpose(1, 2).flatten(1, 2), qkv[:, :, 2]
        turned = rotate(qk[..., : self._turned], rotary)
        qk = turned if self._turned == self._width else torch.cat((turned, qk[..., self._turned :]), -1)
        q, k = qk.chunk(2, 1)
        keys, values = kept.update(k[:, :, None], v[:, :, None])
        z = at.edit("attn_z", attend(q[:, :, None], keys, values, mask, self._scale))
        at.read("attn_z", z)
        return self._output(z)

    def mlp(self, x: Tensor) -> Tensor:
        return self._down(self._act(self._up(x)))


class NeoxStep:
    """One token for every row, by the packed products of a model.

    Args:
        hf: the transformers model; its norms and tables are read in place, so that edits of them count.
    """

    def __init__(self, hf: Any, packed: PackedLinears) -> None:
        self._inner, self._head = hf.gpt_neox, packed.product(hf.get_output_embeddings())
        self._layers = [_NeoxLayer(block, packed) for block in hf.gpt_neox.layers]
        self._through = through_parallel_blocks if hf.config.use_parallel_residual else through_blocks

    def __call__(
        self, tokens: Int[Tensor, "rows 1"], positions: Int[Tensor, "rows 1"], real: Tensor | None, cache: Any,
        taps: Mapping[int, Taps],
    ) -> Float[Tensor, "rows 1 vocab"]:  # fmt: skip
        """Logits of one token a row, whose keys and values join the cache."""
        h = self._inner.embed_in(tokens)
        rotary = rotary_tables(*self._inner.rotary_emb(h, positions))
        mask = masks(real, cache.get_seq_length() + 1, (), h.device)[None]
        h = self._through(self._layers, cache, h, (mask, rotary), taps)
        return self._head(self._inner.final_layer_norm(h))
