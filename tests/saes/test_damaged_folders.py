"""Folders whose settings have the wrong shape, or whose weights hold NaN, get one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from steering.checkpoints.folders import look
from steering.models.model import Model
from steering.saes.loading import load_sae


def copied(source: Path, to: Path) -> Path:
    return Path(shutil.copytree(source, to / "copy"))


def test_an_sae_with_nan_is_refused(tiny_llama: Model, sae_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = copied(sae_folder("standard"), tmp_path)
    weights = load_file(folder / "sae_weights.safetensors")
    weights["W_dec"][0, 0] = torch.nan
    save_file(weights, folder / "sae_weights.safetensors")
    with pytest.raises(ValueError, match="NaN or infinite"):
        load_sae(tiny_llama, str(folder))


def test_settings_of_the_wrong_shape(tiny_llama: Model, sae_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = copied(sae_folder("standard"), tmp_path)
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**config, "apply_b_dec_to_input": "yes"}))
    with pytest.raises(ValueError, match="true or false"):
        load_sae(tiny_llama, str(folder))
    (folder / "cfg.json").write_text(json.dumps({**config, "metadata": [1]}))
    assert "An SAE" in look(folder).sentence
    (folder / "cfg.json").write_text("[" * 100_000)
    assert "could not be read" in look(folder).sentence
