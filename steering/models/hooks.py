"""Forward hooks that change what flows into or out of a module, whatever shape a family gives its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

Hook = Callable[[Float[Tensor, "rows pos d_model"]], Float[Tensor, "rows pos d_model"] | None]


class Enough(Exception):
    """Raised by a hook to leave a forward pass whose rest is not needed."""


class Place(NamedTuple):
    """A stream inside a block: the path of a module there ("" is the block itself), its input or its output.

    `factor` is what the family multiplies the output with before it is added to the stream.
    """

    path: str
    is_input: bool
    factor: float = 1.0


def from_input(args: tuple, kwargs: dict) -> Tensor:
    """The `hidden_states` of a call, wherever the family passes it."""
    return args[0] if args else kwargs["hidden_states"]


def from_output(output: Any) -> Tensor:
    """A module's output, a tensor or the first of a tuple."""
    return output if isinstance(output, Tensor) else output[0]


def in_rows(h: Tensor, pos: int) -> Float[Tensor, "rows pos d_model"]:
    """A tensor with its rows apart, for families that flatten rows and positions inside a block."""
    return h if h.ndim == 3 else h.reshape(-1, pos, h.shape[-1])


def on_device(hook: Hook, device: torch.device) -> Hook:
    """The hook, run on one device: with a model over several GPUs, interventions are on its first."""

    def moved(h: Tensor) -> Tensor | None:
        new = hook(h.to(device))
        return None if new is None else new.to(h.device)

    return moved


def register(module: nn.Module, place: Place, hook: Hook, pos: int, *, in_place: bool = False) -> Any:
    """The handle of a hook that is registered at a place; `pos` is the number of tokens in a row."""
    if place.is_input:
        return module.register_forward_pre_hook(on_input(hook, pos=pos, in_place=in_place), with_kwargs=True)
    return module.register_forward_hook(on_output(hook, pos=pos, factor=place.factor))


def on_input(hook: Hook, *, pos: int, in_place: bool) -> Callable[..., Any]:
    """A forward pre-hook that changes `hidden_states`, wherever the family passes it.

    In place for `resid_mid`: there the block keeps the same tensor as its residual, and a new tensor would reach the
    norm only, leaving the stream itself unsteered.
    """

    def wrapped(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        h = from_input(args, kwargs)
        new = hook(in_rows(h, pos))
        if new is None:
            return None
        new = _like(new, h)
        if in_place:
            h.copy_(new)
            return None
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

    return wrapped


def on_output(hook: Hook, *, pos: int, factor: float = 1.0) -> Callable[..., Any]:
    """A forward hook that changes a module's output, a tensor or the first of a tuple."""

    def wrapped(module: nn.Module, args: tuple, output: Any) -> Any:
        h = from_output(output)
        seen = in_rows(h, pos) if factor == 1.0 else in_rows(h, pos) * factor
        new = hook(seen)
        if new is None:
            return None
        if factor != 1.0:  # as a difference: what was not changed keeps every bit
            new = (in_rows(h, pos).float() + (new.float() - seen.float()) / factor).to(h.dtype)
        new = _like(new, h)
        return new if isinstance(output, Tensor) else (new, *output[1:])

    return wrapped


def _like(new: Tensor, h: Tensor) -> Tensor:
    """In the family's own shape; a hook may have made several rows of one."""
    return new if h.ndim == 3 else new.flatten(0, 1)
