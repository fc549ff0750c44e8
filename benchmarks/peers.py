"""What people do today: one variant after another through somebody's `generate`, greedy, by the same weights.

Each contestant is a function of (prompt, variants, number of tokens) that returns the new tokens of every variant.
They get a plain copy of the model, as transformers makes it.
"""

from __future__ import annotations

import copy
import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformer_lens.model_bridge import TransformerBridge

from steering.models.model import Model

from .variants import Variant

Tokens = list[list[int]]
Contestant = Callable[[Sequence[int], Sequence[Variant], int], Tokens]


def bridge(hf: Any, model: Model) -> Contestant:
    """TransformerLens: `TransformerBridge.generate` inside `hooks`."""
    booted = TransformerBridge.boot_transformers(
        model.name, hf_model=copy.deepcopy(hf), tokenizer=copy.deepcopy(model.tokenizer), device="cpu"
    )

    @torch.inference_mode()
    def run(prompt: Sequence[int], variants: Sequence[Variant], new: int) -> Tokens:
        found = []
        for variant in variants:
            hooks = [
                (f"blocks.{layer}.hook_resid_pre", lambda h, hook, change=change: change(h))
                for layer, change in variant.by_hand()
            ]
            with booted.hooks(fwd_hooks=hooks):
                tokens = booted.generate(
                    torch.tensor([list(prompt)]),
                    max_new_tokens=new,
                    do_sample=False,
                    stop_at_eos=False,
                    verbose=False,
                    return_type="tokens",
                )
            found.append(tokens[0, len(prompt) :].tolist())
        return found

    return run


def _generate(hf: Any, prompt: Sequence[int], new: int) -> list[int]:
    tokens = torch.tensor([list(prompt)])
    out = hf.generate(input_ids=tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=new, do_sample=False)
    return out[0, len(prompt) :].tolist()


def transformers_hooks(hf: Any) -> Contestant:
    """transformers: `generate` with forward pre-hooks on the decoder layers."""

    def run(prompt: Sequence[int], variants: Sequence[Variant], new: int) -> Tokens:
        found = []
        for variant in variants:
            handles = [
                hf.transformer.h[layer].register_forward_pre_hook(
                    lambda _module, args, change=change: (change(args[0]), *args[1:])
                )
                for layer, change in variant.by_hand()
            ]
            try:
                found.append(_generate(hf, prompt, new))
            finally:
                for handle in handles:
                    handle.remove()
        return found

    return run


def steering_vectors(hf: Any) -> Contestant:
    """steering-vectors: `SteeringVector.apply` around `generate`: additions, and its own ablation."""
    from steering_vectors import SteeringVector, ablation_operator

    def run(prompt: Sequence[int], variants: Sequence[Variant], new: int) -> Tokens:
        found = []
        for variant in variants:
            # Its layers are outputs: what comes into layer n is what layer n - 1 put out.
            vector = SteeringVector({layer - 1: alpha * v for layer, v, alpha in variant.vectors})
            operator = ablation_operator() if variant.ablates else None
            with vector.apply(hf, operator=operator):
                found.append(_generate(hf, prompt, new))
        return found

    return run


def repeng(hf: Any, layers: Sequence[int]) -> Contestant:
    """repeng: `ControlModel.set_control` before `generate`: additions only. Wraps layers of a model of its own."""
    module = import_repeng()
    outputs = [layer - 1 for layer in layers]
    wrapped = module.ControlModel(copy.deepcopy(hf), outputs)
    nothing = np.zeros(hf.config.n_embd, dtype=np.float32)

    def run(prompt: Sequence[int], variants: Sequence[Variant], new: int) -> Tokens:
        found = []
        for variant in variants:
            wrapped.reset()
            if variant.vectors:
                vectors = {layer - 1: alpha * v.numpy() for layer, v, alpha in variant.vectors}
                control = module.ControlVector("gpt2", {layer: vectors.get(layer, nothing) for layer in outputs})
                wrapped.set_control(control, 1.0)
            found.append(_generate(wrapped, prompt, new))
        return found

    return run


def import_repeng() -> Any:
    """The module; its annotations name `np.float_`, which NumPy 2 no longer has."""
    if not hasattr(np, "float_"):
        np.float_ = np.float64  # type: ignore[attr-defined]
    import repeng

    return repeng


def version(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def contestants(hf: Any, model: Model, layers: Sequence[int]) -> dict[str, Contestant]:
    """The peers that are installed, by name."""
    found = {"TransformerLens": bridge(hf, model), "transformers": transformers_hooks(hf)}
    for name, make in (("steering-vectors", lambda: steering_vectors(hf)), ("repeng", lambda: repeng(hf, layers))):
        if version(name):
            found[name] = make()
        else:
            print(f"{name} is not installed: pip install --no-deps -r requirements-bench.txt", file=sys.stderr)
    return found
