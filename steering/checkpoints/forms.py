"""The form in which a model is loaded (dtype, bits, device), written after its name: `openai-community/gpt2@bfloat16`.

The dashboard identifies a model by one text. The same weights in bfloat16 are another model with other activations, so
cached results of the two are never mixed up. A plain name means the defaults of `load_model`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .places import DTYPES

BITS = {"8-bit": 8, "4-bit": 4}
SPREAD = "balanced"  # accelerate's word for a model over several GPUs
_DEVICE = re.compile(rf"cpu|mps|cuda(:\d+)?|{SPREAD}")
_NAME = re.compile(r"(.+)@([\w:-]+)(?:,([\w:-]+))?", re.DOTALL)


@dataclass(frozen=True)
class Form:
    """A model's bundled name, folder or hub id, and how it is loaded; empty texts mean the defaults.

    Raises:
        ValueError: no such dtype or device.
    """

    source: str
    dtype: str = ""
    device: str = ""

    def __post_init__(self) -> None:
        if self.dtype and self.dtype not in (*DTYPES, *BITS):
            raise ValueError(f"A model is loaded as {', '.join((*DTYPES, *BITS))}; got {self.dtype!r}.")
        if self.device and not _DEVICE.fullmatch(self.device):
            raise ValueError(f"A device is cpu, cuda, cuda:1, mps or {SPREAD}; got {self.device!r}.")

    @classmethod
    def parse(cls, name: str) -> Form:
        """The form that a name stands for; an @ that belongs to a folder's name is left there."""
        if found := _NAME.fullmatch(name):
            words = [word for word in found.groups()[1:] if word]
            dtypes = [word for word in words if word in (*DTYPES, *BITS)]
            devices = [word for word in words if _DEVICE.fullmatch(word)]
            if len(dtypes) <= 1 and len(devices) <= 1 and len(dtypes) + len(devices) == len(words):
                return cls(found[1], *(dtypes or [""]), *(devices or [""]))
        return cls(name)

    def __str__(self) -> str:
        tail = ",".join(word for word in (self.dtype, self.device) if word)
        return f"{self.source}@{tail}" if tail else self.source

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `load_model` beside the source."""
        found: dict[str, Any] = {}
        if self.dtype:
            found |= {"quantize": BITS[self.dtype]} if self.dtype in BITS else {"dtype": self.dtype}
        if self.device:
            found |= {"device_map": SPREAD} if self.device == SPREAD else {"device": self.device}
        return found

    @property
    def call(self) -> str:
        """The arguments of `load_model` as Python writes them."""
        return ", ".join([repr(self.source), *(f"{name}={value!r}" for name, value in self.options.items())])
