"""Layer by layer: what a text is along a direction, what each layer would say next, and where steering takes effect.

A layer at which two classes separate need not be one at which the model uses what separates them; `causal_effects`
steers at each layer and measures what the model then says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..directions import agreement
from ..directions.direction import Direction, random_like
from ..directions.pairs import PairSet
from ..interventions.protocol import Intervention, made
from ..models.lens import to_logits
from ..models.model import Model
from ..models.passages import passage
from ..sites import Site
from ..statistics import Estimate, bootstrap, holm, sign_flip, verdict

if TYPE_CHECKING:
    from ..engine.engine import Engine

Sides = tuple[Float[Tensor, "pairs d_model"], Float[Tensor, "pairs d_model"]]


def class_scores(lm: Model, tokens: Sequence[int], sides: Mapping[Site, Sides]) -> Float[np.ndarray, "sites pos"]:
    """How far each token of a text is toward either class at each site: +1 at the positive mean, -1 at the negative.

    score = 2 (h - middle) . d / |d|^2, with d the mean difference of the sides and `middle` halfway between them.
    """
    found, _ = lm.activations([tokens], list(sides))
    rows = []
    for site, (positive, negative) in sides.items():
        p, q = positive.double().mean(0), negative.double().mean(0)
        d = p - q
        h = found[site][0].cpu().double()
        rows.append((2 * (h - (p + q) / 2) @ d / d.square().sum().clamp_min(1e-24)).numpy())
    return np.stack(rows)


def direction_scores(
    lm: Model, tokens: Sequence[int], direction: Direction, sites: Sequence[Site]
) -> Float[np.ndarray, "sites pos"]:
    """The cosine of each token's activation with a direction, at each site (a feature direction is decoded first)."""
    found, _ = lm.activations([tokens], list(sites))
    v = torch.nn.functional.normalize(direction.decoded().double(), dim=-1)
    unit = torch.nn.functional.normalize
    return np.stack([(unit(found[site][0].cpu().double(), dim=-1) @ v).numpy() for site in sites])


@dataclass(frozen=True)
class Guesses:
    """Each layer's most likely next token at every position, with its probability (logit lens)."""

    tokens: Int[np.ndarray, "layers pos"]
    probabilities: Float[np.ndarray, "layers pos"]


def layer_guesses(lm: Model, tokens: Sequence[int]) -> Guesses:
    """The next token by the stream after each layer, read through the final norm and the unembedding.

    The last layer's guess is the model's own; earlier ones show when it makes up its mind.
    """
    sites = [Site(layer, "resid_post") for layer in range(lm.n_layers)]
    found, _ = lm.activations([tokens], sites)
    ids, probabilities = [], []
    for site in sites:
        top = to_logits(lm, found[site][0]).softmax(-1).max(-1)
        ids.append(top.indices.cpu().numpy())
        probabilities.append(top.values.cpu().numpy())
    return Guesses(np.stack(ids), np.stack(probabilities))


@dataclass(frozen=True)
class LayerEffect:
    """What steering at one layer does to held-out pairs, in nats.

    Attributes:
        separation: held-out AUROC of the direction there.
        effect: the change of log p(positive) - log p(negative) by adding the direction, mean over pairs with interval.
        controls: the same for random directions of equal norm, one number each.
        alpha: the coefficient that was added.
        p: of a sign-flip test of the effect over pairs; n: how many pairs.
    """

    layer: int
    separation: float
    effect: Estimate
    controls: tuple[float, ...]
    alpha: float
    p: float = 1.0
    n: int = 0


def causal_effects(
    engine: Engine,
    train: Mapping[Site, Sides],
    test: PairSet,
    norms: Mapping[Site, float],
    *,
    units: float = 0.5,
    contrast: str = "mean_difference",
    controls: int = 3,
    chat: bool | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> list[LayerEffect]:
    """What adding each site's direction does to the log-probability of completions the direction has not seen.

    Args:
        train: activations of the pairs that make the directions, by site.
        test: other pairs, whose completions are scored by teacher forcing; nothing is generated.
        norms: the typical norm at each site.
        units: how much is added, in units of that norm.
        controls: random directions of equal norm that are tried beside it.
        tick: called with what is done and the total; may raise to cancel.

    Raises:
        ValueError: fewer than two pairs on a side.
    """
    lm, total = engine.model, len(train) + 1
    tick = tick or (lambda done, of: None)
    tick(0, total)
    (plain,) = preferences(engine, test, [()], chat)
    found = []
    for number, (site, (positive, negative)) in enumerate(train.items(), start=1):
        tick(number, total)
        sides = positive.double().numpy(), negative.double().numpy()
        vector = torch.from_numpy(np.ascontiguousarray(agreement.FITS[contrast](*sides)))
        direction = Direction(vector, site, provenance={"model": lm.identity})
        alpha = units * norms[site] / direction.norm
        tried = (direction, *(random_like(direction, seed) for seed in range(controls)))
        effects = preferences(engine, test, [(made("add", direction=d, alpha=alpha),) for d in tried], chat) - plain
        separation = agreement.held_out(*sides, agreement.FITS[contrast], folds=10).auroc
        means = tuple(float(effect.mean()) for effect in effects[1:])
        found.append(
            LayerEffect(site.layer, separation, bootstrap(effects[0]), means, alpha, sign_flip(effects[0]), len(test))
        )
    return found


def layer_verdicts(effects: Sequence[LayerEffect]) -> list[str]:
    """What each layer's effect supports, all layers counted: "better" where it is clear, upward and beyond chance."""
    adjusted = holm([effect.p for effect in effects]) if effects else []
    return [
        verdict(effect.effect.value, p, effect.n, better="higher", controls=effect.controls)
        for effect, p in zip(effects, adjusted, strict=True)
    ]


def preferences(
    engine: Engine, pairs: PairSet, variants: Sequence[Sequence[Intervention]], chat: bool | None
) -> Float[np.ndarray, "variants pairs"]:
    """log p(positive) - log p(negative) of each pair under each variant, as the mean over the completion's tokens.

    All variants of a text are scored together, because they share its pass up to the first layer that is steered.
    """
    sides = [_split(engine.model, side, chat) for pair in pairs for side in pair.sides]
    scored = engine.score_all([(*side, variant) for side in sides for variant in variants])
    scores = np.array([float(np.mean(values)) for values in scored]).reshape(len(pairs), 2, len(variants))
    return (scores[:, 0] - scores[:, 1]).T


def _split(lm: Model, side: tuple[str, str], chat: bool | None) -> tuple[list[int], list[int]]:
    """The tokens before a completion (at least one: a first token cannot be predicted) and the completion's."""
    item = passage(lm, *side, chat=chat)
    start = max(item.start, 1)
    return list(item.tokens[:start]), list(item.tokens[start : item.end])
