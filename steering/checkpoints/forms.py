"""The form in which a model is loaded (dtype, device, products), after its name: `openai-community/gpt2@bfloat16`.

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
PRODUCTS = "bfloat16-products"  # float32 weights whose matrices are multiplied in bfloat16, on the CPU
_DEVICE = re.compile(rf"cpu|mps|cuda(:\d+)?|{SPREAD}")
_NAME = re.compile(r"(.+)@([\w:-]+(?:,[\w:-]+){0,2})", re.DOTALL)


@dataclass(frozen=True)
class Form:
    """A model's bundled name, folder or hub id, and how it is loaded; empty texts mean the defaults.

    Attributes:
        products: "bfloat16" multiplies the matrices of float32 weights in bfloat16, on the CPU.

    Raises:
        ValueError: no such dtype or device, or products of weights that are not float32.
    """

    source: str
    dtype: str = ""
    device: str = ""
    products: str = ""

    def __post_init__(self) -> None:
        if self.dtype and self.dtype not in (*DTYPES, *BITS):
            raise ValueError(f"A model is loaded as {', '.join((*DTYPES, *BITS))}; got {self.dtype!r}.")
        if self.device and not _DEVICE.fullmatch(self.device):
            raise ValueError(f"A device is cpu, cuda, cuda:1, mps or {SPREAD}; got {self.device!r}.")
        if self.products not in ("", "bfloat16"):
            raise ValueError(f"Products are made in float32 or bfloat16; got {self.products!r}.")
        other = self.device if self.dtype in ("", "float32") else self.dtype
        if self.products and other not in ("", "cpu"):
            raise ValueError(f"Products in bfloat16 are of float32 weights on the CPU; got {other!r}.")

    @classmethod
    def parse(cls, name: str) -> Form:
        """The form that a name stands for; an @ that belongs to a folder's name is left there."""
        if found := _NAME.fullmatch(name):
            words = found[2].split(",")
            dtypes = [word for word in words if word in (*DTYPES, *BITS)]
            devices = [word for word in words if _DEVICE.fullmatch(word)]
            products = ["bfloat16" for word in words if word == PRODUCTS]
            kinds = (dtypes, devices, products)
            if all(len(kind) <= 1 for kind in kinds) and sum(map(len, kinds)) == len(words):
                return cls(found[1], *("".join(kind) for kind in kinds))
        return cls(name)

    def __str__(self) -> str:
        tail = ",".join(word for word in (self.dtype, self.device, PRODUCTS if self.products else "") if word)
        return f"{self.source}@{tail}" if tail else self.source

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `load_model` beside the source."""
        found: dict[str, Any] = {}
        if self.dtype:
            found |= {"quantize": BITS[self.dtype]} if self.dtype in BITS else {"dtype": self.dtype}
        if self.device:
            found |= {"device_map": SPREAD} if self.device == SPREAD else {"device": self.device}
        return found | ({"products": self.products} if self.products else {})

    @property
    def call(self) -> str:
        """The arguments of `load_model` as Python writes them."""
        return ", ".join([repr(self.source), *(f"{name}={value!r}" for name, value in self.options.items())])
