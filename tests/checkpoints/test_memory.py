"""Memory: what a model needs is counted from its files, too much is refused, and the least recently used goes first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_models as tiny
import torch

from steering.checkpoints import memory
from steering.checkpoints.memory import MemoryBudget, Shape, available, check_fits, shape_of_folder
from steering.models.loading import load_model
from steering.models.model import Model

GIB = 2**30
SEVEN_B = Shape(7_000_000_000, n_layers=32, n_kv_heads=8, d_head=128)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_checkpoint_is_counted_without_reading_it(family: str, checkpoint, model: Callable[[str], Model]) -> None:
    lm, shape = model(family), shape_of_folder(checkpoint(family))
    tied = lm.hf.config.tie_word_embeddings
    assert shape.parameters == lm.n_parameters or (tied and shape.parameters >= lm.n_parameters)
    cache = lm.hf(torch.tensor([[1, 2, 3]]), use_cache=True).past_key_values
    held = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert shape.cache("float32", rows=1, tokens=3) == 4 * held


def test_by_hand() -> None:
    """7e9 x 2 bytes; a token of the cache: 2 x 32 layers x 8 heads x 128 wide x 2 bytes = 131072 bytes."""
    assert SEVEN_B.weights("bfloat16") == 14_000_000_000 == 4 * SEVEN_B.weights("4-bit")
    assert SEVEN_B.cache("bfloat16", rows=8, tokens=512) == 131072 * 8 * 512
    assert SEVEN_B.cache("8-bit", rows=1, tokens=1) == 131072  # the cache is not quantized


def test_small_models_in_float32_are_counted_twice() -> None:
    """Their matrices are kept once more, packed: 1e6 x 4 bytes of weights need 1.1 + 1 times that, and the cache."""
    small = Shape(1_000_000, n_layers=2, n_kv_heads=2, d_head=8)
    assert small.needs("float32") == 8_400_000 + small.cache("float32", 8, 512)
    assert small.needs("bfloat16") == 2_200_000 + small.cache("bfloat16", 8, 512)
    assert SEVEN_B.needs("float32") == int(1.1 * 28e9) + SEVEN_B.cache("float32", 8, 512)


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    assert check_fits("m", SEVEN_B, "bfloat16", free=20 * GIB) < 20 * GIB
    with pytest.raises(
        ValueError, match=r"m needs about 29.7 GB of memory as float32 .* 20 GB are free on cpu. As bfl"
    ):
        check_fits("m", SEVEN_B, "float32", free=20 * GIB)
    with pytest.raises(ValueError, match=r"As 8-bit it needs"):
        check_fits("m", SEVEN_B, "bfloat16", free=9 * GIB)
    with pytest.raises(ValueError, match="Choose a smaller model"):
        check_fits("m", SEVEN_B, "4-bit", free=GIB)
    needed = SEVEN_B.needs("bfloat16")
    assert check_fits("m", SEVEN_B, "bfloat16", free=needed) == needed
    with pytest.raises(ValueError, match="m needs about"):
        check_fits("m", SEVEN_B, "bfloat16", free=needed - 1)


def test_loading_is_refused_before_a_weight_is_read(checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 1000)
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", lambda *a, **k: pytest.fail("was read"))
    with pytest.raises(ValueError, match="needs about .* as float32"):
        load_model(checkpoint("llama"), device="cpu")


def test_some_memory_is_free_here() -> None:
    assert 10_000_000 < available("cpu") < 1 << 50


def test_a_containers_limit_counts_without_what_is_cached_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1000 - 700 + 200 + 50 = 550; without a limit what the machine has, 5000."""
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 90\ninactive_file 200\nactive_file 50\nfile 400\n")
    monkeypatch.setattr(memory, "Path", lambda path: tmp_path / Path(path).name)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=5000))
    for limit, free in (("1000", 550), ("100000", 5000), ("100", 0), ("max", 5000)):
        (tmp_path / "memory.max").write_text(limit + "\n")
        assert available("cpu") == free


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="model.safetensors has no safetensors header"):
        shape_of_folder(tmp_path)
    (tmp_path / "config.json").write_text("[1")
    with pytest.raises(ValueError, match="could not be loaded"):
        shape_of_folder(tmp_path)


def test_the_language_part_of_a_larger_model_is_what_counts(tmp_path: Path) -> None:
    text = {"num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 16}
    (tmp_path / "config.json").write_text(json.dumps({"text_config": text, "vision_config": {"num_hidden_layers": 99}}))
    header = json.dumps({"w": {"dtype": "F32", "shape": [5, 7], "data_offsets": [0, 140]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(140)
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert shape_of_folder(tmp_path) == Shape(35, 3, 4, 16)
    # In parts, beside the same weights in another layout.
    (tmp_path / "model.safetensors").rename(tmp_path / "model-00001-of-00002.safetensors")
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(weights)
    (tmp_path / "consolidated.safetensors").write_bytes(weights)
    assert shape_of_folder(tmp_path).parameters == 70


# Several models -----------------------------------------------------------------------------------------------------


def test_the_least_recently_used_goes_first() -> None:
    budget = MemoryBudget(100)
    assert budget.add("a", 40) == budget.add("b", 40) == []
    assert budget.touch("a") and not budget.touch("z")
    assert budget.add("c", 50) == ["b"]
    assert (budget.kept, budget.used) == (("a", "c"), 90)
    assert budget.add("d", 100) == ["a", "c"]
    budget.release("d")
    assert budget.used == 0


def test_what_is_at_work_stays() -> None:
    budget = MemoryBudget(100)
    for name in "abc":
        budget.add(name, 30)
    assert budget.add("d", 40, busy={"a"}) == ["b"]
    with pytest.raises(ValueError, match="e needs .*beside .* at work; the memory budget is"):
        budget.add("e", 80, busy={"a"})
    assert budget.kept == ("a", "c", "d")  # a refusal changes nothing


def test_adding_again_counts_once() -> None:
    budget = MemoryBudget(100)
    budget.add("a", 60)
    assert budget.add("a", 90) == [] and budget.used == 90
    assert budget.add("b", 10) == budget.add("a", 80) == [] and budget.kept == ("b", "a")
    with pytest.raises(ValueError, match="a number of bytes above 0"):
        MemoryBudget(0)
