"""GGUF control vectors, the format of llama.cpp and repeng: one residual direction for each layer, `direction.<n>`.

What n means differs, so the caller says it:

- `"block"`: n is the 0-based block whose output is changed, `resid_post` of block n. repeng writes it, and llama.cpp
  applies every file so (`--control-vector`; it has no direction for block 0).
- `"output"`: n counts outputs from 1, `resid_post` of block n - 1. llama.cpp's `llama-cvector-generator` reads the
  vectors so, although llama.cpp then applies them one block later.

Each tensor is a [d_model] vector in the units of the residual stream.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import gguf
import numpy as np
import torch

from ..sites import Site
from .direction import Direction

Numbering = Literal["block", "output"]
ARCHITECTURE = "controlvector"
MAX_BYTES = 256_000_000
_UNREADABLE = (
    ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError, OSError, struct.error, ZeroDivisionError,
    AttributeError, UnicodeDecodeError,
)  # fmt: skip


def save_gguf(
    path: str | Path, directions: Sequence[Direction], *, numbering: Numbering, model_hint: str = "unknown"
) -> Path:
    """Write directions of different layers as one control vector and return its path; features are decoded first.

    Args:
        model_hint: the model's `config.model_type`, such as "llama"; readers show it or compare it.

    Raises:
        ValueError: two directions of one layer, another stream than resid_post, or a layer that has no number.
    """
    shift = _shift(numbering)
    tensors: dict[int, np.ndarray] = {}
    for direction in directions:
        if direction.site.stream != "resid_post":
            raise ValueError(f"A control vector is added to resid_post; {direction.name!r} is at {direction.site}.")
        number = direction.site.layer + shift
        if number in tensors:
            raise ValueError(f"A control vector has one direction a layer; got two for layer {direction.site.layer}.")
        if number == 0:
            raise ValueError(
                'llama.cpp has no direction for block 0, so with numbering="block" layer 0 cannot be exported.'
            )
        tensors[number] = direction.decoded().contiguous().numpy()
    if not tensors:
        raise ValueError("A control vector holds at least one direction; got none.")
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    writer = gguf.GGUFWriter(partial, ARCHITECTURE)
    writer.add_string(f"{ARCHITECTURE}.model_hint", model_hint)
    writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(tensors))
    for number, vector in sorted(tensors.items()):
        writer.add_tensor(f"direction.{number}", vector)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return partial.replace(path)


def load_gguf(path: str | Path, *, numbering: Numbering) -> list[Direction]:
    """The directions of a control vector, by layer; all-zero ones (layers left out) are skipped.

    The file does not say which weights it was made from, so the directions fit every model of their width.

    Raises:
        ValueError: no such file, no control vector, a tensor that is no row of floats, or a number without a layer.
    """
    shift, path = _shift(numbering), Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"A control vector is a .gguf file; there is none at {str(path)!r}.")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"A control vector has at most {MAX_BYTES // 10**6} MB; {path.name} is larger.")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError(f"{path.name!r} could not be read as GGUF: it is another kind of file. Export it again.")
    try:
        reader = gguf.GGUFReader(path)
        kind = _text(reader, "general.architecture")
        hint = _text(reader, f"{ARCHITECTURE}.model_hint")
        tensors = [(tensor.name, np.array(tensor.data), tensor.tensor_type) for tensor in reader.tensors]
    except _UNREADABLE as error:
        raise ValueError(
            f"{path.name!r} could not be read as GGUF: it is damaged or cut short ({error or type(error).__name__}). "
            "Export it again."
        ) from error
    if kind != ARCHITECTURE:
        raise ValueError(f"A control vector's architecture is {ARCHITECTURE!r}; {path.name!r} says {kind!r}.")
    found: dict[int, Direction] = {}
    widths: dict[int, str] = {}
    for name, data, stored in tensors:
        prefix, _, number = name.partition(".")
        if prefix != "direction":
            continue
        if not number.isascii() or not number.isdigit():
            raise ValueError(f"Tensors of a control vector are called direction.<number>; got {name!r}.")
        layer = int(number) - shift
        if layer < 0:
            raise ValueError(
                f'With numbering="output" the first layer is direction.1; {path.name!r} has {name!r}. '
                'Use numbering="block".'
            )
        row = _floats(data, stored, f"{name!r} of {path.name!r}")
        if layer in found:
            raise ValueError(f"{path.name!r} has two directions of one layer, direction.{int(number)}; keep one.")
        if other := next((known for width, known in widths.items() if width != len(row)), None):
            raise ValueError(
                f"The directions of a control vector have one width; in {path.name!r} {name!r} has {len(row)} numbers, "
                f"unlike {other!r}."
            )
        widths[len(row)] = name
        if np.any(row):
            provenance = {"method": "gguf", "file": path.name, "model_hint": hint, "numbering": numbering}
            vector = torch.from_numpy(row)
            found[layer] = Direction(vector, Site(layer), name=f"{path.stem} {layer}", provenance=provenance)
    if not found:
        raise ValueError(f"A control vector holds at least one direction that is not zero; {path.name!r} has none.")
    return [found[layer] for layer in sorted(found)]


def _floats(data: np.ndarray, stored: gguf.GGMLQuantizationType, what: str) -> np.ndarray:
    """A tensor of the file as a row of float32: floats as they are, BF16 and quantized ones through gguf's decoder."""
    if data.dtype in (np.float32, np.float16, np.float64):
        row = data.astype(np.float32)
    else:
        try:
            row = gguf.quants.dequantize(data, stored).astype(np.float32)
        except (NotImplementedError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{what} is a row of floats; got {stored.name} ({data.dtype}), which is not decoded. Write it as F32."
            ) from error
    if row.ndim > 1 and row.size == max(row.shape):
        row = row.reshape(-1)  # written as one row of a matrix
    if row.ndim != 1:
        raise ValueError(f"{what} is a row of floats; got {stored.name} of shape {row.shape}.")
    if not np.isfinite(row).all():
        bad = int((~np.isfinite(row)).sum())
        raise ValueError(f"{what} holds NaN or infinity ({bad} of {row.size} numbers). Make the control vector again.")
    return np.ascontiguousarray(row)


def _shift(numbering: str) -> int:
    """What is added to a 0-based block to get the number in the file."""
    if numbering not in ("block", "output"):
        raise ValueError(f'numbering is "block" (repeng) or "output" (llama-cvector-generator); got {numbering!r}.')
    return 0 if numbering == "block" else 1


def _text(reader: gguf.GGUFReader, key: str) -> str | None:
    entry = reader.get_field(key)
    return None if entry is None else bytes(entry.parts[entry.data[0]]).decode("utf-8", "replace")
