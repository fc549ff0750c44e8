"""A GGUF file by its header: family, size, quantization, license, and why it cannot be opened. No weight is read.

GGUF is the one-file format of llama.cpp, Ollama and LM Studio. gguf's own reader makes a Python object of every token
of the vocabulary, which takes seconds a file; this one walks past them, so that a folder of files is listed at once.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import hashlib
import math
import mmap
import re
import struct
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MAGIC = b"GGUF"
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LONGEST_KEPT = 4096  # entries of a list that are kept; vocabularies are only counted
_MOST = 10_000_000  # entries of the header; a damaged count must not be walked
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


class TensorEntry(NamedTuple):
    """A tensor in a GGUF file: its name, how many numbers it holds, their type, and where they are."""

    name: str
    count: int
    type: int
    offset: int


class Listed(NamedTuple):
    """A list of the header that is only counted."""

    length: int


@dataclass(frozen=True)
class GgufFile:
    """What a GGUF file says about itself.

    Attributes:
        fields: the metadata by key; long lists are only counted.
        start: where the data of the tensors begin.
        size: bytes of the file.
    """

    path: Path
    fields: dict[str, Any]
    tensors: tuple[TensorEntry, ...]
    start: int
    size: int

    @property
    def architecture(self) -> str:
        return str(self.fields.get("general.architecture", ""))

    @property
    def name(self) -> str:
        """The model's name as the file has it, else the file's own."""
        return str(self.fields.get("general.name") or self.path.stem)

    @property
    def license(self) -> str:
        return str(self.fields.get("general.license.name") or self.fields.get("general.license") or "")

    @property
    def has_chat_template(self) -> bool:
        return bool(self.fields.get("tokenizer.chat_template"))

    @property
    def parameters(self) -> int:
        return sum(tensor.count for tensor in self.tensors)

    @property
    def quantization(self) -> str:
        """How most of the weights are stored: "Q4_1", "BF16", "F32"."""
        from gguf import GGMLQuantizationType

        stored: Counter[int] = Counter()
        for tensor in self.tensors:
            stored[tensor.type] += tensor.count
        if not stored:
            return "nothing"
        most = stored.most_common(1)[0][0]
        try:
            return GGMLQuantizationType(most).name
        except ValueError:
            return f"type {most}"

    @property
    def dtype(self) -> str:
        """The dtype that holds its weights with the least loss: their own, or bfloat16 for quantized ones."""
        return {"F32": "float32", "F16": "float16"}.get(self.quantization, "bfloat16")

    @property
    def geometry(self) -> tuple[int, int, int]:
        """Layers, key-value heads and width of a head."""
        heads = self._number("attention.head_count") or 1
        width = self._number("attention.key_length") or self._number("embedding_length") // heads
        return self._number("block_count"), self._number("attention.head_count_kv") or heads, width

    def _number(self, key: str) -> int:
        found = self.fields.get(f"{self.architecture}.{key}", 0)
        found = max(found, default=0) if isinstance(found, list) else found  # some families have one a layer
        return int(found) if isinstance(found, int | float) else 0

    def fingerprint(self) -> str:
        """The SHA-256 of the whole file: what the hub shows for it, and what Ollama names it by."""
        with self.path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()

    @property
    def about(self) -> dict[str, str]:
        """What is shown of the file: its name, quantization and license."""
        return {"name": self.name, "quantization": self.quantization, "license": self.license}

    def check(self) -> GgufFile:
        """The file, if it is a whole language model of a family that transformers reads from GGUF.

        Raises:
            ValueError: it is something else, is a part, is cut off, or is of another family; a sentence says which.
        """
        if problem := self._other_kind() or self._incomplete() or self._unknown():
            raise ValueError(f"The GGUF file {self.path.name!r} {problem}")
        return self

    def _other_kind(self) -> str:
        kind, family = str(self.fields.get("general.type", "model")), self.architecture
        if family == "clip" or kind == "mmproj":
            return "is a vision projector, the part of a model that reads pictures. Open the model's own file."
        if family == "controlvector":
            return "is a control vector. Import it as a direction, on the page Direction."
        if kind == "adapter" or any(key.startswith("adapter.") for key in self.fields):
            return "is a LoRA adapter, not a model. Merge it into its model first."
        if family == "imatrix" or kind == "imatrix":
            return "is an importance matrix, which is used to make quantized files. Open the model's own file."
        return ""

    def _incomplete(self) -> str:
        part = _PART.search(self.path.name)
        parts = int(self.fields.get("split.count", 0) or 0)
        if parts > 1 or (part and int(part[2]) > 1):
            count = parts or int(part[2] if part else 0)
            return f"is one of {count} parts of a split model. Join them with llama-gguf-split --merge first."
        if not self.tensors:
            return "holds no weights, only a vocabulary or settings. Open the model's own file."
        if (end := self._end()) > self.size:
            return f"is cut off: it should have {end:,} bytes and has {self.size:,}. Fetch it again."
        return ""

    def _end(self) -> int:
        """Where the last tensor ends; types that gguf does not know are left to `_unknown`."""
        from gguf import GGML_QUANT_SIZES

        known = {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}
        ends = [self.start]
        for tensor in self.tensors:
            if tensor.type in known:
                block, size = known[tensor.type]
                ends.append(self.start + tensor.offset + math.ceil(tensor.count / block) * size)
        return max(ends)

    def _unknown(self) -> str:
        from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

        names = {re.sub(r"[-_]", "", name) for name in GGUF_SUPPORTED_ARCHITECTURES}
        # Encoder-decoders are read too, but are not what is steered here.
        names -= {name for name in names if "t5" in name}
        if re.sub(r"[-_]", "", self.architecture) not in names:
            family = self.architecture or "unnamed"
            return (
                f"is of the family {family!r}, which transformers does not read from GGUF; it reads "
                f"{', '.join(sorted(names))}. Open the model's safetensors folder instead."
            )
        if "tokenizer.ggml.model" not in self.fields:
            return "holds no tokenizer, without which it cannot read text."
        if strange := [kind for kind in sorted({t.type for t in self.tensors}) if not _unpacks(kind)]:
            return (
                f"has weights of type {strange[0]}, which the installed gguf package cannot unpack. Choose another "
                "quantization, such as Q8_0 or Q4_K_M."
            )
        return ""


def _unpacks(kind: int) -> bool:
    """Whether gguf can turn weights of a type into numbers: one block of zeros is tried."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

    try:
        known = GGMLQuantizationType(kind)
        quants.dequantize(np.zeros(GGML_QUANT_SIZES[known][1], dtype=np.uint8), known)
    except (ValueError, KeyError, NotImplementedError):
        return False
    return True


