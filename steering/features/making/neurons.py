"""The MLP neurons just before a site: what they write, and their activations while a pass runs.

Polysemanticity is not superposition: a feature may lie along one neuron or be spread over many, and a neuron may serve
many features. The index shows both and equates neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...models.lens import gain
from ...models.model import Model
from ...sites import Site


@dataclass(frozen=True)
class Neurons:
    """The hidden units of one MLP: `rows[n]` is what neuron n writes into the residual stream per unit."""

    layer: int
    output: nn.Module
    rows: Float[Tensor, "d_mlp d_model"]

    def __len__(self) -> int:
        return len(self.rows)

    @contextmanager
    def reading(self) -> Iterator[list[Tensor]]:
        """Context manager: a list that gets the activations [rows pos d_mlp] of each pass run inside it."""
        caught: list[Tensor] = []
        handle = self.output.register_forward_pre_hook(lambda module, args: caught.append(args[0].detach()))
        try:
            yield caught
        finally:
            handle.remove()


def neurons_before(lm: Model, site: Site) -> Neurons | None:
    """The neurons of the last MLP that wrote before a site; None before the first one, or where there is no single MLP.

    A family that norms what its MLP writes (Gemma-2, Gemma-3) scales each channel by that norm's gain, so the rows
    carry it; the norm's division by the length of the whole sum is one factor per token and leaves cosines as they are.
    """
    layer = site.layer if site.stream in ("mlp_out", "resid_post") else site.layer - 1
    parts = lm.adapter.component_mapping["blocks"].submodules
    inner = getattr(parts.get("mlp"), "submodules", {})
    if layer < 0 or "out" not in inner:
        return None
    try:
        mlp = lm.blocks[layer].get_submodule(parts["mlp"].name)
        output = mlp.get_submodule(inner["out"].name)
    except AttributeError:
        return None
    weight = getattr(output, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        return None
    # torch's Linear keeps [out in]; the Conv1D of GPT-2 keeps [in out].
    rows = (weight.T if isinstance(output, nn.Linear) else weight).detach().float()
    if "ln2_post" in parts:
        rows = rows * gain(lm.blocks[layer].get_submodule(parts["ln2_post"].name), lm)
    return Neurons(layer, output, rows)


def alignment(directions: Float[Tensor, "n d_model"], neurons: Neurons) -> Float[Tensor, "n d_mlp"]:
    """The cosine of each direction with what each neuron writes."""
    unit = torch.nn.functional.normalize
    return unit(directions.float(), dim=-1) @ unit(neurons.rows.to(directions.device), dim=-1).T
