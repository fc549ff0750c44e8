"""Weights mapped from a file are the same numbers, may be edited and copied, and come back after they were released."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from steering.models import mapped
from steering.models.mapped import map_later, map_weights, release
from steering.models.model import Model


@pytest.fixture
def fresh(model: Callable[[str], Model]) -> nn.Module:
    return copy.deepcopy(model("gpt2").hf)  # whose head is its embedding


def logits(hf: nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return hf(torch.arange(4, 12)[None]).logits


def test_the_numbers_are_the_same_and_tied_ones_stay_tied(fresh: nn.Module, tmp_path: Path) -> None:
    before, file = logits(fresh), tmp_path / "weights" / "one.safetensors"
    assert map_weights(fresh, file) and torch.equal(logits(fresh), before)
    assert fresh.get_output_embeddings().weight is fresh.get_input_embeddings().weight  # type: ignore[operator]
    again = copy.deepcopy(fresh)
    written = file.stat().st_mtime_ns, file.read_bytes()
    assert map_weights(again, file) and torch.equal(logits(again), before)
    assert file.read_bytes() == written[1]
    release(fresh.parameters())
    assert torch.equal(logits(fresh), before)


def test_an_edit_stays_in_memory(fresh: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    map_weights(fresh, file)
    kept = load_file(file)
    with torch.no_grad():
        for weight in fresh.parameters():
            weight.add_(1)
    edited = {name: weight.clone() for name, weight in fresh.named_parameters()}
    release(fresh.parameters())  # must not lose what is nowhere else
    assert all(torch.equal(weight, edited[name]) for name, weight in fresh.named_parameters())
    assert all(torch.equal(weight, kept[name]) for name, weight in load_file(file).items())


def test_a_file_of_other_numbers_is_written_anew(fresh: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    map_weights(copy.deepcopy(fresh), file)
    with torch.no_grad():
        next(fresh.parameters()).add_(1)
    before = logits(fresh)
    assert map_weights(fresh, file) and torch.equal(logits(fresh), before)
    file.unlink()  # what is mapped of it stays
    file.write_bytes(b"damaged")
    assert map_weights(fresh, file) and torch.equal(logits(fresh), before)


def test_where_the_disk_takes_nothing_the_weights_stay(
    fresh: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path) -> None:
        raise OSError("No space left on device")

    before = logits(fresh)
    monkeypatch.setattr(mapped, "save_file", full)
    assert not map_weights(fresh, tmp_path / "one.safetensors") and torch.equal(logits(fresh), before)


def test_the_files_used_longest_ago_go_first(fresh: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    map_weights(fresh, tmp_path / "one.safetensors")
    monkeypatch.setattr(mapped, "MOST_BYTES", 1)
    map_weights(fresh, tmp_path / "two.safetensors")
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["two.safetensors"]


def test_what_is_edited_meanwhile_is_not_replaced(fresh: nn.Module, tmp_path: Path) -> None:
    class Edits:
        def __enter__(self) -> None:
            with torch.no_grad():
                next(fresh.parameters()).add_(1)

        def __exit__(self, *_: object) -> None: ...

    kept = next(fresh.parameters()).clone()
    assert not map_weights(fresh, tmp_path / "one.safetensors", Edits())  # type: ignore[arg-type]
    assert torch.equal(next(fresh.parameters()), kept + 1)


def test_large_ones_are_mapped_in_the_background(
    fresh: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert map_later(fresh, tmp_path / "one.safetensors", threading.Lock()) is None
    monkeypatch.setattr(mapped, "LEAST_BYTES", 1)
    before, thread = logits(fresh), map_later(fresh, tmp_path / "one.safetensors", threading.Lock())
    assert thread is not None
    thread.join(30)
    assert (tmp_path / "one.safetensors").is_file() and torch.equal(logits(fresh), before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system is told so on Linux")
def test_released_pages_leave_the_memory(tmp_path: Path) -> None:
    def resident() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))

    big = nn.Linear(4096, 4096, bias=False)
    map_weights(big, tmp_path / "big.safetensors")
    total = float(big.weight.detach().sum())
    full = resident()
    release([big.weight])
    assert full - resident() > 40_000  # kilobytes, of 65,536
    assert float(big.weight.detach().sum()) == total
