"""Hooks that are called and not listened to: the mistake that a receipt must report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from steering.models import hooks as models
from steering.models.fused.choice import FusedSteps
from steering.models.fused.taps import Taps
from steering.models.hooks import Hook


def deaf(register: Callable[..., Any]) -> Callable[..., Any]:
    """A way to hook that calls the hook and drops what it returns."""

    def deafened(hook: Hook, **options: Any) -> Callable[..., Any]:
        def drops(h: Tensor) -> None:
            hook(h)

        return register(drops, **options)

    return deafened


def deafen(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every edit of every model is dropped."""
    monkeypatch.setattr(models, "on_input", deaf(models.on_input))
    monkeypatch.setattr(models, "on_output", deaf(models.on_output))

    def edit(self: Taps, stream: str, h: Tensor) -> Tensor:
        if stream in self.hooks:
            self.hooks[stream](h)
        return h

    monkeypatch.setattr(Taps, "edit", edit)  # where a fused step runs


def without_fused_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every step runs through transformers' modules, for tests that break the way to hook those."""
    monkeypatch.setattr(FusedSteps, "ready", lambda *_: None)
