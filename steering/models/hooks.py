"""Forward hooks that change what flows into or out of a module, whatever shape a family gives its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

Hook = Callable[[Float[Tensor, "rows pos d_model"]], Float[Tensor, "rows pos d_model"] | None]


def from_input(args: tuple, kwargs: dict) -> Tensor:
    """The `hidden_states` of a call, wherever the family passes it."""
    return args[0] if args else kwargs["hidden_states"]


def from_output(output: Any) -> Tensor:
    """A module's output, a tensor or the first of a tuple."""
    return output if isinstance(output, Tensor) else output[0]


def on_input(hook: Hook, *, in_place: bool) -> Callable[..., Any]:
    """A forward pre-hook that changes `hidden_states`, wherever the family passes it.

    In place for `resid_mid`: there the block keeps the same tensor as its residual, and a new tensor would reach the
    norm only, leaving the stream itself unsteered.
    """

    def wrapped(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        h = from_input(args, kwargs)
        new = hook(h)
        if new is None:
            return None
        if in_place:
            h.copy_(new)
            return None
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

    return wrapped


def on_output(hook: Hook) -> Callable[..., Any]:
    """A forward hook that changes a module's output, a tensor or the first of a tuple."""

    def wrapped(module: nn.Module, args: tuple, output: Any) -> Any:
        if isinstance(output, Tensor):
            return hook(output)
        new = hook(output[0])
        return None if new is None else (new, *output[1:])

    return wrapped
