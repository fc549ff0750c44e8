"""A decoding step of the Llama family (Llama, Mistral, Qwen-2, Qwen-3): RMS norms, rotary positions, a gated MLP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM

from ..packing import PackedLinears
from .attention import attend, masks, rotary_tables, rotate
from .blocks import through_blocks
from .taps import Taps

CLASSES = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)
# Tables that depend on nothing but the position.
_ROPE = ("default", "linear", "llama3", "yarn")


def fits(hf: Any) -> bool:
    """Whether a model of this family is as its class makes it, in everything that the step relies on."""
    config, inner = hf.config, hf.model
    rope = getattr(config, "rope_parameters", None) or {}
    attention = inner.layers[0].self_attn
    return (
        rope.get("rope_type", "default") in _ROPE
        and 2 * inner.rotary_emb.inv_freq.numel() == attention.head_dim
        and all(type(norm).__name__.endswith("RMSNorm") for norm in _norms(inner))
        and all(type(module) is nn.Linear for layer in inner.layers for module in _linears(layer))
    )


def _norms(inner: Any) -> list[nn.Module]:
    each = [(layer.input_layernorm, layer.post_attention_layernorm) for layer in inner.layers]
    return [inner.norm, *(norm for pair in each for norm in pair)]


def _linears(layer: Any) -> list[nn.Module]:
    attention, mlp = layer.self_attn, layer.mlp
    return [
        *(attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj),
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    ]


class _LlamaLayer:
    def __init__(self, block: Any, packed: PackedLinears, window: int | None) -> None:
        attention, mlp = block.self_attn, block.mlp
        self._norm_1, self._norm_2 = block.input_layernorm, block.post_attention_layernorm
        self._q_norm, self._k_norm = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
        self._width, self._scale = int(attention.head_dim), float(attention.scaling)
        self._heads = attention.q_proj.out_features // self._width
        self._both = self._heads + attention.k_proj.out_features // self._width
        self.window = window
        self._qkv = packed.product(attention.q_proj, attention.k_proj, attention.v_proj)
        self._output, self._down = packed.product(attention.o_proj), packed.product(mlp.down_proj)
        self._gate_up, self._act = packed.product(mlp.gate_proj, mlp.up_proj), mlp.act_fn

    def norm_1(self, h: Tensor) -> Tensor:
        return _norm(self._norm_1, h)

    def norm_2(self, h: Tensor) -> Tensor:
        return _norm(self._norm_2, h)

    def attention(self, x: Tensor, kept: Any, context: Any, at: Taps) -> Tensor:
        hidden, rotary = context
        qkv = self._qkv(x).view(x.shape[0], -1, self._width)
        qk, v = qkv[:, : self._both], qkv[:, self._both :]
        if self._q_norm is not None and self._k_norm is not None:
            qk = torch.cat((_norm(self._q_norm, qk[:, : self._heads]), _norm(self._k_norm, qk[:, self._heads :])), 1)
        qk = rotate(qk, rotary)
        keys, values = kept.update(qk[:, self._heads :, None], v[:, :, None])
        z = attend(qk[:, : self._heads, None], keys, values, hidden[self.window], self._scale)
        z = at.edit("attn_z", z)
        at.read("attn_z", z)
        return self._output(z)

    def mlp(self, x: Tensor) -> Tensor:
        gate, up = self._gate_up(x).chunk(2, -1)
        return self._down(self._act(gate) * up)


class LlamaStep:
    """One token for every row, by the packed products of a model.

    Args:
        hf: the transformers model; its norms and tables are read in place, so that edits of them count.
    """

    def __init__(self, hf: Any, packed: PackedLinears) -> None:
        inner, config = hf.model, hf.config
        self._inner, self._head = inner, packed.product(hf.lm_head)
        kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * len(inner.layers)
        window = getattr(config, "sliding_window", None)
        self._layers = [
            _LlamaLayer(block, packed, window if kind == "sliding_attention" else None)
            for block, kind in zip(inner.layers, kinds, strict=True)
        ]

    def __call__(
        self, tokens: Int[Tensor, "rows 1"], positions: Int[Tensor, "rows 1"], real: Tensor | None, cache: Any,
        taps: Mapping[int, Taps],
    ) -> Float[Tensor, "rows 1 vocab"]:  # fmt: skip
        """Logits of one token a row, whose keys and values join the cache."""
        h = self._inner.embed_tokens(tokens)
        rotary = rotary_tables(*self._inner.rotary_emb(h, positions))
        hidden = masks(real, cache.get_seq_length() + 1, {layer.window for layer in self._layers}, h.device)
        h = through_blocks(self._layers, cache, h, (hidden, rotary), taps)
        return self._head(_norm(self._inner.norm, h))


def _norm(norm: Any, h: Tensor) -> Tensor:
    return F.rms_norm(h, norm.weight.shape, norm.weight, norm.variance_epsilon)
