"""A checkpoint that is not whole, or not a model alone, is refused in a sentence that names what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from steering.checkpoints.wholeness import check_weights
from steering.models.loading import load_model

Change = Callable[[Path], None]


def weights(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    def work(folder: Path) -> None:
        file = folder / "model.safetensors"
        save_file(change(load_file(file)), file, metadata={"format": "pt"})

    return work


def config(**settings: Any) -> Change:
    def work(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))

    return work


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "a/base"}))


def pointer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


LOST = "model.layers.1.mlp.down_proj.weight"
CASES: dict[str, tuple[Change, str]] = {
    "another prefix": (
        weights(lambda w: {f"base.{name}": v for name, v in w.items()}),
        r"weights are missing .*base\.",
    ),
    "one missing": (weights(lambda w: {n: v for n, v in w.items() if n != LOST}), rf"1 of its \d+ weights .*{LOST}"),
    "more layers than weights": (config(num_hidden_layers=9), "weights are missing in its files"),
    "fewer layers than weights": (config(num_hidden_layers=1), "which would be left out"),
    "other sizes": (config(intermediate_size=20), "another shape than config.json gives"),
    "an adapter": (adapter, r"holds an adapter \(LORA, adapter_config.json\), a change of a/base"),
    "a pointer": (pointer, "tokenizer.json is a Git LFS pointer"),
    "no tokenizer": (no_tokenizer, "no tokenizer files"),
    "a damaged config": (
        lambda folder: (folder / "tokenizer.json").write_text("{") and None,
        "tokenizer.json is damaged",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_whole_is_refused(case: str, checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    change, sentence = CASES[case]
    folder = shutil.copytree(checkpoint("llama"), tmp_path / "model")
    load_model(folder)
    change(folder)
    with pytest.raises(ValueError, match=sentence):
        load_model(folder)


def test_an_adapter_alone_is_refused_by_name(tmp_path: Path) -> None:
    adapter(tmp_path)
    with pytest.raises(ValueError, match="LORA.*Merge it into"):
        load_model(tmp_path)


def test_buffers_that_older_files_hold_are_no_weights_left_over() -> None:
    check_weights({"unexpected_keys": {"model.layers.0.self_attn.rotary_emb.inv_freq", "mtp.layers.0.x"}}, {"x": 1})
    with pytest.raises(ValueError, match="one weight more"):
        check_weights({"unexpected_keys": {"score.weight"}}, {"x": 1})
