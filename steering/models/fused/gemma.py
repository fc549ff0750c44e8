"""A decoding step of Gemma-3 (text): norms before and after each part, two rotary bases, sliding windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Gemma3ForCausalLM

from ..packing import PackedLinears
from .attention import attend, masks, rotary_tables, rotate
from .blocks import through_blocks
from .taps import Taps

CLASSES = (Gemma3ForCausalLM,)
_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)
_PRODUCTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
_MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


def fits(hf: Any) -> bool:
    """Whether a model of this family is as its class makes it, in everything that the step relies on."""
    inner, config = hf.model, hf.config
    kinds = getattr(inner.rotary_emb, "rope_type", None)
    return (
        isinstance(kinds, dict)
        and set(kinds.values()) <= {"default", "linear"}
        and config.attn_logit_softcapping is None
        and not config.use_bidirectional_attention
        and all(type(block.get_submodule(name)) is nn.Linear for block in inner.layers for name in (*_PRODUCTS, *_MLP))
        and all(type(getattr(block, name)).__name__ == "Gemma3RMSNorm" for block in inner.layers for name in _NORMS)
    )


class _GemmaLayer:
    def __init__(self, block: Any, packed: PackedLinears) -> None:
        attention, mlp = block.self_attn, block.mlp
        self._norms = [getattr(block, name) for name in _NORMS]
        self._q_norm, self._k_norm = attention.q_norm, attention.k_norm
        self._width, self._scale = int(attention.head_dim), float(attention.scaling)
        self._heads = attention.q_proj.out_features // self._width
        self._both = self._heads + attention.k_proj.out_features // self._width
        self.kind, self.window = attention.layer_type, attention.sliding_window
        self._qkv = packed.product(attention.q_proj, attention.k_proj, attention.v_proj)
        self._output, self._down = packed.product(attention.o_proj), packed.product(mlp.down_proj)
        self._gate_up, self._act = packed.product(mlp.gate_proj, mlp.up_proj), mlp.act_fn

    def norm_1(self, h: Tensor) -> Tensor:
        return _norm(self._norms[0], h)

    def norm_2(self, h: Tensor) -> Tensor:
        return _norm(self._norms[2], h)

    def attention(self, x: Tensor, kept: Any, context: Any, at: Taps) -> Tensor:
        hidden, rotary = context
        qkv = self._qkv(x).view(x.shape[0], -1, self._width)
        qk = torch.cat(
            (_norm(self._q_norm, qkv[:, : self._heads]), _norm(self._k_norm, qkv[:, self._heads : self._both])), 1
        )
        qk = rotate(qk, rotary[self.kind])
        keys, values = kept.update(qk[:, self._heads :, None], qkv[:, self._both :, None])
        z = attend(qk[:, : self._heads, None], keys, values, hidden[self.window], self._scale)
        z = at.edit("attn_z", z)
        at.read("attn_z", z)
        return _norm(self._norms[1], self._output(z))

    def mlp(self, x: Tensor) -> Tensor:
        gate, up = self._gate_up(x).chunk(2, -1)
        return _norm(self._norms[3], self._down(self._act(gate) * up))


class GemmaStep:
    """One token for every row, by the packed products of a model.

    Args:
        hf: the transformers model; its norms and tables are read in place, so that edits of them count.
    """

    def __init__(self, hf: Any, packed: PackedLinears) -> None:
        self._inner, self._head = hf.model, packed.product(hf.lm_head)
        self._cap = hf.config.final_logit_softcapping
        self._layers = [_GemmaLayer(block, packed) for block in hf.model.layers]

    def __call__(
        self, tokens: Int[Tensor, "rows 1"], positions: Int[Tensor, "rows 1"], real: Tensor | None, cache: Any,
        taps: Mapping[int, Taps],
    ) -> Float[Tensor, "rows 1 vocab"]:  # fmt: skip
        """Logits of one token a row, whose keys and values join the cache."""
        h = self._inner.embed_tokens(tokens)
        kinds = {layer.kind for layer in self._layers}
        rotary = {kind: rotary_tables(*self._inner.rotary_emb(h, positions, kind)) for kind in kinds}
        hidden = masks(real, cache.get_seq_length() + 1, {layer.window for layer in self._layers}, h.device)
        h = through_blocks(self._layers, cache, h, (hidden, rotary), taps)
        logits = self._head(_norm(self._inner.norm, h))
        return logits if self._cap is None else torch.tanh(logits / self._cap) * self._cap


def _norm(norm: Any, h: Tensor) -> Tensor:
    return F.rms_norm(h, norm.weight.shape, 1 + norm.weight, norm.eps)