def is_gguf(path: Path) -> bool:
    """Whether a file is GGUF by its first bytes, whatever it is named; Ollama's have no suffix."""
    try:
        with path.open("rb") as opened:
            return opened.read(4) == MAGIC
    except OSError:
        return False


def read_gguf(path: str | Path) -> GgufFile:
    """The header of a GGUF file.

    Raises:
        ValueError: it is no GGUF file, of another version, or damaged.
    """
    path = Path(path)
    try:
        about = path.stat()
    except OSError as error:
        raise ValueError(f"The file {path.name!r} could not be read: {error.strerror or error}") from error
    return _read(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=256)
def _read(path: Path, _changed: int, _size: int) -> GgufFile:
    """The header, kept while the file stays as it is: a page looks at the same files again and again."""
    try:
        with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Header(data).read(path)
    except OSError as error:
        raise ValueError(f"The file {path.name!r} could not be read: {error.strerror or error}") from error
    except (ValueError, struct.error, IndexError, OverflowError, KeyError, TypeError, RecursionError) as error:
        said = str(error) if type(error) is ValueError and str(error).endswith(".") else "its header is damaged."
        raise ValueError(f"The file {path.name!r} is no readable GGUF file: {said} Fetch it again.") from error


class _Header:
    """Walks through a header; every number is little-endian."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def read(self, path: Path) -> GgufFile:
        if self.data[:4] != MAGIC:
            raise ValueError("it does not begin with GGUF.")
        self.at = 4
        version = self._number("I")
        if version not in (2, 3):
            what = "big-endian" if version & 0xFFFF == 0 else f"of version {version}"
            raise ValueError(f"it is {what}; versions 2 and 3, little-endian, are read.")
        n_tensors, n_fields = self._number("Q"), self._number("Q")
        if max(n_tensors, n_fields) > _MOST:
            raise ValueError("its header is damaged.")
        fields = {}
        for _ in range(n_fields):
            key = self._text()
            fields[key] = self._value(self._number("I"))
        tensors = tuple(self._tensor() for _ in range(n_tensors))
        alignment = int(fields.get("general.alignment", 32)) or 32
        start = math.ceil(self.at / alignment) * alignment
        return GgufFile(path, fields, tensors, start, len(self.data))

    def _number(self, kind: str) -> Any:
        (found,) = struct.unpack_from("<" + kind, self.data, self.at)
        self.at += struct.calcsize("<" + kind)
        return found

    def _skip(self, length: int) -> None:
        self.at += length
        if self.at > len(self.data):
            raise IndexError

    def _text(self) -> str:
        length = self._number("Q")
        begin = self.at
        self._skip(length)
        return self.data[begin : self.at].decode("utf-8", errors="replace")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY:
            return self._number(_SCALARS[kind])
        inner, length = self._number("I"), self._number("Q")
        if length > _MOST:
            raise IndexError
        if inner in (_STRING, _ARRAY):
            if length <= _LONGEST_KEPT:
                return [self._value(inner) for _ in range(length)]
            if inner == _ARRAY:
                raise IndexError
            unpack, data, at = struct.Struct("<Q").unpack_from, self.data, self.at
            for _ in range(length):
                at += 8 + unpack(data, at)[0]
            self.at = at
            self._skip(0)
            return Listed(length)
        width = struct.calcsize("<" + _SCALARS[inner])
        if length > _LONGEST_KEPT:
            self._skip(length * width)
            return Listed(length)
        return [self._number(_SCALARS[inner]) for _ in range(length)]

    def _tensor(self) -> TensorEntry:
        name, dimensions = self._text(), self._number("I")
        if dimensions > 8:
            raise IndexError
        count = math.prod(self._number("Q") for _ in range(dimensions))
        return TensorEntry(name, count, self._number("I"), self._number("Q"))
