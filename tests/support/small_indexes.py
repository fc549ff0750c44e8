"""Texts and settings of the feature indexes that the tests build, and what they hold counted window by window."""

from __future__ import annotations

import numpy as np
import tiny_models as tiny

from steering.features.making.passes import IndexSettings
from steering.features.making.windows import starts_with_bos, windows
from steering.models.model import Model
from steering.saes.sae import Sae

WORDS = " ".join(tiny.CORPUS).replace(".", "").split()


def some_texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 30))) + "." for _ in range(n)]


TEXTS = some_texts(90)
SMALL = IndexSettings(context=24, sample=16, examples=4)


def naive(lm: Model, sae: Sae, texts: list[str], context: int) -> list[tuple[list[int], np.ndarray]]:
    """Every window alone: its tokens and the activations of all features on them, BOS set to zero."""
    out = []
    bos = starts_with_bos(lm, sae)
    for window in windows(lm, texts, context, bos):
        found, _ = lm.activations([window], [sae.site])
        activations = sae.encode(found[sae.site][0]).float().numpy()
        activations[: int(bos)] = 0
        out.append((window, activations))
    return out
