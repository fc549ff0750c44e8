"""Matrix products of a few rows on the CPU: oneDNN on its own copy of the weights, instead of torch's BLAS.

A decoding step multiplies every weight with a handful of rows. MKL, which torch ships, is made for large products and
takes a slow path on processors that are not Intel's; oneDNN, on weights in an order of its own, is faster from two rows
on. It also gives a row the same bits whatever rows stand beside it, which MKL does not. The price is the memory of the
copies.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

# A call costs a few microseconds more than MKL's, so small matrices are left alone where MKL is on its home ground.
SMALLEST_MATRIX, SMALLEST_MATRIX_WHERE_MKL_IS_SLOW = 2**20, 2**15


@cache
def smallest_matrix() -> int | None:
    """From how many numbers on a matrix is packed on this machine; None where torch has not both, MKL and oneDNN."""
    operations: Any = torch.ops.mkldnn
    both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    if not (both and hasattr(operations, "_reorder_linear_weight")):
        return None
    info = Path("/proc/cpuinfo")
    processor = info.read_text(errors="replace")[:2000] if info.is_file() else platform.processor()
    return SMALLEST_MATRIX if "GenuineIntel" in processor else SMALLEST_MATRIX_WHERE_MKL_IS_SLOW


class PackedLinears:
    """The packed copies of a module's linear layers, made at the first pass and used while `active`.

    Between passes nothing stands on the modules, so a copy of the model, or an edit of its weights, never meets them.

    Args:
        most_bytes: a model whose copies would be larger keeps torch's own products.
    """

    def __init__(self, module: nn.Module, most_bytes: int) -> None:
        self._module, self._most_bytes = module, most_bytes
        self._made: list[tuple[nn.Module, Callable[[Tensor], Tensor]]] | None = None
        self._versions: list[tuple[dict[str, Any], str, Tensor, int]] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        """For the length of a `with` block linear layers multiply by their copies; not where gradients are wanted."""
        if torch.is_grad_enabled():
            yield
            return
        if self._made is None or self._edited():
            self._pack()
        assert self._made is not None
        try:
            for module, forward in self._made:
                # Past nn.Module.__setattr__, which looks through parameters, buffers and modules first.
                module.__dict__["forward"] = forward
            yield
        finally:
            for module, _ in self._made:
                module.__dict__.pop("forward", None)

    def _edited(self) -> bool:
        """Whether a weight was changed in place, or another put in its place. (Not seen: an edit through `.data`.)"""
        return any(
            held.get(name) is not weight or weight._version != version for held, name, weight, version in self._versions
        )

    @torch.no_grad()
    def _pack(self) -> None:
        linears = [module for module in self._module.modules() if _can_be_packed(module)]
        if sum(4 * module.get_parameter("weight").numel() for module in linears) > self._most_bytes:
            linears = []
        self._made = [(module, _packed(module)) for module in linears]
        self._versions = [
            (module._parameters, name, weight, weight._version)
            for module in linears
            for name, weight in module.named_parameters(recurse=False)
        ]


def _can_be_packed(module: nn.Module) -> bool:
    # Exactly these: a subclass (quantized, with an adapter) computes something else.
    if type(module) not in (nn.Linear, Conv1D) or "forward" in module.__dict__:
        return False
    weight, smallest = module.get_parameter("weight"), smallest_matrix()
    plain = weight.device.type == "cpu" and weight.dtype == torch.float32 and not weight.is_inference()
    return plain and smallest is not None and weight.numel() >= smallest


def _packed(module: nn.Module) -> Callable[[Tensor], Tensor]:
    weight, bias = module.get_parameter("weight").detach(), module.bias
    # torch's Linear keeps [out in]; the Conv1D of GPT-2 keeps [in out].
    weight = weight.t().contiguous() if isinstance(module, Conv1D) else weight
    operations: Any = torch.ops.mkldnn
    packed = operations._reorder_linear_weight(weight, 8)
    multiply = operations._linear_pointwise

    def forward(x: Tensor) -> Tensor:
        return multiply(x, packed, bias, "none", [], "")

    return forward
