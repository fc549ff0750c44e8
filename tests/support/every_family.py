"""A tiny random model of every decoder-only architecture that TransformerLens has an adapter for."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

D_MODEL, VOCAB = 32, 304
# Every name under which families keep a size; a family gets those that its config has.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim", "lru_width"), D_MODEL),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "mamba_d_ssm"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 3),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"), 4),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"), 128),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCAB),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "num_key_value_heads", "linear_num_key_heads", "expand"), 2),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("attention_window_size", "sliding_window", "chunk_size", "mamba_chunk_size"), 16),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim"), 16),
    **dict.fromkeys(("head_dim", "qk_nope_head_dim", "v_head_dim", "linear_key_head_dim", "linear_value_head_dim"), 8),
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size", "hidden_size_per_layer_input"), 8),
    **dict.fromkeys(("rotary_dim", "qk_rope_head_dim", "linear_num_value_heads", "mamba_n_heads"), 4),
    "mamba_num_heads": 4,
    **dict.fromkeys(("mamba_dt_rank", "time_step_rank", "conv_kernel", "mamba_d_conv"), 4),
    **dict.fromkeys(("n_shared_experts", "moe_num_shared_experts", "num_shared_experts", "n_group", "topk_group"), 1),
    **dict.fromkeys(("first_k_dense_replace", "mamba_n_groups", "n_groups"), 1),
    "mamba_expand": 2, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None,
}  # fmt: skip
LEFT_OUT = object()
_MLA = {"num_key_value_heads": 4, "head_dim": LEFT_OUT}
_LINEAR = {"layer_types": ["linear_attention", "full_attention", "linear_attention"]}
_CONV = {"layer_types": ["conv", "full_attention", "conv"], "num_dense_layers": 1}
_GRANITE = {"residual_multiplier": 0.22, "embedding_multiplier": 12.0, "logits_scaling": 8.0}
OWN: dict[str, dict[str, Any]] = {
    "BambaForCausalLM": {"attn_layer_indices": [1], "layer_types": LEFT_OUT},
    "BertLMHeadModel": {"is_decoder": True},
    "YoutuForCausalLM": _MLA, "DeepseekV2ForCausalLM": _MLA, "DeepseekV3ForCausalLM": _MLA,
    "Glm4MoeLiteForCausalLM": _MLA,
    "GlmMoeDsaForCausalLM": {**_MLA, "index_n_heads": 2, "index_head_dim": 16, "index_topk": 8},
    "ModernBertDecoderForCausalLM": {"pad_token_id": 2, "cls_token_id": 2, "sep_token_id": 3},
    "FalconForCausalLM": {"head_dim": LEFT_OUT},
    "Gemma4ForCausalLM": {"head_dim": 8, "global_head_dim": 8},
    "GraniteForCausalLM": _GRANITE, "GraniteMoeForCausalLM": _GRANITE,
    "GraniteMoeHybridForCausalLM": {**_GRANITE, "layer_types": ["mamba", "attention", "mamba"]},
    "CohereForCausalLM": {"logit_scale": 0.5}, "Cohere2ForCausalLM": {"logit_scale": 0.5},
    "JambaForCausalLM": {"attn_layer_offset": 1, "attn_layer_period": 2, "expert_layer_period": 2},
    "Lfm2MoeForCausalLM": _CONV, "Lfm2ForCausalLM": _CONV,
    "Mamba2ForCausalLM": {"head_dim": 16},
    **dict.fromkeys(("Qwen3NextForCausalLM", "Qwen3_5ForCausalLM", "Qwen3_5MoeForCausalLM"), _LINEAR),
    "OlmoHybridForCausalLM": _LINEAR,
    "GPTNeoForCausalLM": {"attention_types": [[["global", "local", "global"], 1]], "window_size": 16},
    "Zamba2ForCausalLM": {
        "layers_block_type": ["mamba", "hybrid", "mamba"], "hybrid_layer_ids": [1], "num_mem_blocks": 1,
        "layer_types": LEFT_OUT, "n_mamba_heads": 4, "mamba_headdim": 16, "mamba_ngroups": 1, "use_mem_rope": True,
        "attention_hidden_size": 64, "attention_head_dim": 16, "num_key_value_heads": 4,
    },
}  # fmt: skip


def model_type(architecture: str) -> str | None:
    """The name of an architecture's config, where transformers opens it as a causal language model."""
    for kind, names in CAUSAL.items():
        if architecture in (names if isinstance(names, tuple) else (names,)) and kind not in ("gpt-sw3", "internlm3"):
            return kind
    return None


# Those with a vision tower read text by the same blocks as the text model beside them in this list.
ARCHITECTURES = [
    name for name in SUPPORTED_ARCHITECTURES if model_type(name) and not name.endswith("ForConditionalGeneration")
]


def build(architecture: str) -> Any:
    """The tiny random model, with gains and biases that are not neutral."""
    own = type(transformers.AutoConfig.for_model(model_type(architecture)))
    outer = own()
    kind = type(outer.get_text_config()) if outer.get_text_config() is not outer else own
    settings = {name: size for name, size in SIZES.items() if _has(kind, name)} | OWN.get(architecture, {})
    config = kind(**{name: value for name, value in settings.items() if value is not LEFT_OUT})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hf = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)
        for parameter in hf.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.15)
            elif parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return hf


def _has(kind: Any, name: str) -> bool:
    if name in getattr(kind, "attribute_map", {}):
        return False  # the name of another one
    try:
        return hasattr(kind(), name)
    except Exception:  # a config that has no one value of it
        return False
