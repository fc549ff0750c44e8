"""Matrix products of a few rows on the CPU: oneDNN on its own copy of the weights, instead of torch's BLAS.

A decoding step multiplies every weight with a handful of rows. MKL, which torch ships, is made for large products and
takes a slow path on processors that are not Intel's; oneDNN, on weights in an order of its own, is faster from two rows
on. It also gives a row the same bits whatever rows stand beside it, which MKL does not. The price is the memory of the
copies; the weights themselves leave it meanwhile where they are mapped from a file (mapped.py). Layers that read the
same input (query, key and value; gate and up) are one product. A gradient is a product with the transposed weights,
which are copied, too, for the layers that it passes, when it is first wanted.

Products may also be in bfloat16, where the processor multiplies it natively: half the bytes are read. What goes into a
product and what comes out of it is rounded to 8 bits of mantissa then; everything else stays in float32.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from .mapped import release

Products = Literal["float32", "bfloat16"]
Product = Callable[[Tensor], Tensor]  # [..., in] -> [..., out], float32 on both sides
# A call costs a few microseconds more than MKL's, so on Intel processors small matrices keep torch's own product.
SMALLEST_MATRIX, SMALLEST_MATRIX_WHERE_MKL_IS_SLOW = 2**20, 2**15
# Layers of one parent that are given the same tensor one after another.
_TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


@cache
def smallest_matrix() -> int | None:
    """The smallest matrix (in numbers) that is packed on this machine; None if torch lacks MKL or oneDNN."""
    operations: Any = torch.ops.mkldnn
    both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    if not (both and hasattr(operations, "_reorder_linear_weight")):
        return None
    info = Path("/proc/cpuinfo")
    processor = info.read_text(errors="replace")[:2000] if info.is_file() else platform.processor()
    return SMALLEST_MATRIX if "GenuineIntel" in processor else SMALLEST_MATRIX_WHERE_MKL_IS_SLOW


@cache
def bfloat16_is_native() -> bool:
    """Whether this processor multiplies bfloat16 natively (AVX512_BF16 or AMX) and torch packs weights for it."""
    if smallest_matrix() is None:
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class PackedLinears:
    """The packed copies of a module's linear layers, made at the first pass and used while `active`.

    Between passes no module is patched, so copies of the model and edits of its weights are safe.

    Args:
        most_bytes: a model whose copies would be larger keeps torch's own products.
        products: in which dtype the copies are, and are multiplied.
    """

    def __init__(self, module: nn.Module, most_bytes: int, products: Products = "float32") -> None:
        self._module, self._most_bytes = module, most_bytes
        self.products: Products = products
        self._made: list[tuple[nn.Module, Product]] | None = None
        self._whole: dict[tuple[int, ...], Product] = {}
        self._versions: list[tuple[dict[str, Any], str, Tensor, int]] = []
        self._shared: list[_Together] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        """For the length of a `with` block linear layers multiply by their copies.

        Gradients pass to what is multiplied (in float32). Where those of the weights are wanted, too, and where copies
        are in bfloat16, torch's own products run.
        """
        if torch.is_grad_enabled() and (self.products != "float32" or self._trained()):
            yield
            return
        self.refresh()
        assert self._made is not None
        try:
            for module, forward in self._made:
                # Past nn.Module.__setattr__, which looks through parameters, buffers and modules first.
                module.__dict__["forward"] = forward
            yield
        finally:
            for module, _ in self._made:
                module.__dict__.pop("forward", None)
            for together in self._shared:
                together.forget()

    def refresh(self) -> bool:
        """Pack the weights at the first call, and again after an edit; return whether it did."""
        stale = self._made is None or self._edited()
        if stale:
            self._pack()
        return stale

    def product(self, *modules: nn.Module) -> Product:
        """One product for layers that read the same input: their outputs side by side."""
        found = self._whole.get(tuple(map(id, modules)))
        if found is not None:
            return found
        single = [self._whole.get((id(module),), module) for module in modules]
        return single[0] if len(single) == 1 else lambda x: torch.cat([one(x) for one in single], -1)

    def _trained(self) -> bool:
        return any(weight.requires_grad for weight in self._module.parameters())

    def _edited(self) -> bool:
        """Whether a weight was changed in place, or another put in its place. (Not seen: an edit through `.data`.)"""
        return any(
            held.get(name) is not weight or weight._version != version for held, name, weight, version in self._versions
        )

    @torch.no_grad()
    def _pack(self) -> None:
        groups = [group for group in _groups(self._module) if _worth(group)]
        size = 4 if self.products == "float32" else 2
        if (
            sum(size * module.get_parameter("weight").numel() for group in groups for module in group)
            > self._most_bytes
        ):
            groups = []
        self._made, self._whole, self._shared = [], {}, []
        for group in groups:
            whole = _packed(group, self.products)
            self._whole[tuple(map(id, group))] = whole
            if len(group) == 1:
                self._made.append((group[0], whole))
            else:
                together = _Together(whole, [_width(module) for module in group])
                self._shared.append(together)
                self._made += [(module, together.part(place)) for place, module in enumerate(group)]
        self._versions = [
            (module._parameters, name, weight, weight._version)
            for group in groups
            for module in group
            for name, weight in module.named_parameters(recurse=False)
        ]
        release(module.get_parameter("weight") for group in groups for module in group)


class _Together:
    """One product for several layers: the first that is called computes it, the others take their part of it."""

    def __init__(self, whole: Product, widths: Sequence[int]) -> None:
        self._whole, self._widths = whole, list(widths)
        self._given: Tensor | None = None
        self._parts: tuple[Tensor, ...] = ()

    def part(self, place: int) -> Product:
        """The forward of the layer at a place."""

        def forward(x: Tensor) -> Tensor:
            # A reference is kept while it is compared, so that no other tensor can get its id.
            if self._given is not x or not self._parts:
                self._given, self._parts = x, self._whole(x).split(self._widths, -1)
            return self._parts[place]

        return forward

    def forget(self) -> None:
        """Drop the outputs that were computed in a pass."""
        self._given, self._parts = None, ()


def _groups(module: nn.Module) -> list[tuple[nn.Module, ...]]:
    """The layers that can be packed; those that read the same input together, the others alone."""
    groups, taken = [], set()
    for parent in module.modules():
        for names in _TOGETHER:
            group = tuple(getattr(parent, name, None) for name in names)
            if all(isinstance(one, nn.Module) and _plain(one) for one in group) and _alike(group):  # type: ignore[arg-type]
                groups.append(group)
                taken |= {id(one) for one in group}
    alone = [(one,) for one in module.modules() if id(one) not in taken and _plain(one)]
    return groups + alone


def _alike(group: Sequence[nn.Linear]) -> bool:
    return len({(one.in_features, one.bias is None) for one in group}) == 1


def _plain(module: nn.Module) -> bool:
    # Exactly these: a subclass (quantized, with an adapter) computes something else.
    if type(module) not in (nn.Linear, Conv1D) or "forward" in module.__dict__:
        return False
    weight = module.get_parameter("weight")
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and not weight.is_inference()


def _worth(group: Sequence[nn.Module]) -> bool:
    smallest = smallest_matrix()
    return smallest is not None and sum(module.get_parameter("weight").numel() for module in group) >= smallest


def _can_be_packed(module: nn.Module) -> bool:
    return _plain(module) and _worth([module])


def _width(module: nn.Module) -> int:
    weight = module.get_parameter("weight")
    return weight.shape[1] if isinstance(module, Conv1D) else weight.shape[0]


def _packed(group: Sequence[nn.Module], products: Products) -> Product:
    biases = [module.bias for module in group]
    bias = None if biases[0] is None else torch.cat([b.detach() for b in biases])  # type: ignore[misc, union-attr]
    if products == "bfloat16":
        weight = _weight(group).contiguous()
        packed, multiply = torch.ops.mkldnn._reorder_linear_weight(weight.bfloat16(), 8), torch.ops.mkldnn

        def in_bfloat16(x: Tensor) -> Tensor:
            y = multiply._linear_pointwise(x.bfloat16(), packed, None, "none", [], "").float()
            return y if bias is None else y + bias  # in float32: a bias is read once, not summed up

        return in_bfloat16
    return _Affine(group, bias)


def _weight(group: Sequence[nn.Module]) -> Tensor:
    """The weights of layers that read the same input, as one [out in]; the Conv1D of GPT-2 keeps [in out]."""
    weights = [module.get_parameter("weight").detach() for module in group]
    weights = [w.t() if isinstance(m, Conv1D) else w for m, w in zip(group, weights, strict=True)]
    return torch.cat(weights) if len(weights) > 1 else weights[0]


class _Affine:
    """x W^T + b on a packed copy of W; gradients pass to x, through a packed copy of W^T made when first wanted."""

    def __init__(self, group: Sequence[nn.Module], bias: Tensor | None) -> None:
        # Not their weights: those leave the memory once they are packed (see mapped.py), and would be held twice.
        self._group, self._bias = list(group), bias
        self._copies = {False: self._packed(False)}

    def __call__(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            y: Tensor = _Linear.apply(x, self, False)  # type: ignore[assignment]
            return y if self._bias is None else y + self._bias
        return torch.ops.mkldnn._linear_pointwise(x, self._copies[False], self._bias, "none", [], "")

    def multiply(self, x: Tensor, transposed: bool) -> Tensor:
        """x W^T, or x W."""
        if transposed not in self._copies:
            self._copies[transposed] = self._packed(transposed)
        return torch.ops.mkldnn._linear_pointwise(x.contiguous(), self._copies[transposed], None, "none", [], "")

    def _packed(self, transposed: bool) -> Tensor:
        weight = _weight(self._group)
        return torch.ops.mkldnn._reorder_linear_weight((weight.t() if transposed else weight).contiguous(), 8)


class _Linear(torch.autograd.Function):
    """The linear part of an `_Affine` or its transpose. Each is the other's derivative, to any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, affine: _Affine, transposed: bool) -> Tensor:  # type: ignore[override]
        ctx.affine, ctx.transposed = affine, transposed
        return affine.multiply(x, transposed)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return _Linear.apply(g, ctx.affine, not ctx.transposed), None, None  # type: ignore[return-value]
