"""Moods from texts about emotions: do their directions read an emotion in other texts, and does adding one bring it?

For each emotion the mean activation of its situations minus the mean of the other emotions' (RepE asks in this way,
arXiv 2310.01405): read on texts that were left out and on texts of another kind, and added while the model compares
endings of stories. Beside random directions, shuffled labels, the opposite sign and the directions of pairs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from ...directions import estimators
from ...directions.activations import of_pairs, picked, read
from ...directions.class_means import against_others
from ...directions.contrasts import fitted
from ...directions.direction import Direction
from ...directions.pairs import PairSet
from ...engine.engine import Engine
from ...evaluations.scoring.preference import MOODS
from ...evaluations.scoring.scorers import scorer
from ...evaluations.sets import readers
from ...evaluations.sets.sets import EvaluationSet
from ...measurements.numbers import typical_norms
from ...measurements.pace import seconds_per_token
from ...models.model import Model
from ...models.passages import Passage, passage
from ...sites import Site
from ...statistics import Estimate, auroc_interval
from .mood_reading import ByChance, EmotionReading, Valence, areas, by_random, reading, valence
from .mood_steering import Steered, halves, layers_tried, random_push, steer, texts_scored
from .mood_texts import PARTS, EmotionTexts, Texts, drawn, emotion_texts, parts
from .pace import texts_a_second

Tick = Callable[[int, int, str], None]
STORIES = "general_moods"
ASKED, ANSWERED = "{} How does that feel?", "I feel"  # read at the last token, where the feeling is about to be named
MOST_CHARACTERS = 400  # of a text; the rest is cut
MOST_COMMENTS, MOST_RATED = 100, 600  # texts of another kind that are read: of each feeling, and of rated ones
FROM_TEXTS, FROM_PAIRS = "texts", "pairs"


@dataclass(frozen=True)
class OtherKind:
    """Texts of another kind read by a feeling's direction: how well it tells them apart, beside random directions."""

    texts: str
    feeling: str
    n: int
    found: Estimate
    random: ByChance | None = None


@dataclass(frozen=True)
class MoodStudy:
    """What the directions of emotions read and what they move.

    Attributes:
        sizes: for each feeling, how many texts were learned from, chosen by and judged on.
        cost: what was said before it began.
        by_pairs: how well the pairs' directions of the same layer read the same test texts.
        cosines: of the directions of texts with those of pairs there.
        other: texts of another kind; `rated` is None where there are none.
    """

    model: str
    texts: EmotionTexts
    sizes: Mapping[str, tuple[int, ...]]
    stories: str
    cost: str
    seconds: float
    reading: EmotionReading
    by_pairs: Mapping[str, Estimate]
    cosines: Mapping[str, float]
    other: tuple[OtherKind, ...]
    rated: Valence | None
    steered: tuple[Steered, ...]


def run_moods(
    engine: Engine,
    texts: EmotionTexts | None = None,
    items: EvaluationSet | None = None,
    pairs: Mapping[str, PairSet] | None = None,
    *,
    tick: Tick | None = None,
) -> MoodStudy:
    """The study with the shipped situations, stories and pairs, or with those given.

    Args:
        pairs: for each mood a pair set, whose direction is compared.
        tick: called with parts of a hundred and what is being done; may raise to stop.

    Raises:
        ValueError: no texts of a mood that stories can end in, or stories that cannot be parted.
    """
    began, lm = time.perf_counter(), engine.model
    say = tick or (lambda done, total, note: None)
    texts = emotion_texts() if texts is None else texts
    items = readers.load(STORIES) if items is None else items
    stories = EvaluationSet(items.items, scorer("moods by preference"), items.name)
    moods = [mood for mood in MOODS if mood in texts.situations]
    if not moods:
        raise ValueError(f"Stories end {', '.join(MOODS)}; the texts are {', '.join(texts.situations)} alone.")
    pairs = {mood: PairSet.load(f"general_mood_{mood}") for mood in moods} if pairs is None else pairs
    by_part = parts(texts.situations)
    rated = random.Random(0).sample(texts.rated, min(MOST_RATED, len(texts.rated)))
    comments = drawn(texts.comments, MOST_COMMENTS)
    sites = [Site(layer) for layer in range(lm.n_layers)]
    several = [*texts.situations.values(), *texts.mixed.values(), *comments.values(), [text for text, _ in rated]]
    read_first = [text for some in several for text in some]
    norms = typical_norms(lm, sites)
    cost = _cost(engine, read_first, stories, norms, 2 * len(moods))
    say(0, 100, cost)

    at = _Reader(lm, say, len(read_first))
    read_parts = {name: at.by_layer(by_part[name], sites, f"reading texts to {name}") for name in PARTS}
    train, validation, test = (read_parts[name] for name in PARTS)
    found = reading(train, validation, test)
    site = Site(found.layer)
    sides = {mood: of_pairs(lm, pairs[mood], sites) for mood in moods}
    from_pairs = {
        mood: {
            s.layer: fitted("mean_difference", estimators.mean_difference, sides[mood][s], lm, pairs[mood], s)
            for s in sites
        }
        for mood in moods
    }
    compared = {mood: from_pairs[mood][found.layer].vector.double().numpy() for mood in moods}
    other = _mixed(at, site, found, texts.mixed, test[found.layer]) + _comments(at, site, found, comments)
    scale = None
    if len(rated) > 3 and {"happy", "sad"} <= set(found.vectors):
        h = at.by_layer({"": tuple(text for text, _ in rated)}, [site], "reading rated texts")[found.layer][""]
        scale = valence(found.vectors["happy"], found.vectors["sad"], h, [value for _, value in rated])
    from_texts = {mood: {} for mood in moods}
    for layer in layers_tried(lm.n_layers):
        for mood, vector in against_others(train[layer]).items():
            if mood in moods:
                about = {"model": lm.identity, "method": "class mean against the others", "position": "last"}
                from_texts[mood][layer] = Direction(torch.from_numpy(vector), Site(layer), name=mood, provenance=about)
    steered = steer(
        engine, stories, {FROM_TEXTS: from_texts, FROM_PAIRS: from_pairs}, norms,
        lambda share, note: say(int(40 + 60 * share), 100, note),
    )  # fmt: skip
    return MoodStudy(
        lm.name,
        texts,
        {feeling: tuple(len(by_part[name][feeling]) for name in PARTS) for feeling in texts.situations},
        f"{len(halves(stories)[1])} of {len(stories)} stories of {stories.name}",
        cost,
        time.perf_counter() - began,
        found,
        areas(compared, test[found.layer]),
        {mood: _cosine(found.vectors[mood], vector) for mood, vector in compared.items()},
        tuple(other),
        scale,
        tuple(steered),
    )


