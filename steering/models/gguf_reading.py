"""Unpack a GGUF file into a plain transformers model and its tokenizer."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import torch
import transformers

from ..checkpoints.wholeness import check_weights

_one = threading.Lock()


def unpack(file: Path, dtype: torch.dtype, options: dict[str, Any]) -> tuple[Any, Any]:
    """The transformers model of a GGUF file, its weights as plain numbers of a dtype, and its tokenizer.

    Raises:
        ValueError, OSError, KeyError, RuntimeError: transformers' own errors for a file that it cannot read.
    """
    folder, name = str(file.parent), file.name
    with _parsed_once():
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=name, dtype=dtype, trust_remote_code=False, output_loading_info=True, **options
        )
        hf, found = loaded
        check_weights(found, hf.state_dict())
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name, trust_remote_code=False)
    # Off with what transformers notes of the file: the weights are plain now, and can be copied and saved.
    hf.is_quantized = False
    for owner, noted in ((hf.config, "quantization_config"), (hf, "hf_quantizer"), (hf, "quantization_method")):
        if hasattr(owner, noted):
            delattr(owner, noted)
    return hf, tokenizer


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Within this block a GGUF file is parsed once, and the names of a family's weights are tabled once.

    transformers parses the file for the config, the weights and the tokenizer each time, and tables the names for every
    module of the model: most of the time that a small model takes to open. Both are functions of their arguments alone.
    """
    with _one:
        reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
        gguf.GGUFReader = functools.cache(reader)  # type: ignore[assignment, misc]
        gguf.get_tensor_name_map = functools.cache(names)  # type: ignore[assignment]
        try:
            yield
        finally:
            gguf.GGUFReader, gguf.get_tensor_name_map = reader, names
