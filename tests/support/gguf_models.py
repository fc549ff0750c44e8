"""Tiny models as GGUF files, written with gguf-py from the same random checkpoints that the other tests use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tiny_models import BOS, EOS, QWEN_CHAT
from transformers import AutoModelForCausalLM, AutoTokenizer

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,  # llama.cpp has one name for both
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3": gguf.MODEL_ARCH.GEMMA3,
    "gpt2": gguf.MODEL_ARCH.GPT2,
}


def write_gguf(
    family: str,
    checkpoint: Path,
    path: Path,
    *,
    quantization: str = "F32",
    drop: tuple[str, ...] = (),
    **fields: Any,
) -> Path:
    """A GGUF file of a tiny checkpoint.

    Args:
        quantization: of its matrices, as gguf names it; vectors stay float32.
        drop: keys of the metadata that are left out.
        fields: further metadata, with `__` for the dot in a key; numbers and texts only.
    """
    hf: Any = AutoModelForCausalLM.from_pretrained(checkpoint)
    architecture = ARCHITECTURES[family]
    name = gguf.MODEL_ARCH_NAMES[architecture]
    writer = gguf.GGUFWriter(path, name)
    known = {**_settings(hf.config, name), "general.name": f"Tiny {family}", "general.license": "apache-2.0"}
    known |= {key.replace("__", "."): value for key, value in fields.items()}
    for key, value in known.items():
        if key not in drop:
            _add(writer, key, value)
    if "tokenizer" not in drop:
        _add_tokenizer(writer, AutoTokenizer.from_pretrained(checkpoint), hf.config.vocab_size)
    kind, names = (
        gguf.GGMLQuantizationType[quantization],
        gguf.get_tensor_name_map(architecture, hf.config.num_hidden_layers),
    )
    tied = hf.config.tie_word_embeddings
    for key, tensor in hf.state_dict().items():
        if tied and key == "lm_head.weight":
            continue
        found = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert found is not None, key
        values = _as_llama_cpp_has_it(family, key, tensor.numpy(), hf.config)
        if values.ndim > 1 and kind != gguf.GGMLQuantizationType.F32:
            writer.add_tensor(found, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(found, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    add[type(value)](key, value)


def _settings(config: Any, name: str) -> dict[str, Any]:
    heads = config.num_attention_heads
    found: dict[str, Any] = {
        "general.type": "model",
        f"{name}.context_length": config.max_position_embeddings,
        f"{name}.embedding_length": config.hidden_size,
        f"{name}.block_count": config.num_hidden_layers,
        f"{name}.attention.head_count": heads,
    }
    if name == "gpt2":
        return found | {f"{name}.attention.layer_norm_epsilon": config.layer_norm_epsilon}
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return found | {
        f"{name}.feed_forward_length": config.intermediate_size,
        f"{name}.attention.head_count_kv": config.num_key_value_heads,
        f"{name}.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        f"{name}.attention.key_length": width,
        f"{name}.rope.dimension_count": width,
        f"{name}.rope.freq_base": 10000.0,
        f"{name}.vocab_size": config.vocab_size,
    }


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Any, vocab: int) -> None:
    words = tokenizer.get_vocab()
    tokens = sorted(words, key=words.get) + [f"[PAD{n}]" for n in range(len(words), vocab)]
    special = set(tokenizer.all_special_tokens)
    kinds = [
        gguf.TokenType.CONTROL
        if token in special
        else gguf.TokenType.UNUSED
        if n >= len(words)
        else gguf.TokenType.NORMAL
        for n, token in enumerate(tokens)
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_token_merges(_merges(tokenizer))
    writer.add_bos_token_id(words[BOS])
    writer.add_eos_token_id(words[EOS])
    writer.add_add_bos_token(tokenizer.encode("a")[0] == words[BOS])
    writer.add_chat_template(QWEN_CHAT)


def _merges(tokenizer: Any) -> list[str]:
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    return [" ".join(pair) for pair in state["model"]["merges"]]


def _as_llama_cpp_has_it(family: str, key: str, values: np.ndarray, config: Any) -> np.ndarray:
    """Where llama.cpp stores a weight in another way than transformers, that way."""
    if key.endswith("wpe.weight"):  # transformers takes GPT-2's own 1,024 positions, whatever a file says
        return np.pad(values, ((0, 1024 - len(values)), (0, 0)))
    if family == "gpt2" and values.ndim == 2 and ("c_attn" in key or "c_fc" in key or "c_proj" in key):
        return np.ascontiguousarray(values.T)
    if family.startswith("gemma") and key.endswith("norm.weight"):
        return values + 1
    if family in ("llama", "mistral") and ("q_proj" in key or "k_proj" in key):
        heads = config.num_attention_heads if "q_proj" in key else config.num_key_value_heads
        halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))
    return values