def asked(lm: Model, text: str) -> Passage:
    """A text with the question how it feels, up to where the answer would name the feeling."""
    # Without a chat template both are one text, and a word begins with its space.
    answered = ANSWERED if lm.has_chat_template else f" {ANSWERED}"
    return passage(lm, ASKED.format(text.strip()[:MOST_CHARACTERS]), answered)


class _Reader:
    """Reads texts with the question behind them, and says how far it is of all there are."""

    def __init__(self, lm: Model, say: Tick, total: int) -> None:
        self.lm, self.say, self.total, self.done = lm, say, total, 0

    def by_layer(
        self, texts: Texts, sites: Sequence[Site], note: str
    ) -> dict[int, dict[str, Float[ndarray, "texts width"]]]:
        """layer -> feeling -> activations of its texts."""
        items = [asked(self.lm, text) for some in texts.values() for text in some]
        found = read(
            self.lm, [item.tokens for item in items], [picked(item, "last") for item in items], sites,
            progress=lambda share: self.say(int(40 * (self.done + share * len(items)) / self.total), 100, note),
        )  # fmt: skip
        self.done += len(items)
        ends = np.cumsum([len(some) for some in texts.values()])[:-1]
        return {
            site.layer: dict(zip(texts, np.split(h.double().numpy(), ends), strict=True)) for site, h in found.items()
        }


def _cost(
    engine: Engine, read_first: Sequence[str], stories: EvaluationSet, norms: Mapping[Site, float], directions: int
) -> str:
    lm = engine.model
    tokens = sum(len(asked(lm, text).tokens) for text in read_first)
    first, second = halves(stories)
    layers = layers_tried(lm.n_layers)
    scored = texts_scored(directions, len(layers), (len(first), len(second)))
    pace = texts_a_second(engine, stories, [random_push(Site(layer), norms, lm.width(Site(layer))) for layer in layers])
    minutes = (tokens * seconds_per_token(lm) + scored / pace) / 60
    return (
        f"{len(read_first)} texts of {tokens} tokens are read and {scored} endings of stories scored, about "
        f"{minutes:.1f} minutes at {pace:.0f} endings a second."
    )


def _mixed(
    at: _Reader, site: Site, found: EmotionReading, mixed: Texts, test: Mapping[str, Float[ndarray, "texts width"]]
) -> list[OtherKind]:
    """Texts of two feelings against the test texts of all other feelings, along each of the two directions."""
    rows = []
    for both, some in mixed.items():
        h = at.by_layer({both: some}, [site], "reading mixed texts")[site.layer][both]
        feelings = [one for one in both.split(" and ") if one in found.vectors]
        others = [texts for feeling, texts in test.items() if feeling not in feelings]
        for feeling in feelings if others else ():
            vector = found.vectors[feeling]
            area = auroc_interval(h @ vector, np.concatenate(others) @ vector)
            rows.append(OtherKind(f"situations that are {both}, against the other feelings", feeling, len(some), area))
    return rows


def _comments(at: _Reader, site: Site, found: EmotionReading, comments: Texts) -> list[OtherKind]:
    known = {feeling: some for feeling, some in comments.items() if feeling in found.vectors and len(some) > 1}
    if len(known) < 2:
        return []
    h = at.by_layer(known, [site], "reading comments")[site.layer]
    by_chance = by_random(h)
    return [
        OtherKind("comments (GoEmotions)", feeling, len(known[feeling]), area, by_chance[feeling])
        for feeling, area in areas(found.vectors, h).items()
    ]


def _cosine(one: Float[ndarray, "width"], other: Float[ndarray, "width"]) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
