"""What the tests of steering share: seeded directions, a variant of every method, a row decoded alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import steering.interventions as ways
from steering.directions.direction import Direction
from steering.engine.decoding import generate
from steering.engine.passes import run_sequences
from steering.engine.requests import Request
from steering.engine.rows import Row
from steering.interventions import Intervention
from steering.interventions.protocol import Effect
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

Variant = Sequence[Intervention]
SITE = Site(1, "resid_post")
TEXT = "The cat sat on the mat and looked at the moon."
# Of unequal lengths, the longest beyond Gemma's tiny sliding window.
PROMPTS = [
    "The cat sat",
    "Is 7 plus 5 equal to 13?",
    "I love you and I hate you. She said yes, he said no, and they all agreed that it was so.",
    "Question: what is the best way",
    "No",
    "The dog was not happy with that. The moon",
    "with a vector or with a prompt? Answer: (",
    "I think that you are right, of course! They all",
]


def direction(
    site: Site = SITE, seed: int = 0, norm: float = 1.0, *, sae: Sae | None = None, name: str = "", width: int = 32
) -> Direction:
    """A random direction; in feature space it has a support of 12 features, of both signs."""
    g = torch.Generator().manual_seed(1000 + seed)
    if sae is not None:
        vector = torch.zeros(sae.d_sae)
        index = torch.randperm(sae.d_sae, generator=g)[:12]
        vector[index] = torch.randn(12, generator=g)
        site = sae.site
    else:
        vector = torch.randn(width, generator=g)
    return Direction(vector * (norm / vector.norm()), site, sae=sae, name=name)


def decode(lm: Model, prompt: str | Sequence[int], variant: Variant = (), **options) -> Row:
    """A finished row, decoded alone."""
    row = Request(prompt, variant, **options).row(lm)
    generate([row])
    return row


def batch(lm: Model, prompts: Sequence[str], variants: Sequence[Variant], **options) -> list[Row]:
    """Finished rows of prompts and their variants, decoded together."""
    rows = [Request(p, variant, **options).row(lm) for p, variant in zip(prompts, variants, strict=True)]
    generate(rows)
    return rows


def logits_of(lm: Model, prompt: str | Sequence[int], variant: Variant = (), **options) -> Tensor:
    """Logits [pos vocab] of one steered pass over a prompt."""
    row = Request(prompt, variant, **options).row(lm)
    return run_sequences(lm, [row], keep=0)[0][0]


def apply(lm: Model, one: Intervention, h: Tensor, placement: int = 0) -> Effect:
    """What an intervention's edit does to activations [pos d_model], every position of them."""
    found = one.placements(lm)[placement]
    edit = found.edit if found.edit is not None else found.from_prompt(h)
    effect = edit(h[None], torch.arange(len(h))[None])
    fired = None if effect.fired is None else effect.fired[0]
    return Effect(effect.h[0], effect.expected[0], fired)


def hooks_on(lm: Model) -> int:
    """Forward hooks on any module of the model, but for those that transformers itself leaves.

    Once asked for hidden states, transformers keeps hooks of its own that capture them; another test may have asked.
    """
    hooks = [hook for m in lm.hf.modules() for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    return sum(not hook.__module__.startswith("transformers.") for hook in hooks)


def unembedding(lm: Model) -> Tensor:
    return lm.hf.get_output_embeddings().weight


def every_method(lm: Model, sae: Sae) -> dict[str, Variant]:
    """A variant of each method, strong enough to change what a tiny model writes."""
    v, w = direction(seed=0), direction(seed=1)
    early, late = direction(Site(0), seed=2), direction(Site(2), seed=3)
    f = direction(sae=sae, seed=4)
    texts = {"attract": "I love you and", "repel": "The dog was not happy"}
    sara = {mode: ways.Sara.from_prompts(lm, **texts, site=Site(1, "resid_pre"), mode=mode) for mode in (
        "frozen", "recompute", "paper")}  # fmt: skip
    return {
        "addition": (ways.ActivationAddition(v, alpha=8.0),),
        "addition from the last prompt token": (ways.ActivationAddition(v, alpha=9.0, where="from_last"),),
        "addition inside the block": (ways.ActivationAddition(direction(Site(1, "resid_mid")), alpha=8.0),),
        "addition to attention": (ways.ActivationAddition(direction(Site(2, "attn_out")), alpha=8.0),),
        "actadd": (ways.ActAdd.from_prompts(lm, "I love you", "I hate that dog", Site(1, "resid_pre"), alpha=3.0),),
        "ablation": (ways.DirectionalAblation(w, strength=2.0),),
        "ablation everywhere": (ways.DirectionalAblation(v, everywhere=True),),
        "affine ablation": (ways.AffineAblation(v * 6.0, direction(seed=5, norm=3.0), alpha=1.0),),
        "regulator": (ways.ThresholdRegulator(w, tau=0.0, lambda_=4.0),),
        "regulator of features": (ways.ThresholdRegulator(f, tau=0.3, lambda_=3.0),),
        "regulator, error dropped": (ways.ThresholdRegulator(f, tau=0.5, lambda_=3.0, error="drop"),),
        "regulator, no negative features": (ways.ThresholdRegulator(f, tau=0.2, lambda_=6.0, clamp_nonneg=True),),
        "sae ablation": (ways.SaeAblation(f),),
        "sae reconstruction": (ways.SaeReconstruction(sae),),
        "feature addition": (ways.FeatureAddition(sae, {3: 6.0, 17: -4.0}),),
        "feature clamp": (ways.FeatureClamp(sae, {5: 8.0, 40: 0.0}),),
        "feature ablation": (ways.FeatureAblation(sae, list(range(0, 90, 3))),),
        "sara": (sara["frozen"],),
        "sara, recomputed": (sara["recompute"],),
        "sara as in the paper": (sara["paper"],),
        "angular": (ways.AngularSteering(v, w, degrees=120.0),),
        "conditional": (ways.Conditional(early, -2.0, ways.ActivationAddition(v, alpha=8.0)),),
        "conditional on a later layer": (ways.Conditional(late, -2.0, ways.ActivationAddition(v, alpha=9.0)),),
        "features and own directions": (
            ways.FeatureClamp(sae, {5: 6.0}),
            ways.ActivationAddition(late, alpha=4.0),
            ways.DirectionalAblation(direction(sae.site, seed=6)),
        ),
    }


METHODS = (
    "addition",
    "addition from the last prompt token",
    "addition inside the block",
    "addition to attention",
    "actadd",
    "ablation",
    "ablation everywhere",
    "affine ablation",
    "regulator",
    "regulator of features",
    "regulator, error dropped",
    "regulator, no negative features",
    "sae ablation",
    "sae reconstruction",
    "feature addition",
    "feature clamp",
    "feature ablation",
    "sara",
    "sara, recomputed",
    "sara as in the paper",
    "angular",
    "conditional",
    "conditional on a later layer",
    "features and own directions",
)
