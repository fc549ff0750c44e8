"""How well directions of emotions tell texts apart that they were not made of, layer by layer, beside chance.

Plain arrays, no model: what is read of the texts is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ...directions.class_means import against_others
from ...statistics import Estimate, auroc, auroc_interval, correlation

Classes = Mapping[str, Float[ndarray, "texts width"]]
Vectors = Mapping[str, Float[ndarray, "width"]]
DRAWS = 100  # random directions, and shuffles of the labels


class ByChance(NamedTuple):
    """What a number is by chance: its mean over draws, and the range of 95% of them."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class EmotionReading:
    """How well the directions of one layer read texts that they were not made of.

    Attributes:
        layer: chosen by the mean area under the curve on validation texts.
        validation: that mean for every layer.
        found: for each feeling, the chance that a test text of it projects higher than one of another.
        random, shuffled: the same for random directions, and for directions made of shuffled labels.
        vectors: the directions of the chosen layer.
    """

    layer: int
    validation: Mapping[int, float]
    found: Mapping[str, Estimate]
    random: Mapping[str, ByChance]
    shuffled: Mapping[str, ByChance]
    vectors: Vectors


def areas(vectors: Vectors, texts: Classes) -> dict[str, Estimate]:
    """For each feeling of both, how well its direction tells its texts from those of the other feelings."""
    return {name: auroc_interval(*_sides(vectors[name], texts, name)) for name in vectors if name in texts}


def _sides(vector: Float[ndarray, "width"], texts: Classes, name: str) -> tuple[ndarray, ndarray]:
    others = np.concatenate([one for other, one in texts.items() if other != name])
    return texts[name] @ vector, others @ vector


def best_layer(train: Mapping[int, Classes], validation: Mapping[int, Classes]) -> tuple[int, dict[int, float]]:
    """The layer whose directions separate the validation texts best on the mean, and that mean for every layer."""
    means = {}
    for layer, texts in train.items():
        vectors = against_others(texts)
        means[layer] = float(np.mean([auroc(*_sides(vectors[f], validation[layer], f)) for f in vectors]))
    return max(means, key=means.__getitem__), means


def reading(
    train: Mapping[int, Classes], validation: Mapping[int, Classes], test: Mapping[int, Classes], seed: int = 0
) -> EmotionReading:
    """The chosen layer's directions on the test texts, beside random directions and shuffled labels."""
    layer, means = best_layer(train, validation)
    vectors, judged = against_others(train[layer]), test[layer]
    by_chance = by_random(judged, seed), by_shuffling(train[layer], judged, seed)
    return EmotionReading(layer, means, areas(vectors, judged), *by_chance, vectors)


def by_random(texts: Classes, seed: int = 0) -> dict[str, ByChance]:
    """How well random directions tell each feeling's texts from the others."""
    width = next(iter(texts.values())).shape[1]
    drawn = np.random.default_rng(seed).normal(size=(DRAWS, width))
    return {name: _chance([auroc(*_sides(one, texts, name)) for one in drawn]) for name in texts}


def by_shuffling(train: Classes, test: Classes, seed: int = 0) -> dict[str, ByChance]:
    """How well directions do that are made of the same texts with their labels exchanged at random."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in test}
    for _ in range(DRAWS):
        vectors = against_others(shuffled(train, rng))
        for name in found:
            found[name].append(auroc(*_sides(vectors[name], test, name)))
    return {name: _chance(values) for name, values in found.items()}


def shuffled(texts: Classes, rng: np.random.Generator) -> dict[str, Float[ndarray, "texts width"]]:
    """The same texts dealt out at random, as many to each feeling as before."""
    rows = rng.permutation(np.concatenate(list(texts.values())))
    ends = np.cumsum([len(one) for one in texts.values()])[:-1]
    return dict(zip(texts, np.split(rows, ends), strict=True))


def _chance(values: Sequence[float]) -> ByChance:
    low, high = np.quantile(values, (0.025, 0.975))
    return ByChance(float(np.mean(values)), float(low), float(high))


@dataclass(frozen=True)
class Valence:
    """Happy minus sad along texts whose valence people rated: the correlation, and that of random directions."""

    found: Estimate
    random: ByChance
    texts: int


def valence(
    happy: Float[ndarray, "width"], sad: Float[ndarray, "width"], texts: Float[ndarray, "texts width"],
    rated: Sequence[float], seed: int = 0,
) -> Valence:  # fmt: skip
    """The correlation of the texts' projection on the unit directions' difference with their rated valence."""
    vector = happy / np.linalg.norm(happy) - sad / np.linalg.norm(sad)
    drawn = np.random.default_rng(seed).normal(size=(DRAWS, texts.shape[1]))
    by_chance = [correlation(texts @ one, rated).value for one in drawn]
    return Valence(correlation(texts @ vector, rated), _chance(by_chance), len(texts))
