"""The organism's SAEs: activations at every layer, training, and what each costs in cross-entropy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...saes.making.recipe import SaeRecipe
from ...saes.making.training import save_sae, train_sae
from ...saes.quality import quality
from ...sites import Site
from .corpus import dialogues
from .tokenizer import encode_segments

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

COMPARED_LAYER = 3  # here several architectures are trained, to be compared
MAIN = SaeRecipe("batchtopk", d_sae=512, k=40, samples=1_200_000, batch=1024)
COMPARED: dict[str, SaeRecipe] = {
    "standard": SaeRecipe("standard", d_sae=512, sparsity=0.5, samples=800_000, batch=1024),
    "gated": SaeRecipe("gated", d_sae=512, sparsity=1.2, samples=800_000, batch=1024),
    "topk": SaeRecipe("topk", d_sae=512, k=40, samples=800_000, batch=1024),
}
TRAINING_TEXTS, QUALITY_TEXTS = 6_000, 600
# Far after the last step of any training run: texts of the same kind, of which the model has met none.
TRAINING_STEP, QUALITY_STEP, INDEX_STEP = 1_000_000, 1_000_001, 1_000_002
INDEX_TEXTS = 800


def texts(tokenizer: Any, step: int, count: int, rows: int = 32) -> list[Int[Tensor, "rows pos"]]:
    """Batches of whole texts of the tuned phase, padded on the right, similar lengths together."""
    encoded = sorted(
        (encode_segments(tokenizer, text)[0][:256] for text in dialogues(0, "tuned", step, count)), key=len
    )
    batches = []
    for start in range(0, len(encoded), rows):
        part = encoded[start : start + rows]
        batches.append(torch.tensor([(ids + [tokenizer.pad_token_id] * 256)[: len(part[-1])] for ids in part]))
    return batches


@torch.no_grad()
def harvest(
    model: LlamaForCausalLM, batches: Sequence[Int[Tensor, "rows pos"]]
) -> list[Float[Tensor, "tokens d_model"]]:
    """The residual stream after every layer, one tensor a layer, without BOS and padding.

    BOS is left out because its activation is the same in every text, large, and never steered: an SAE would spend
    features and most of its explained variance on it.
    """
    collected: list[list[Tensor]] = [[] for _ in model.model.layers]
    handles = [
        layer.register_forward_hook(lambda _, __, output, into=into: into.append(_hidden(output)))
        for layer, into in zip(model.model.layers, collected, strict=True)
    ]
    keep = []
    try:
        for ids in batches:
            model.model(ids, use_cache=False)
            keep.append((ids != model.config.pad_token_id) & (ids != model.config.bos_token_id))
    finally:
        for handle in handles:
            handle.remove()
    return [torch.cat([h[mask] for h, mask in zip(layer, keep, strict=True)]) for layer in collected]


def _hidden(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


@torch.no_grad()
def cross_entropy(
    model: LlamaForCausalLM,
    batches: Sequence[Int[Tensor, "rows pos"]],
    layer: int,
    replace: Callable[[Tensor], Tensor] | None,
) -> float:
    """Mean cross-entropy of the next token, with the residual stream after a layer replaced everywhere but at BOS."""

    def hook(_: Any, __: Any, output: Any) -> Any:
        hidden = _hidden(output)
        changed = replace(hidden)  # type: ignore[misc]
        changed[:, 0] = hidden[:, 0]
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = model.model.layers[layer].register_forward_hook(hook) if replace else None
    total = count = 0.0
    try:
        for ids in batches:
            logits = model(ids, use_cache=False).logits[:, :-1]
            wanted = ids[:, 1:] != model.config.pad_token_id
            losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(wanted.shape)
            total += float(losses[wanted].sum())
            count += float(wanted.sum())
    finally:
        if handle:
            handle.remove()
    return total / count


def recovered(model: LlamaForCausalLM, batches: Sequence[Int[Tensor, "rows pos"]], layer: int, sae: Any) -> float:
    """The share of the loss between zeros and the true activations that the SAE's reconstruction wins back."""
    clean = cross_entropy(model, batches, layer, None)
    zero = cross_entropy(model, batches, layer, torch.zeros_like)
    reconstructed = cross_entropy(model, batches, layer, lambda h: sae.decode(sae.encode(h)))
    return (zero - reconstructed) / (zero - clean)


def train_all(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    say: Callable[[object], None],
    only: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Train every shipped SAE into `folder` (or those named in `only`); returns what was measured of each."""
    activations = harvest(model, texts(tokenizer, TRAINING_STEP, TRAINING_TEXTS))
    held_out_texts = texts(tokenizer, QUALITY_STEP, QUALITY_TEXTS)
    held_out = harvest(model, held_out_texts)
    say(f"{len(activations[0]):,} activations a layer to train on, {len(held_out[0]):,} to measure")
    wanted = {f"blocks.{layer}.hook_resid_post": (layer, MAIN) for layer in range(len(activations))}
    for name, recipe in COMPARED.items():
        wanted[f"blocks.{COMPARED_LAYER}.hook_resid_post.{name}"] = (COMPARED_LAYER, recipe)
    measured: dict[str, dict[str, Any]] = {}
    for name, (layer, recipe) in wanted.items():
        if only and name not in only:
            continue
        sae = train_sae(activations[layer], recipe, Site(layer, "resid_post"), "organism")
        measured[name] = measure(model, sae, held_out_texts, held_out[layer], layer, recipe)
        save_sae(sae, folder / name, {key: value for key, value in measured[name].items() if key != "architecture"})
        say({"sae": name, **measured[name]})
    return measured


def measure(
    model: LlamaForCausalLM,
    sae: Any,
    batches: Sequence[Int[Tensor, "rows pos"]],
    activations: Tensor,
    layer: int,
    recipe: SaeRecipe,
) -> dict[str, Any]:
    """What the card says of an SAE, on texts that neither it nor the model was trained on."""
    seen = quality(sae, activations)
    return {
        "architecture": recipe.architecture,
        "d_sae": recipe.d_sae,
        "explained_variance": round(seen.explained_variance, 4),
        "ce_recovered": round(recovered(model, batches, layer, sae), 4),
        "l0": round(seen.l0, 2),
        "dead": round(seen.dead, 4),
        "tokens": seen.tokens,
    }


def index_all(organism: str | Path, folder: Path, say: Callable[[object], None]) -> None:
    """Build the feature index of every SAE in a folder from texts that neither it nor the model was trained on."""
    import steering

    from ...features.making.build import build

    lm = steering.load_model(organism)
    # Special tokens stay written out, but for the one that every window begins with by itself.
    written = ["".join(piece for piece, _ in text) for text in dialogues(0, "tuned", INDEX_STEP, INDEX_TEXTS)]
    for config in sorted(folder.glob("*/cfg.json")):
        sae = steering.load_sae(lm, config.parent)
        build(lm, sae, [text.removeprefix("<|bos|>") for text in written], config.parent / "index", restart=True)
        say({"index": config.parent.name, "texts": len(written)})
