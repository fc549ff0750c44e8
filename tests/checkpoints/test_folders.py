"""A folder says what it is: a model, an SAE, a place that holds some, or why it is nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models as tiny

from steering.checkpoints.folders import look


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_checkpoint_of_every_family(family: str, checkpoint: Callable[[str], Path]) -> None:
    found = look(checkpoint(family))
    assert found.kind == "model" and found.shape is not None and found.stored == "float32"
    assert f"in {tiny.N_LAYERS} layers, stored as float32" in found.sentence and "tokenizer" not in found.sentence


def test_whether_it_chats_is_known_before_it_is_loaded(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("llama"), tmp_path / "llama")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = folder / "tokenizer_config.json"
    settings.write_text("{}")
    assert not look(folder).chat
    settings.write_text(json.dumps({"chat_template": "{{ messages }}"}))  # as older checkpoints have it
    assert look(folder).chat
    settings.write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert look(folder).chat
    settings.write_text("{")
    (folder / "chat_template.jinja").unlink()
    assert "tokenizer_config.json" in look(folder).sentence and look(folder).kind == "nothing"


def test_an_sae(sae_folder: Callable[..., Path], tmp_path: Path) -> None:
    found = look(sae_folder("jumprelu"))
    assert found.kind == "sae"
    assert found.sentence == "An SAE (jumprelu): 96 features that read blocks.1.hook_resid_post of tiny, width 32."
    shutil.copy(sae_folder("jumprelu") / "cfg.json", tmp_path)
    assert "has no sae_weights.safetensors" in look(tmp_path).sentence


def test_why_it_is_nothing(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    assert "there is none at" in look(tmp_path / "no").sentence
    assert "holds a config.json" in look(tmp_path).sentence
    (tmp_path / "config.json").write_text("{}")
    assert "has no weights" in look(tmp_path).sentence
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    assert "only pickled weights" in look(tmp_path).sentence
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 99)
    assert "no safetensors header" in look(tmp_path).sentence
    shutil.copy(checkpoint("llama") / "model.safetensors", tmp_path)
    assert "describes no language model" in look(tmp_path).sentence
    (tmp_path / "config.json").write_text("[")
    assert look(tmp_path).kind == "nothing" and "could not be loaded" in look(tmp_path).sentence


def test_a_model_without_a_tokenizer_says_so(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(checkpoint("llama") / name, tmp_path)
    assert "holds no tokenizer" in look(tmp_path).sentence


def test_sub_folders_are_found_hidden_and_deep_ones_not(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    for place in ("b", "a/one", ".hidden", "x/y/z/deep"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.json").write_text(json.dumps({}))
        (tmp_path / place / "model.safetensors").write_bytes(b"")
    found = look(tmp_path)
    assert found.kind == "several" and found.inside == (tmp_path / "a/one", tmp_path / "b")
    assert "2 of its sub-folders" in found.sentence
