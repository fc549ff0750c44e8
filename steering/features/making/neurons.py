"""How features lie among the MLP neurons just before their site.

Polysemanticity is not superposition: a feature may lie along one neuron or be spread over many, and a neuron may serve
many features. The index shows both and equates neither.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...saes.neurons import Neurons


def alignment(directions: Float[Tensor, "n d_model"], neurons: Neurons) -> Float[Tensor, "n d_mlp"]:
    """The cosine of each direction with what each neuron writes."""
    unit = torch.nn.functional.normalize
    return unit(directions.float(), dim=-1) @ unit(neurons.rows.to(directions.device), dim=-1).T
