"""Weights that are mapped from a file, so that those nobody uses take no memory.

A packed copy of a matrix is what decoding multiplies by; the matrix itself is wanted again only for gradients, edits
and hashes. Mapped from a file its pages can leave the memory and come back from the disk when they are touched.
Checkpoints in safetensors are mapped as they are; what is unpacked from a GGUF file is written to one of our own first.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..checkpoints.memory import MOST_PACKED

_PAGE_OUT = 21  # MADV_PAGEOUT of Linux: nothing is lost, what was changed in memory stays there
LEAST_BYTES = 64 * 2**20  # of a model's weights; less is not worth a file
MOST_BYTES = 2 * 2**30  # of all files of unpacked weights; those that were used longest ago go first


def map_later(hf: nn.Module, file: Path, lock: AbstractContextManager[Any]) -> threading.Thread | None:
    """Starts a thread that does `map_weights`, so that nobody waits for the disk; None for what is not worth it."""
    if not LEAST_BYTES <= sum(weight.nbytes for weight in hf.parameters()) <= MOST_PACKED:
        return None
    thread = threading.Thread(target=map_weights, args=(hf, file, lock), name="map weights")
    thread.start()
    return thread


def map_weights(hf: nn.Module, file: Path, lock: AbstractContextManager[Any] | None = None) -> bool:
    """Replaces a model's parameters by the same numbers mapped from a file, written now if it is not there.

    Whether it was done; where the disk takes no such file, the parameters stay as they are, and so do those that were
    edited meanwhile. `lock` is held while they are replaced.
    """
    versions = [weight._version for weight in hf.parameters()]
    named = dict(hf.named_parameters())
    with suppress(OSError, SafetensorError, RuntimeError):
        if not _holds(file, named):
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(f".{os.getpid()}.tmp")
            save_file({name: weight.detach().contiguous() for name, weight in named.items()}, partial)
            with partial.open("rb+") as written:
                os.fsync(written.fileno())  # pages that wait to be written cannot leave the memory
            partial.replace(file)
            _tidy(file)
        file.touch()
        found = load_file(file)
        with lock or nullcontext():
            if versions != [weight._version for weight in hf.parameters()]:
                return False
            for name, weight in named.items():
                weight.data = found[name]
        named.clear()
        _trim()
        return True
    return False


def _holds(file: Path, named: Mapping[str, Tensor]) -> bool:
    """Whether a file has just these numbers: a file of another version of a library is not taken."""
    try:
        found = load_file(file)
    except (OSError, SafetensorError):
        return False
    return found.keys() == named.keys() and all(torch.equal(found[name], weight) for name, weight in named.items())


def _tidy(newest: Path) -> None:
    files = sorted(newest.parent.glob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
    size = 0
    for path in files:
        size += path.stat().st_size
        if size > MOST_BYTES and path != newest:
            path.unlink(missing_ok=True)


def release(weights: Iterable[Tensor]) -> None:
    """Tells the system that these weights are not used for now: pages of a mapped file leave the memory.

    Weights that are in no file stay. Linux only; elsewhere the system finds out by itself when memory is short.
    """
    with suppress(OSError, AttributeError, ValueError):
        advise = ctypes.CDLL(None, use_errno=True).madvise
        advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        files = _mapped_files()
        for weight in weights:
            start, end = weight.data_ptr(), weight.data_ptr() + weight.nbytes
            if weight.is_contiguous() and any(low <= start and end <= high for low, high in files):
                start = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
                advise(start, max(0, end // mmap.PAGESIZE * mmap.PAGESIZE - start), _PAGE_OUT)
    _trim()


def _mapped_files() -> list[tuple[int, int]]:
    """The ranges of addresses at which files of weights are mapped into this process."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    ranges = [line.split()[0].split("-") for line in lines if ".safetensors" in line]
    return [(int(low, 16), int(high, 16)) for low, high in ranges]


def _trim() -> None:
    """Gives memory back that the allocator keeps of what was freed: half a gigabyte after a model was unpacked."""
    with suppress(OSError, AttributeError):  # glibc's alone
        ctypes.CDLL(None).malloc_trim(0)
