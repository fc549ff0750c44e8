"""Chooses the fused decoding step of a model, or none where anything is unusual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...sites import Site
from ..arrivals import Reader
from ..hooks import Hook
from ..packing import PackedLinears
from . import gemma, gpt2, llama, neox
from .taps import Taps, taps_by_layer

_STEPS: tuple[tuple[Any, Any], ...] = (
    (llama, llama.LlamaStep),
    (gpt2, gpt2.Gpt2Step),
    (neox, neox.NeoxStep),
    (gemma, gemma.GemmaStep),
)
CAPTURING = "transformers.utils.output_capturing"


class FusedStep(Protocol):
    """One token for every row of a batch with a cache."""

    def __call__(
        self, tokens: Int[Tensor, "rows 1"], positions: Int[Tensor, "rows 1"], real: Tensor | None, cache: Any,
        taps: dict[int, Taps],
    ) -> Float[Tensor, "rows 1 vocab"]: ...  # fmt: skip


class FusedSteps:
    """The fused step of a model, made at the first use and again when a weight was edited.

    Args:
        packed: the model's packed products, which the step multiplies by.
    """

    def __init__(self, hf: nn.Module, packed: PackedLinears) -> None:
        self._hf, self._packed = hf, packed
        self._family = _family(hf)
        self._step: FusedStep | None = None
        self._modules = list(hf.modules())

    def logits(
        self, tokens: Int[Tensor, "rows pos"], real: Tensor | None, positions: Tensor | None, cache: Any,
        hooks: Mapping[Site, Hook], readers: Mapping[Site, Reader],
    ) -> Float[Tensor, "rows 1 vocab"] | None:  # fmt: skip
        """The logits of one token a row, or None where transformers' own forward has to run.

        Args:
            real: which columns of the cache, and the new one, are no padding.
            hooks: change the values at sites; `readers` are called with what arrived of them.
        """
        step = self.ready(tokens, cache)
        if step is None:
            return None
        if positions is None:
            positions = tokens.new_full(tokens.shape, cache.get_seq_length())
        return step(tokens, positions, real, cache, taps_by_layer(hooks, readers))

    def ready(self, tokens: Tensor, cache: Any) -> FusedStep | None:
        """The step for these tokens, or None where transformers' own forward has to run.

        It runs for one token a row after a prompt, without gradients, and only if no module has a foreign hook or a
        replaced forward.
        """
        if self._family is None or cache is None or tokens.shape[1] != 1 or torch.is_grad_enabled():
            return None
        if cache.get_seq_length() == 0 or any(_touched(module) for module in self._modules):
            return None
        if self._packed.refresh() or self._step is None:
            self._step = self._family(self._hf, self._packed)
        return self._step


def _touched(module: nn.Module) -> bool:
    # transformers leaves hooks of its own where hidden states were once asked for; they do nothing at other times.
    hooks = [hook for hook in module._forward_hooks.values() if getattr(hook, "__module__", "") != CAPTURING]
    return bool(hooks or module._forward_pre_hooks) or "forward" in module.__dict__


def _family(hf: Any) -> Any:
    """The class of the step for a model in float32 on the CPU, if there is one."""
    parameters = list(hf.parameters())
    if getattr(hf, "hf_device_map", None) or any(
        one.device.type != "cpu" or one.dtype != torch.float32 for one in parameters
    ):
        return None
    for family, step in _STEPS:
        if type(hf) in family.CLASSES and family.fits(hf):
            return step
    return None
