"""Contrasts: how a direction is made from prompt pairs, by mean difference, principal component, probe or LDA."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..models.model import Model
from ..saes.sae import Sae
from ..sites import Site
from . import estimators
from .activations import Position, of_pairs
from .direction import Direction
from .pairs import PairSet


def mean_difference(
    lm: Model,
    pairs: PairSet,
    site: Site,
    *,
    position: Position = "completion_mean",
    sae: Sae | None = None,
    chat: bool | None = None,
    progress: Callable[[float], None] | None = None,
) -> Direction:
    """The mean of positive minus the mean of negative activations (CAA), in their own units: the default.

    Args:
        position: "completion_mean"; "prompt_mean" or "prompt_last", a chat template's tokens included; "last", of the
            whole text; "differing", the answer letter of CAA; or an index into the tokens.
        sae: in the feature space of this SAE, which must be at the site.
        chat: through the model's chat template; None for yes where there are both a template and a prompt.
        progress: called with the share done, from 0 to 1.
    """
    return _contrast("mean_difference", estimators.mean_difference, lm, pairs, site, position, sae, chat, progress)


def pca(
    lm: Model,
    pairs: PairSet,
    site: Site,
    *,
    position: Position = "completion_mean",
    sae: Sae | None = None,
    chat: bool | None = None,
    progress: Callable[[float], None] | None = None,
) -> Direction:
    """The first principal component of the pairs around their own centers (RepE), a unit vector."""
    return _contrast("pca", estimators.pca, lm, pairs, site, position, sae, chat, progress)


def probe(
    lm: Model,
    pairs: PairSet,
    site: Site,
    *,
    position: Position = "completion_mean",
    sae: Sae | None = None,
    chat: bool | None = None,
    progress: Callable[[float], None] | None = None,
) -> Direction:
    """The weights of a logistic regression that tells the two sides apart, a unit vector.

    It classifies better and steers worse than the mean difference (AxBench).
    """
    return _contrast("probe", estimators.probe, lm, pairs, site, position, sae, chat, progress)


def lda(
    lm: Model,
    pairs: PairSet,
    site: Site,
    *,
    position: Position = "completion_mean",
    sae: Sae | None = None,
    chat: bool | None = None,
    progress: Callable[[float], None] | None = None,
) -> Direction:
    """Fisher's linear discriminant with Ledoit-Wolf shrinkage, a unit vector."""
    return _contrast("lda", estimators.lda, lm, pairs, site, position, sae, chat, progress)


CONTRASTS = {"mean_difference": mean_difference, "pca": pca, "probe": probe, "lda": lda}


def _contrast(
    method: str,
    fit: Callable[[np.ndarray, np.ndarray], np.ndarray],
    lm: Model,
    pairs: PairSet,
    site: Site,
    position: Position,
    sae: Sae | None,
    chat: bool | None,
    progress: Callable[[float], None] | None,
) -> Direction:
    site = Site.parse(site)
    read = of_pairs(lm, pairs, [site], position=position, sae=sae, chat=chat, progress=progress)[site]
    return fitted(method, fit, read, lm, pairs, site, position=position, sae=sae, chat=chat)


def fitted(
    method: str,
    fit: Callable[[np.ndarray, np.ndarray], np.ndarray],
    activations: tuple[Float[Tensor, "pairs width"], Float[Tensor, "pairs width"]],
    lm: Model,
    pairs: PairSet,
    site: Site,
    *,
    position: Position = "completion_mean",
    sae: Sae | None = None,
    chat: bool | None = None,
) -> Direction:
    """A direction fitted to activations that `of_pairs` has read, so that several methods share one reading."""
    positive, negative = (side.double().numpy() for side in activations)
    vector = torch.from_numpy(np.ascontiguousarray(fit(positive, negative)))
    provenance: dict[str, Any] = {
        "model": lm.identity,
        "method": method,
        "position": position,
        "chat": chat,
        "pairs": {"name": pairs.name, "n": len(pairs), "hash": pairs.content_hash},
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "scikit-learn")},
    }
    if sae is not None:
        provenance["sae"] = sae.identity
    return Direction(vector, site, sae, pairs.name or method, provenance)
