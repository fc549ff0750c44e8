"""How much memory a model needs, how much there is, and which loaded ones to unload.

A model that does not fit is refused with a sentence before it is read, instead of ending the process.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from .gguf_file import read_gguf

BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "8-bit": 1.0, "4-bit": 0.5}
_GIB = 2**30
MOST_PACKED = _GIB  # bytes of float32 weights of which packed copies are kept on the CPU


@dataclass(frozen=True)
class Shape:
    """What decides how much memory a model takes: parameters, and the key-value geometry of its attention."""

    parameters: int
    n_layers: int
    n_kv_heads: int
    d_head: int

    def weights(self, dtype: str) -> int:
        """Bytes of the weights in a dtype (one of `BYTES`)."""
        return int(self.parameters * BYTES[dtype])

    def cache(self, dtype: str, rows: int, tokens: int) -> int:
        """Bytes of the key-value cache of so many rows and tokens."""
        size = BYTES[dtype] if dtype in ("float32", "bfloat16", "float16") else 2.0
        return int(2 * self.n_layers * self.n_kv_heads * self.d_head * size * rows * tokens)

    def needs(self, dtype: str, rows: int = 8, tokens: int = 512) -> int:
        """Bytes to run: weights, the cache of a batch, and a tenth of the weights for what is in between.

        Small models in float32 have their matrices twice (see `packing`).
        """
        weights = self.weights(dtype)
        copies = weights if dtype == "float32" and weights <= MOST_PACKED else 0
        return int(1.1 * weights) + copies + self.cache(dtype, rows, tokens)


def shape_of(source: str | Path) -> Shape:
    """The shape of a model, from the headers of its folder or of its GGUF file; no weight is read.

    Raises:
        ValueError: a file is not what its name says.
    """
    if Path(source).is_file():
        found = read_gguf(source)
        return Shape(found.parameters, *found.geometry)
    return shape_of_folder(source)


def shape_of_folder(folder: str | Path) -> Shape:
    """The shape of a checkpoint, from its config and the headers of its safetensors; no weight is read.

    Raises:
        ValueError: a file is not what its name says.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = config.get("text_config") or config
        weights = [folder / "model.safetensors"]
        if not weights[0].is_file():
            weights = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("*.safetensors"))
        parameters = sum(_parameters(file) for file in weights)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"The checkpoint in {str(folder)!r} could not be loaded: {error}") from error
    return Shape(parameters, *_geometry(text))


def _parameters(file: Path) -> int:
    """How many numbers a safetensors file holds, by its header."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= 100_000_000:
            raise ValueError(f"{file.name} has no safetensors header; it is damaged. Fetch it again.")
        header = json.loads(opened.read(length))
    return sum(math.prod(about["shape"]) for name, about in header.items() if name != "__metadata__")


def _geometry(config: dict[str, Any]) -> tuple[int, int, int]:
    """Layers, key-value heads and width of a head in a config of any family."""

    def first(*names: str, default: int = 0) -> int:
        return next((int(config[name]) for name in names if isinstance(config.get(name), int)), default)

    layers = first("num_hidden_layers", "n_layer", "num_layers")
    heads = first("num_attention_heads", "n_head", "num_heads", default=1)
    width = first("hidden_size", "n_embd", "d_model")
    return layers, first("num_key_value_heads", default=heads), first("head_dim", default=width // max(heads, 1))


def available(device: str = "cpu") -> int:
    """Free bytes on a device, within the limit of a container."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    free = int(psutil.virtual_memory().available)
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    try:
        # What is cached of files counts as used there, but is given up when it is wanted.
        cached = sum(
            int(line.split()[1])
            for line in (limit.parent / "memory.stat").read_text().splitlines()
            if line.startswith(("inactive_file ", "active_file "))
        )
        free = min(free, int(limit.read_text()) - int(used.read_text()) + cached)
    except (OSError, ValueError):  # no container, or none with a limit ("max")
        pass
    return max(0, free)


def check_fits(name: str, shape: Shape, dtype: str, device: str = "cpu", free: int | None = None) -> int:
    """The bytes that a model needs on a device; raise ValueError if fewer are free.

    Raises:
        ValueError: there are not; the message says what would fit.
    """
    free = available(device) if free is None else free
    needed = shape.needs(dtype)
    if needed <= free:
        return needed
    smaller = [other for other in BYTES if BYTES[other] < BYTES[dtype] and shape.needs(other) <= free]
    smaller = [other for other in smaller if not other.endswith("bit")] or smaller
    hint = f"As {smaller[0]} it needs {size(shape.needs(smaller[0]))}." if smaller else "Choose a smaller model."
    raise ValueError(
        f"{name} needs about {size(needed)} of memory as {dtype} ({size(shape.weights(dtype))} of weights); "
        f"{size(free)} are free on {device}. {hint}"
    )


def size(number: int) -> str:
    """A number of bytes as text: "812 MB", "14.5 GB"."""
    return f"{number / _GIB:.3g} GB" if number >= 0.95 * _GIB else f"{number / 2**20:.3g} MB"


class MemoryBudget:
    """Which loaded things to unload so that a new one fits: the least recently used first.

    It only counts; loading and unloading are the caller's.
    """

    def __init__(self, limit: int) -> None:
        if limit <= 0:
            raise ValueError(f"A memory budget is a number of bytes above 0; got {limit}.")
        self.limit = limit
        self._sizes: OrderedDict[Hashable, int] = OrderedDict()

    @property
    def used(self) -> int:
        """Bytes of everything that is kept."""
        return sum(self._sizes.values())

    @property
    def kept(self) -> tuple[Hashable, ...]:
        """What is kept, the least recently used first."""
        return tuple(self._sizes)

    def size(self, key: Hashable) -> int:
        """Bytes of one thing; 0 if it is not kept."""
        return self._sizes.get(key, 0)

    def touch(self, key: Hashable) -> bool:
        """Mark something as just used; False if it is not kept."""
        if key in self._sizes:
            self._sizes.move_to_end(key)
        return key in self._sizes

    def release(self, key: Hashable) -> None:
        """Forget something that was unloaded."""
        self._sizes.pop(key, None)

    def add(self, key: Hashable, needed: int, *, busy: Collection[Hashable] = ()) -> list[Hashable]:
        """Add something of so many bytes; return what has to be unloaded for it, in order.

        Args:
            busy: what cannot be unloaded now, because it is in use.

        Raises:
            ValueError: it would not fit even alone with what is busy; nothing is changed then.
        """
        others = {other: one for other, one in self._sizes.items() if other != key}
        stay = sum(one for other, one in others.items() if other in busy)
        if needed + stay > self.limit:
            what = f" beside {size(stay)} that are at work" if stay else ""
            raise ValueError(
                f"{key} needs {size(needed)}{what}; the memory budget is {size(self.limit)}. Raise the budget, or "
                "choose a smaller model or dtype."
            )
        let_go, used = [], sum(others.values())
        for other, one in others.items():
            if used + needed <= self.limit:
                break
            if other not in busy:
                let_go.append(other)
                used -= one
        for other in let_go:
            del self._sizes[other]
        self._sizes[key] = needed
        self._sizes.move_to_end(key)
        return let_go
