"""A baseline and seven variants: as Tiller's interventions, and as the hooks that people write by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steering.directions.direction import Direction
from steering.interventions import ActivationAddition, DirectionalAblation, Intervention, Sara, ThresholdRegulator
from steering.interventions.sara import sara_gain
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

from .models import random_sae

ALPHA, TAU, LAMBDA, GAIN = 6.0, 0.5, 3.0, 0.5
Change = Callable[[Tensor], Tensor]  # [1, pos, d_model] -> the same, once a forward pass


@dataclass(frozen=True)
class Variant:
    """One of the eight rows.

    Attributes:
        ours: as Tiller does it.
        by_hand: makes (layer, change) pairs for hooks on the input of that layer, fresh for every text, since some
            remember the prompt pass.
        vectors: (layer, vector, alpha) as an addition, for tools that do nothing else.
        same_vectors: whether the additions are the same method.
        ablates: whether the method is an ablation of the first of the vectors.
    """

    name: str
    ours: tuple[Intervention, ...]
    by_hand: Callable[[], list[tuple[int, Change]]]
    vectors: tuple[tuple[int, Tensor, float], ...] = ()
    same_vectors: bool = False
    ablates: bool = False


def unit(width: int, seed: int) -> Tensor:
    """A random vector of length 1."""
    vector = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    return vector / vector.norm()


def in_features(sae: Sae, features: int, seed: int = 0) -> Direction:
    """A direction in feature space with a support of a few random features."""
    generator = torch.Generator().manual_seed(seed)
    vector = torch.zeros(sae.d_sae)
    vector[torch.randperm(sae.d_sae, generator=generator)[:features]] = torch.rand(features, generator=generator)
    return Direction(vector, sae.site, sae)


def prompt_of(model: Model, tokens: int, seed: int = 0) -> list[int]:
    """A prompt of random words; 0 and 1 are special tokens."""
    return torch.randint(2, model.d_vocab, (tokens,), generator=torch.Generator().manual_seed(seed)).tolist()


def adding(v: Tensor) -> Change:
    return lambda h: h + v


def adding_to_generated(v: Tensor) -> Change:
    passes: list[bool] = []

    def change(h: Tensor) -> Tensor:
        passes.append(True)
        return h if len(passes) == 1 else h + v

    return change


def ablating(r: Tensor) -> Change:
    return lambda h: h - (h @ r)[..., None] * r


def regulating(sae: Sae, v: Tensor) -> Change:
    v = v / v.norm()
    write = v @ sae.W_dec
    return lambda h: h - LAMBDA * (sae.encode(h) @ v - TAU).relu()[..., None] * write


def scaling(attract: Tensor, repel: Tensor) -> Change:
    found: list[Tensor] = []

    def change(h: Tensor) -> Tensor:
        if not found:
            found.append(1 + GAIN * sara_gain(h[0], attract, repel))
        return h * found[0]

    return change


def eight(model: Model) -> list[Variant]:
    """The baseline and seven variants, all at the middle layer's input; the last one also ablates at the next."""
    layer = model.n_layers // 2
    site, after = Site(layer, "resid_pre"), Site(layer + 1, "resid_pre")
    a, r, b = (unit(model.d_model, seed) for seed in (1, 2, 3))
    add, ablate, ablate_after = Direction(a, site), Direction(r, site), Direction(b, after)
    sae = random_sae(model, site, 4096)
    feature = in_features(sae, 32)
    sides = [model.text(prompt_of(model, length, seed=length)) for length in (12, 14)]
    sara = Sara.from_prompts(model, attract=sides[0], repel=sides[1], site=site, alpha=GAIN)
    plus = (layer, a, ALPHA)
    return [
        Variant("baseline", (), lambda: []),
        Variant(
            "addition",
            (ActivationAddition(add, ALPHA),),
            lambda: [(layer, adding(ALPHA * a))],
            (plus,),
            same_vectors=True,
        ),
        Variant(
            "addition, minus",
            (ActivationAddition(add, -ALPHA),),
            lambda: [(layer, adding(-ALPHA * a))],
            ((layer, a, -ALPHA),),
            same_vectors=True,
        ),
        Variant(
            "addition to generated tokens",
            (ActivationAddition(add, ALPHA, where="generated"),),
            lambda: [(layer, adding_to_generated(ALPHA * a))],
            (plus,),
        ),
        Variant(
            "directional ablation",
            (DirectionalAblation(ablate),),
            lambda: [(layer, ablating(r))],
            ((layer, r, 1.0),),
            ablates=True,
        ),
        Variant(
            "threshold regulator, 32 of 4096 features",
            (ThresholdRegulator(feature, TAU, LAMBDA),),
            lambda: [(layer, regulating(sae, feature.vector))],
            (plus,),
        ),
        Variant("SARA", (sara,), lambda: [(layer, scaling(sara.attract, sara.repel))], (plus,)),
        Variant(
            "addition, then ablation a layer later",
            (ActivationAddition(add, ALPHA), DirectionalAblation(ablate_after)),
            lambda: [(layer, adding(ALPHA * a)), (layer + 1, ablating(b))],
            (plus, (layer + 1, b, 1.0)),
        ),
    ]


def regulators(model: Model, d_sae: int, features: int = 32) -> list[Sequence[Intervention]]:
    """A baseline and seven regulators of different thresholds on one SAE."""
    direction = in_features(random_sae(model, Site(model.n_layers // 2, "resid_pre"), d_sae), features)
    return [(), *((ThresholdRegulator(direction, TAU + 0.1 * k, LAMBDA),) for k in range(7))]
