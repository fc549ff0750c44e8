"""Write a trained dictionary as a folder that SAELens loads: cfg.json and sae_weights.safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from ...jobs.files import write_atomically
from ...sites import Site
from .losses import Dictionary


def save_dictionary(
    module: Dictionary, folder: Path, site: Site, model_name: str, about: Mapping[str, Any], *, half: bool = False
) -> Path:
    """The folder of a dictionary whose units are folded; `about` goes into the metadata.

    Args:
        half: store 16-bit floats. They are read as 32-bit ones, so what fires is computed in full precision.
    """
    dtype = torch.float16 if half else torch.float32
    weights = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in module.weights().items()}
    recipe = module.recipe
    config: dict[str, Any] = {
        "architecture": module.saved_as,
        "d_in": int(module.W_dec.shape[1]),
        "d_sae": recipe.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",  # folded into the weights
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.0.0",  # the format, without which SAELens takes a folder for an old one
            "model_name": model_name,
            "hook_name": str(site),
            "model_class_name": "TransformerBridge",
            "model_from_pretrained_kwargs": {},
            "training_architecture": recipe.architecture,
            "recipe": asdict(recipe),
            **about,
        },
    }
    if module.saved_as == "topk":
        config |= {"k": recipe.k, "rescale_acts_by_decoder_norm": False}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "sae_weights.safetensors", save(weights))
    write_atomically(folder / "cfg.json", json.dumps(config, indent=1).encode())
    return folder


@torch.no_grad()
def rounded(module: Dictionary) -> Dictionary:
    """The module with its weights as 16-bit floats would keep them, for measuring what is shipped."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.copy_(tensor.half().float())
    return module
