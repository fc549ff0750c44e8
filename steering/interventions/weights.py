"""Taking a direction out of the weights: an edited copy of a model that can be exported and no longer writes it.

Never used inside the shared engine: the model that is loaded stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..directions.direction import Direction
from ..models.model import Model
from .export import EditedModel


@dataclass(frozen=True, eq=False)
class Orthogonalized(EditedModel):
    """An edited copy of a model whose weights no longer write a direction.

    Attributes:
        equals_ablation: whether its logits are those of directional ablation, with `everywhere` and `steer_bos`, up
            to rounding (weights know no BOS). Not so where a norm follows each writer (Gemma-2, Gemma-3): there the
            direction is never written either, but the norm divides by the length of the whole vector, which the edit
            has changed.
    """

    equals_ablation: bool = True


@torch.no_grad()
def orthogonalize_weights(model: Model, direction: Direction) -> Orthogonalized:
    """A copy whose every matrix writing to the residual stream satisfies r . W = 0 (Arditi et al. 2024, section 4).

    W' = W - r r^T W for the embedding, position embedding, attention output and MLP output, and their biases. Tied
    embeddings are untied first: projecting the shared matrix would change the unembedding too. Behind a post-norm with
    gain g the matrix is projected along u = g * r instead, since what reaches the stream is g * W x / rms.

    Raises:
        ValueError: a module that writes to the stream was not recognised, so nothing could be promised.
    """
    direction.check(model)
    edited = copied(model, "orthogonalized")
    hf: Any = edited.hf
    parameter = next(hf.parameters())
    r = direction.decoded().to(parameter.device, torch.float64)
    r = r / r.norm()
    parts = model.adapter.component_mapping
    for name in ("embed", "pos_embed"):
        if name in parts:
            weight = hf.get_submodule(parts[name].name).weight
            weight.copy_(_project(weight.double(), r))  # rows are what is written
    for block, spec in blocks_of(edited):
        for part, post in (("attn", "ln1_post"), ("mlp", "ln2_post")):
            u = r
            if post in spec:
                u = _gain(block.get_submodule(spec[post].name)).double() * r
                u = u / u.norm()
            writer = writer_of(block.get_submodule(spec[part].name), spec[part])
            matrix = writer.weight.double()
            # nn.Linear keeps [out, in]; GPT-2's Conv1D keeps [in, out]. What is written is the output.
            writer.weight.copy_(_project(matrix.T, u).T if isinstance(writer, nn.Linear) else _project(matrix, u))
            if getattr(writer, "bias", None) is not None:
                writer.bias.copy_(_project(writer.bias.double()[None], u)[0])
            if post in spec and getattr(block.get_submodule(spec[post].name), "bias", None) is not None:
                raise ValueError(f"A post-norm with a bias writes to the stream by itself; {model.name} has one.")
    if model.post_norms:
        note = (
            "The direction is never written to the stream. The logits differ from ablation at run time, because the "
            "norm after each writer divides by a length that the edit changed."
        )
    else:
        note = "Equals ablation of the direction at every site of the stream, BOS included, up to rounding."
    done = f"The direction {direction.name!r} was taken out of every matrix that writes to the residual stream."
    return Orthogonalized(edited, model.identity, direction, done, note, not model.post_norms)


def _project(rows: Float[Tensor, "n d_model"], u: Float[Tensor, "d_model"]) -> Float[Tensor, "n d_model"]:
    """Rows without their component along the unit vector u."""
    return rows - (rows @ u)[:, None] * u


def copied(model: Model, how: str) -> Model:
    """A copy of a model whose weights may be edited: its own module, the unembedding untied from the embedding."""
    with model.lock:  # between passes, when none of our hooks is on the modules
        hf = copy.deepcopy(model.hf)
    _untie(hf)
    return Model(f"{model.name} ({how})", hf, model.tokenizer, model.revision)


def _untie(hf: Any) -> None:
    """Give the unembedding a matrix of its own where it shares the embedding's."""
    embedding, head = hf.get_input_embeddings(), hf.get_output_embeddings()
    if head is not None and head.weight is embedding.weight:
        head.weight = nn.Parameter(embedding.weight.detach().clone(), requires_grad=False)
    hf.config.tie_word_embeddings = False


def blocks_of(model: Model) -> Iterator[tuple[nn.Module, dict]]:
    """Every block with TransformerLens' description of its parts."""
    spec = model.adapter.component_mapping["blocks"].submodules
    for block in model.blocks:
        yield block, spec


def _gain(norm: nn.Module) -> Float[Tensor, "d_model"]:
    """What a norm multiplies with: its weight, or one plus its weight in Gemma's RMSNorm."""
    weight: Tensor = norm.weight  # type: ignore[assignment]
    return 1 + weight if "Gemma" in type(norm).__name__ else weight


def writer_of(part: nn.Module, spec: Any) -> Any:
    """The linear layer with which attention or MLP writes; TransformerLens calls them `o` and `out`."""
    for key in ("o", "out"):
        if key in spec.submodules:
            return part.get_submodule(spec.submodules[key].name)
    raise ValueError(
        f"The matrix with which {type(part).__name__} writes to the residual stream is not known; "
        "use directional ablation with everywhere=True on this family."
    )
