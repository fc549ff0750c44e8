"""A direction added by the weights: the bias of the MLP before a layer, equal to activation addition."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..directions.direction import Direction
from ..models.model import Model
from .export import EditedModel
from .weights import blocks_of, copied, writer_of


@dataclass(frozen=True, eq=False)
class Biased(EditedModel):
    """An edited copy of a model whose weights add a direction to every token.

    Attributes:
        alpha: the coefficient; the logits are those of activation addition with it and `steer_bos`, up to rounding.
    """

    alpha: float = 1.0
    in_config: bool = True  # whether the family's config can say that there is a bias

    def save(self, folder: str | Path) -> Path:
        """As of any edited model; see `EditedModel.save`.

        Raises:
            ValueError: also where the family's files have no place for the bias: it would be lost.
        """
        if not self.in_config:
            raise ValueError(
                f"{self.source.get('model')} is of a family whose files hold no bias for an MLP, so the copy cannot be "
                "saved. Use orthogonalized weights, or add the direction at run time."
            )
        return super().save(folder)


@torch.no_grad()
def add_bias(model: Model, direction: Direction, alpha: float = 1.0) -> Biased:
    """A copy whose weights add alpha v at the input of a layer (or after one): b' = b + alpha v of the MLP before it.

    At the input of the first layer it is added to every row of the embedding. Llama's family has MLP biases for all
    matrices or none, so the others become zeros and the copy's config says `mlp_bias`.

    Raises:
        ValueError: the direction is not at resid_pre or resid_post, or a norm follows the MLP, so that no bias of it
            adds the direction.
    """
    direction.check(model)
    site = direction.site
    if site.stream not in ("resid_pre", "resid_post"):
        raise ValueError(f"A bias adds a direction between blocks, at resid_pre or resid_post; got {site}.")
    after = site.layer - (site.stream == "resid_pre")  # the block whose MLP writes last before the site
    if model.post_norms and after >= 0:
        raise ValueError(
            f"{model.name} norms what its MLP writes, so a bias there adds another vector. Steer it at run time."
        )
    edited = copied(model, "biased")
    hf: Any = edited.hf
    parameter = next(hf.parameters())
    in_config = True
    v = (alpha * direction.decoded().double()).to(parameter.device)
    if after < 0:
        hf.get_input_embeddings().weight.add_(v.to(parameter.dtype))
    else:
        if getattr(hf.config, "mlp_bias", None) is False:
            _give_biases(edited)
        block, spec = list(blocks_of(edited))[after]
        writer = writer_of(block.get_submodule(spec["mlp"].name), spec["mlp"])
        if getattr(writer, "bias", None) is None:
            size = writer.out_features if isinstance(writer, nn.Linear) else writer.nf
            in_config = False
            writer.bias = nn.Parameter(parameter.new_zeros(size), requires_grad=False)
        writer.bias.copy_((writer.bias.double() + v).to(parameter.dtype))
    done = f"{alpha:g} times the direction {direction.name!r} is added to every token at {site}, by a bias."
    note = "Equals adding the direction at run time to every token, BOS included, up to rounding."
    return Biased(edited, model.identity, direction, done, note, alpha, in_config)


def _give_biases(model: Model) -> None:
    """Zero biases for every matrix of every MLP, as a config with `mlp_bias` has them."""
    hf: Any = model.hf
    for block, spec in blocks_of(model):
        for part in block.get_submodule(spec["mlp"].name).modules():
            if isinstance(part, nn.Linear) and part.bias is None:
                part.bias = nn.Parameter(part.weight.new_zeros(part.out_features), requires_grad=False)
    hf.config.mlp_bias = True
