"""The MLP neurons of a layer as a dictionary that needs no training: what each is on a token, and what it writes.

Neurons are what a model has where no sparse autoencoder was trained: every one is exact, and most answer to several
things. As a dictionary they are a transcoder: read where the MLP is fed, written where it adds to the stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from sae_lens.saes.sae import SAEMetadata
from torch import Tensor, nn

from ..models.lens import gain
from ..models.model import Model
from ..sites import Site
from .sae import Sae

NEURONS = "neurons"  # the release name of a layer's neurons; their id is "layer N"
_ID = re.compile(r"^(?:layer )?(\d+)$")


@dataclass(frozen=True)
class Neurons:
    """The hidden units of one MLP: `rows[n]` is what neuron n writes into the residual stream per unit."""

    layer: int
    mlp: nn.Module
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
    return Neurons(layer, mlp, output, rows)


@dataclass
class NeuronConfig:
    """What `Sae` asks of a dictionary's settings."""

    d_in: int
    d_sae: int
    metadata: SAEMetadata
    normalize_activations: str = "none"
    dtype: str = "float32"

    def architecture(self) -> str:
        """The kind of dictionary."""
        return NEURONS


class NeuronCodes:
    """Encodes what an MLP is fed into its neurons' positive activations, as a SAELens object would."""

    def __init__(self, lm: Model, neurons: Neurons, site: Site) -> None:
        self.lm, self.neurons = lm, neurons
        about = SAEMetadata(model_name=lm.name, hook_name=str(site))
        self.cfg = NeuronConfig(lm.d_model, len(neurons), about)
        self.W_dec, self.b_dec, self.dtype = neurons.rows, torch.zeros(lm.d_model), torch.float32

    def state_dict(self) -> dict[str, Any]:
        """What the fingerprint is made from."""
        return {"W_dec": self.W_dec}

    @torch.no_grad()
    def encode(self, h: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_mlp"]:
        """The neurons' activations where they are positive; a gated MLP's may be negative, which counts as silent."""
        flat = h.reshape(1, -1, h.shape[-1]).to(self.lm.dtype)
        with self.lm.lock, self.neurons.reading() as caught:
            self.neurons.mlp.forward(flat)  # not called: hooks that stand on the MLP are for the model's own passes
        return torch.relu(caught[0].float()).reshape(*h.shape[:-1], -1)

    def decode(self, f: Float[Tensor, "*batch d_mlp"]) -> Float[Tensor, "*batch d_model"]:
        """What the neurons write."""
        return f @ self.W_dec


def layer_of(name: str) -> int | None:
    """The layer that an id of neurons names, or None."""
    found = _ID.match(name.strip())
    return int(found[1]) if found else None


def neuron_dictionary(lm: Model, name: str) -> Sae:
    """The neurons of a layer as a dictionary.

    Raises:
        ValueError: no such layer, or its MLP is not a single one.
    """
    layer = layer_of(name)
    if layer is None or layer >= lm.n_layers:
        raise ValueError(f"Neurons are named by their layer, from 0 to {lm.n_layers - 1}; got {name!r}.")
    neurons = neurons_before(lm, Site(layer, "resid_post"))
    if neurons is None:
        raise ValueError(f"Layer {layer} of {lm.name} has no single MLP, so there are no neurons to look at.")
    site = lm.check_site(Site(layer, "mlp_in"))
    return Sae(f"neurons of layer {layer}", site, NeuronCodes(lm, neurons, site), writes=Site(layer, "mlp_out"))
