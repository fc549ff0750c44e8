"""Layer by strength: at which layer, and how hard, a direction is best pushed.

Every cell of the map is a layer's own direction at one strength. Its effect is what it does to pairs that the direction
has not seen; its fluency is whether the unsteered model still finds the steered texts likely and not repetitive. The
map is made coarse first, and finer around the best cells.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from ..directions.direction import Direction, random_like
from ..directions.pairs import PairSet
from ..engine.engine import Engine
from ..engine.requests import Request, Variant
from ..interventions.protocol import made
from ..models.model import Model, Prompt
from ..models.passages import passage
from ..statistics import Estimate, bootstrap
from .layers import preferences
from .neutral import neutral_texts
from .numbers import repetition

STRENGTHS = (-0.4, -0.2, -0.1, -0.05, 0.05, 0.1, 0.2, 0.4)  # in layer norms
LAYERS = 5  # of the coarse map
PAIRS, PROMPTS, TOKENS = 6, 2, 24  # held-out pairs for the effect; texts of so many tokens for the fluency
FINER = 12  # cells that a finer round adds, about
CONTROLS = 3
MORE_SURPRISE, MORE_REPETITION = 1.0, 0.2  # from here on a text counts as broken, as on a dose curve


@dataclass(frozen=True)
class MapCell:
    """A layer and a strength, and what steering there did.

    Attributes:
        strength: in units of the layer's typical norm, signed; 0 is the baseline.
        alpha: the coefficient that was added.
        effect: change of log p(positive) - log p(negative), nats a token, over held-out pairs.
        surprise: mean negative log-probability of the steered texts under the unsteered model, nats a token.
        repetition: share of their word triples that occurred before.
        controls: the effect of random directions of equal norm, where they were tried.
    """

    layer: int
    strength: float
    alpha: float
    effect: Estimate
    surprise: float
    repetition: float
    texts: tuple[str, ...]
    controls: tuple[float, ...] = ()

    @property
    def place(self) -> tuple[int, float]:
        """Layer and strength."""
        return self.layer, self.strength


@dataclass(frozen=True)
class StrengthMap:
    """Cells of a map, with the texts of the unsteered model beside which they are judged."""

    baseline: MapCell
    cells: tuple[MapCell, ...] = ()

    def fluency(self, cell: MapCell) -> float:
        """1 where the texts are as fluent as the baseline's, 0 where they break: too surprising or too repetitive."""
        surprise = (cell.surprise - self.baseline.surprise) / MORE_SURPRISE
        repeated = (cell.repetition - self.baseline.repetition) / MORE_REPETITION
        return float(np.clip(1.0 - max(surprise, repeated), 0.0, 1.0))

    def best(self, sign: int) -> MapCell | None:
        """The cell with the largest effect of that sign among those whose texts hold; None where there is none."""
        holding = [cell for cell in self.cells if self.fluency(cell) > 0 and sign * cell.effect.value > 0]
        return max(holding, key=lambda cell: sign * cell.effect.value, default=None)

    def finer(self, n_layers: int) -> list[tuple[int, float]]:
        """Places worth measuring next: halfway to the neighbors of the best cell of either sign."""
        layers = sorted({cell.layer for cell in self.cells})
        strengths = sorted({cell.strength for cell in self.cells})
        known, found = {cell.place for cell in self.cells}, []
        for best in (self.best(1), self.best(-1)):
            if best is None:
                continue
            rows = _around(layers, best.layer, n_layers)
            columns = [s for s in _near(strengths, best.strength) if s * best.strength > 0]
            found += [place for place in itertools.product(rows, columns) if place not in known]
        return sorted(set(found))


