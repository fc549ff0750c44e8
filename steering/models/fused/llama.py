"""A decoding step of the Llama family (Llama, Mistral, Qwen-2, Qwen-3): RMS norms, rotary positions, a gated MLP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM

from ..packing import PackedLinears, Product
from .attention import attend, masks, rotary_tables, rotate
from .taps import NOTHING, Taps

CLASSES = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)
# Tables that depend on nothing but the position.
_ROPE = ("default", "linear", "llama3", "yarn")


@dataclass(frozen=True)
class _LlamaLayer:
    """The products and norms of one block."""

    norm_1: nn.Module
    norm_2: nn.Module
    qkv: Product
    output: Product
    gate_up: Product
    down: Product
    activation: nn.Module
    q_norm: nn.Module | None
    k_norm: nn.Module | None
    window: int | None


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


class LlamaStep:
    """One token for every row, by the packed products of a model.

    Args:
        hf: the transformers model; its norms and tables are read in place, so that edits of them count.
    """

    def __init__(self, hf: Any, packed: PackedLinears) -> None:
        inner, config = hf.model, hf.config
        first = inner.layers[0].self_attn
        self._inner, self._head = inner, packed.product(hf.lm_head)
        self._width, self._scale = int(first.head_dim), float(first.scaling)
        self._heads = first.q_proj.out_features // self._width
        self._kv_heads = first.k_proj.out_features // self._width
        kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * len(inner.layers)
        window = getattr(config, "sliding_window", None)
        self._layers = []
        for layer, kind in zip(inner.layers, kinds, strict=True):
            attention, mlp = layer.self_attn, layer.mlp
            self._layers.append(
                _LlamaLayer(
                    layer.input_layernorm,
                    layer.post_attention_layernorm,
                    packed.product(attention.q_proj, attention.k_proj, attention.v_proj),
                    packed.product(attention.o_proj),
                    packed.product(mlp.gate_proj, mlp.up_proj),
                    packed.product(mlp.down_proj),
                    mlp.act_fn,
                    getattr(attention, "q_norm", None),
                    getattr(attention, "k_norm", None),
                    window if kind == "sliding_attention" else None,
                )
            )

    def __call__(
        self,
        tokens: Int[Tensor, "rows 1"],
        positions: Int[Tensor, "rows 1"],
        real: Tensor | None,
        cache: Any,
        taps: Mapping[int, Taps],
    ) -> Float[Tensor, "rows 1 vocab"]:
        """Logits of one token a row, whose keys and values join the cache."""
        h = self._inner.embed_tokens(tokens)
        rotary = rotary_tables(*self._inner.rotary_emb(h, positions))
        hidden = masks(real, cache.get_seq_length() + 1, {layer.window for layer in self._layers}, h.device)
        for n, (layer, kept) in enumerate(zip(self._layers, cache.layers, strict=True)):
            at, last = taps.get(n, NOTHING), h
            if n:
                taps.get(n - 1, NOTHING).read("resid_post", last)
            h = at.edit("resid_pre", h)
            at.read("resid_pre", h)
            written = self._attention(layer, kept, _norm(layer.norm_1, h), rotary, hidden[layer.window], at)
            written = at.edit("attn_out", written)
            before, h = h, h + written
            at.read("attn_out", h, before)
            middle = at.edit("resid_mid", h)
            x = at.edit("mlp_in", _norm(layer.norm_2, middle))
            at.read("mlp_in", x)
            gate, up = layer.gate_up(x).chunk(2, -1)
            written = at.edit("mlp_out", layer.down(layer.activation(gate) * up))
            h = middle + written
            at.read("resid_mid", h, written)
            at.read("mlp_out", h, middle)
            h = at.edit("resid_post", h)
        taps.get(len(self._layers) - 1, NOTHING).read("resid_post", h)
        return self._head(_norm(self._inner.norm, h))

    def _attention(
        self, layer: _LlamaLayer, kept: Any, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None, at: Taps
    ) -> Tensor:
        rows, heads, both = x.shape[0], self._heads, self._heads + self._kv_heads
        qkv = layer.qkv(x).view(rows, both + self._kv_heads, self._width)
        qk, v = qkv[:, :both], qkv[:, both:]
        if layer.q_norm is not None and layer.k_norm is not None:
            qk = torch.cat((_norm(layer.q_norm, qk[:, :heads]), _norm(layer.k_norm, qk[:, heads:])), 1)
        qk = rotate(qk, rotary)
        keys, values = kept.update(qk[:, heads:, None], v[:, :, None])
        z = attend(qk[:, :heads, None], keys, values, mask, self._scale)
        z = at.edit("attn_z", z)
        at.read("attn_z", z)
        return layer.output(z)


def _norm(norm: Any, h: Tensor) -> Tensor:
    return F.rms_norm(h, norm.weight.shape, norm.weight, norm.variance_epsilon)
