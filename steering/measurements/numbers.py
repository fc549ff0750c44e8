"""Measurements: tensors or texts in, numbers out. What steering did to activations, to predictions and to the text."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..directions.activations import batches
from ..directions.direction import Direction
from ..jobs.watching import progressed
from ..models.hooks import Hook
from ..models.model import Model
from ..sites import Site
from .neutral import neutral_texts

NORM_TEXTS = 16  # neutral texts on which a typical norm is measured

# Activations --------------------------------------------------------------------------------------------------------


def cosine_similarity(directions: Sequence[Direction]) -> Float[Tensor, "n n"]:
    """Cosines between all directions, in the residual stream (those of features are decoded first).

    Raises:
        ValueError: none, or different widths.
    """
    decoded = [direction.decoded() for direction in directions]
    if not decoded or len({len(v) for v in decoded}) != 1:
        widths = ", ".join(str(len(v)) for v in decoded) or "none"
        raise ValueError(f"Directions of one width are compared; got {widths}.")
    units = torch.stack(decoded).double()
    units = units / units.norm(dim=-1, keepdim=True)
    return (units @ units.T).clamp(-1, 1).float()


def typical_norm(lm: Model, site: Site, texts: Sequence[str] | None = None) -> float:
    """The median length of the activations at a site: the unit in which strengths are compared across models.

    See `typical_norms`, which measures many sites in the time of one.
    """
    return typical_norms(lm, [site], texts)[site]


@torch.no_grad()
def typical_norms(
    lm: Model,
    sites: Sequence[Site] | None = None,
    texts: Sequence[str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[Site, float]:
    """The median length of the activations at each site, all of them in one pass.

    Measured on `texts`, by default the first neutral texts that ship with Tiller, without the first token of each,
    whose activation is many times longer in most models.

    Args:
        sites: by default every stream of every layer.
        progress: called with the share that is done; may raise.

    Raises:
        ValueError: no text with a second token, or a site that the model does not have.
    """
    if sites is None:
        sites = [Site(layer, stream) for layer in range(lm.n_layers) for stream in lm.streams]
    texts = neutral_texts(lm.name)[:NORM_TEXTS] if texts is None else texts
    prompts = [ids for ids in (lm.encode(text)[: lm.n_ctx - 1] for text in texts) if len(ids) > 1]
    if not prompts:
        raise ValueError("A typical norm is measured on texts of at least two tokens; got none.")
    norms: dict[Site, list[Tensor]] = {site: [] for site in sites}
    parts = list(batches([len(prompt) for prompt in prompts], lm.piece_tokens))
    for done, batch in enumerate(parts):
        progressed(done, len(parts))
        if progress is not None:
            progress(done / len(parts))
        tokens, real, positions = lm.pad([prompts[i] for i in batch])
        later = real & (real.long().cumsum(-1) > 1)
        padded = not bool(real.all())

        def reader(site: Site, later: Tensor = later) -> Hook:
            # The lengths alone are kept: activations of all layers would be as large as a cache.
            return lambda h: norms[site].append(h.float().norm(dim=-1)[later].cpu())

        lm.forward(
            tokens,
            attention_mask=real.long() if padded else None,
            positions=positions if padded else None,
            hooks={site: reader(site) for site in norms},
            keep=1,
        )
    return {site: float(torch.cat(found).median()) for site, found in norms.items()}


# Predictions --------------------------------------------------------------------------------------------------------


def kl_divergence(
    logits: Float[Tensor, "*batch vocab"], steered: Float[Tensor, "*batch vocab"]
) -> Float[Tensor, "*batch"]:
    """KL(p || q) in nats of next-token distributions, p of `logits` (the baseline) and q of `steered`."""
    p, q = logits.double().log_softmax(-1), steered.double().log_softmax(-1)
    # A token that p rules out adds 0, whatever q says of it; as written it would be 0 * inf.
    terms = torch.where(p.isneginf(), 0.0, p.exp() * (p - q))
    return terms.sum(-1).clamp_min(0).float()


# Texts --------------------------------------------------------------------------------------------------------------


def distinct_n(tokens: Sequence[Hashable], n: int = 2) -> float:
    """The share of different n-grams among all n-grams: 1 never repeats; NaN for fewer than n tokens.

    Raises:
        ValueError: n below 1.
    """
    if n < 1:
        raise ValueError(f"An n-gram has at least one token; got n = {n}.")
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return len(set(grams)) / len(grams) if grams else math.nan


def repetition(text: str) -> float:
    """The share of a text's word triples that occurred before in it: 0 for fluent text, near 1 for a loop."""
    words = text.split()
    return 1 - distinct_n(words, 3) if len(words) > 2 else 0.0