def _around(layers: Sequence[int], best: int, n_layers: int) -> list[int]:
    """The best layer and those halfway to its neighbors on the map."""
    below = max((layer for layer in layers if layer < best), default=-1)
    above = min((layer for layer in layers if layer > best), default=n_layers)
    return sorted({(below + best + 1) // 2, best, (best + above) // 2} & set(range(n_layers)))


def _near(strengths: Sequence[float], best: float) -> list[float]:
    """The best strength and those halfway to its neighbors on the map."""
    at = strengths.index(best)
    others = [strengths[k] for k in (at - 1, at + 1) if 0 <= k < len(strengths)]
    return sorted({best, *(round((best + other) / 2, 3) for other in others if other * best > 0)})


def coarse_layers(n_layers: int, count: int = LAYERS) -> list[int]:
    """Layers spread over the model, without the very first and the last, where steering hardly ever works."""
    return sorted({round(x) for x in np.linspace(0.15 * (n_layers - 1), 0.9 * (n_layers - 1), min(count, n_layers))})


def openings(lm: Model, test: PairSet, count: int = PROMPTS) -> list[Prompt]:
    """What the texts of a map begin with: questions of the pairs, or the first words of neutral text."""
    asked = list(dict.fromkeys(prompt for pair in test for prompt, _ in pair.sides[1:] if prompt.strip()))
    if asked and lm.has_chat_template:
        return [[{"role": "user", "content": prompt}] for prompt in asked[:count]]
    return [" ".join(text.split()[:8]) for text in [*asked, *neutral_texts(lm.name)][:count]]


@dataclass(frozen=True)
class MapStudy:
    """What a map is measured with.

    Attributes:
        directions: each layer's own direction, made of other pairs than `test`.
        norms: the typical norm at each layer's site.
        test: the pairs that the effect is measured on; `prompts` begin the texts that the fluency is measured on.
    """

    engine: Engine
    directions: Mapping[int, Direction]
    norms: Mapping[int, float]
    test: PairSet
    prompts: Sequence[Prompt]
    chat: bool | None = None
    tokens: int = TOKENS
    _plain: list[Float[np.ndarray, " pairs"]] = field(default_factory=list, repr=False)

    def alpha(self, layer: int, strength: float) -> float:
        """The coefficient that shifts the stream at a layer by so many of its norms."""
        return strength * self.norms[layer] / max(self.directions[layer].norm, 1e-12)

    def variant(self, layer: int, strength: float) -> Variant:
        """The layer's direction added at a strength."""
        return (made("add", direction=self.directions[layer], alpha=self.alpha(layer, strength)),)

    def effects(self, variants: Sequence[Variant]) -> list[Float[np.ndarray, " pairs"]]:
        """What each variant changes of log p(positive) - log p(negative), a number a pair."""
        if not self._plain:
            self._plain.extend(preferences(self.engine, self.test, [()], self.chat))
        return list(preferences(self.engine, self.test, list(variants), self.chat) - self._plain[0])

    def written(self, variants: Sequence[Variant]) -> list[list[tuple[str, float, float]]]:
        """Text, surprise and repetition of every variant after every prompt, decoded as rows of one batch."""
        requests = [
            Request(prompt, variant, max_new_tokens=self.tokens, top_alternatives=0)
            for variant in variants
            for prompt in self.prompts
        ]
        done = [handle.result() for handle in self.engine.submit_all(requests)]
        whole = [one for one in done if one.tokens]
        scores = iter(self.engine.score_all([(one.prompt_tokens, one.tokens, ()) for one in whole]))
        found = []
        for one in done:
            # A text that has not a single token is not fluent, however likely its end was.
            surprise = -float(np.mean(next(scores))) if one.tokens else float("inf")
            found.append((one.text, surprise, repetition(one.text)))
        return [found[at : at + len(self.prompts)] for at in range(0, len(found), len(self.prompts))]

    def baseline(self) -> MapCell:
        """The unsteered model's texts."""
        (texts,) = self.written([()])
        return _cell(0, 0.0, 0.0, np.zeros(len(self.test)), texts)

    def measured(self, places: Sequence[tuple[int, float]]) -> list[MapCell]:
        """The cells at places (layer, strength)."""
        variants = [self.variant(*place) for place in places]
        effects, texts = self.effects(variants), self.written(variants)
        return [
            _cell(*place, self.alpha(*place), effect, some)
            for place, effect, some in zip(places, effects, texts, strict=True)
        ]

    def controlled(self, cell: MapCell, count: int = CONTROLS) -> MapCell:
        """The cell with the effect of random directions of equal norm beside its own."""
        one = self.directions[cell.layer]
        tried = [(made("add", direction=random_like(one, seed), alpha=cell.alpha),) for seed in range(count)]
        return replace(cell, controls=tuple(float(effect.mean()) for effect in self.effects(tried)))

    def cost(self, cells: int) -> int:
        """About how many tokens the model reads for so many cells."""
        lm = self.engine.model
        sides = sum(len(passage(lm, *side, chat=self.chat).tokens) for pair in self.test for side in pair.sides)
        asked = sum(len(lm.tokens(prompt)) for prompt in self.prompts)
        return cells * (sides + 2 * asked + 3 * len(self.prompts) * self.tokens)


def _cell(
    layer: int, strength: float, alpha: float, effect: np.ndarray, texts: list[tuple[str, float, float]]
) -> MapCell:
    said, surprise, repeated = zip(*texts, strict=True)
    return MapCell(layer, strength, alpha, bootstrap(effect), float(np.mean(surprise)), float(np.mean(repeated)), said)


def strength_map(
    study: MapStudy,
    layers: Sequence[int],
    strengths: Sequence[float] = STRENGTHS,
    *,
    rounds: int = 1,
    tick: Callable[[int, int], None] | None = None,
    grown: Callable[[StrengthMap], None] | None = None,
) -> StrengthMap:
    """The map of layers and strengths, then so many rounds of finer cells around the best, with controls at those.

    Args:
        tick: called with what is done and the total, in cells; may raise to cancel.
        grown: is given the map whenever it has grown by a layer.

    Raises:
        ValueError: no layer or strength, or a pair that cannot be read.
    """
    if not layers or not strengths:
        raise ValueError(f"A map has at least one layer and strength; got {len(layers)} and {len(strengths)}.")
    tick, grown = tick or (lambda done, of: None), grown or (lambda found: None)
    total = len(layers) * len(strengths) + FINER * rounds + 1
    tick(0, total)
    found = StrengthMap(study.baseline())
    plan = [[(layer, strength) for strength in strengths] for layer in layers]
    for turn in range(rounds + 1):
        for places in plan:
            tick(len(found.cells), total)
            found = replace(found, cells=(*found.cells, *study.measured(places)))
            grown(found)
        if turn < rounds:
            wanted = [place for place in found.finer(study.engine.model.n_layers) if place[0] in study.directions]
            plan = [list(places) for _, places in itertools.groupby(wanted, key=lambda place: place[0])]
            total = len(found.cells) + len(wanted) + FINER * (rounds - turn - 1) + 1
    tick(len(found.cells), total)
    for best in (found.best(1), found.best(-1)):
        if best is not None:
            certain = study.controlled(best)
            found = replace(found, cells=tuple(certain if cell is best else cell for cell in found.cells))
            grown(found)
    return found
