"""Steering to a mood: layer and dose chosen on half of the stories, judged on the others, beside what chance does.

Read by preference: the log-probability of an ending of each mood after a story's opening, so nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...directions.direction import Direction
from ...engine.engine import Engine
from ...evaluations.arms import BASELINE, Arm
from ...evaluations.coherence import cross_entropy, whole_texts
from ...evaluations.effects import Spillover, spillover
from ...evaluations.scoring.preference import MOODS
from ...evaluations.sets.sets import EvaluationSet
from ...evaluations.trials import Outcome, run
from ...interventions.protocol import made
from ...measurements.neutral import neutral_texts
from ...sites import Site
from ...statistics import Estimate, holm, paired_bootstrap, sign_flip, verdict

Say = Callable[[float, str], None]
Sources = Mapping[str, Mapping[str, Mapping[int, Direction]]]  # source -> mood -> layer -> direction
DOSES = (0.1, 0.2, 0.3)  # in units of the layer's norm
MIDDLE = 0.2  # at which layers are compared, before the best one's doses are
STEP = 4  # every fourth layer is tried
RANDOM = 3
NEUTRAL = 8  # neutral texts on which the cost is measured


@dataclass(frozen=True)
class Moved:
    """What adding a direction at a dose did to the stories that it was not chosen on.

    Attributes:
        leans: change of each mood's lean, in nats a token; see `EndingPreference`.
        shares: the shares of stories that end in each mood, what they were and how far that is wanted.
        cost: change of -log p a token of neutral texts, in nats.
    """

    name: str
    mood: str
    layer: int
    dose: float
    leans: Mapping[str, Estimate]
    shares: Spillover
    cost: Estimate
    p: float


@dataclass(frozen=True)
class Steered:
    """A source's direction of a mood with the controls at the layer and dose that it was given.

    Attributes:
        opposite: the same direction subtracted.
        random: directions of equal norm.
    """

    source: str
    direction: Moved
    opposite: Moved
    random: tuple[Moved, ...]
    verdict: str = ""


def halves(items: EvaluationSet) -> tuple[EvaluationSet, EvaluationSet]:
    """Two sets of stories that share no ending, so that what is judged was not chosen on the same words.

    Raises:
        ValueError: all stories have the same endings, or one half would have fewer than two stories.
    """
    order = list(dict.fromkeys(_endings(item.labels["endings"]) for item in items))
    sides = [[item for item in items if order.index(_endings(item.labels["endings"])) % 2 == k] for k in (0, 1)]
    if min(map(len, sides)) < 2:
        raise ValueError(
            f"Layer and dose are chosen on stories with other endings than they are judged on; {items.name!r} has "
            f"{len(order)} sets of endings for {len(items)} stories. Give two sets of endings or more."
        )
    first, second = (replace(items, items=tuple(side)) for side in sides)
    return first, second


def _endings(found: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(str(found[mood]) for mood in MOODS)


def layers_tried(n_layers: int) -> tuple[int, ...]:
    """Every fourth layer, from the third on."""
    return tuple(range(n_layers))[STEP // 2 :: STEP] or (0,)


def texts_scored(directions: int, layers: int, halves: tuple[int, int]) -> int:
    """How many endings are scored for so many directions in choosing and in judging, neutral texts left aside."""
    first, second = (len(MOODS) * n for n in halves)
    return first * (2 + directions * (layers + len(DOSES))) + second * (1 + directions * (2 + RANDOM))


def added(direction: Direction, dose: float, norm: float) -> Arm:
    """An arm that adds a direction at every token, `dose` norms of the layer long."""
    method = made("add", direction=direction, alpha=dose * norm / direction.norm)
    return Arm(f"{direction.name}, layer {direction.site.layer}, {dose:+g} norms", (method,))


def steer(
    engine: Engine, items: EvaluationSet, sources: Sources, norms: Mapping[Site, float], say: Say
) -> list[Steered]:
    """Each source's direction of each mood at its best layer and dose, on stories that were not chosen on.

    Args:
        say: called with the share that is done, and what is being done; may raise to stop.
    """
    first, second = halves(items)
    keys = [(source, mood) for source, by_mood in sources.items() for mood in by_mood]
    looked = [(layer, MIDDLE) for layer in layers_tried(engine.model.n_layers)]
    tick = _share(say, 0, 0.5, "choosing layers")
    best = _chosen(engine, first, sources, norms, dict.fromkeys(keys, looked), tick)
    tick = _share(say, 0.5, 0.65, "choosing doses")
    doses = {key: [(direction.site.layer, dose) for dose in DOSES] for key, (direction, _) in best.items()}
    chosen = _chosen(engine, first, sources, norms, doses, tick)
    cases: dict[tuple[str, str], list[tuple[Arm, Direction, float]]] = {}
    for (source, mood), (direction, dose) in chosen.items():
        pushes = [(direction, dose), (direction, -dose)]
        pushes += [(random_at(direction.site, len(direction.vector), seed), dose) for seed in range(RANDOM)]
        cases[source, mood] = [(added(v, d, norms[v.site]), v, d) for v, d in pushes]
    # Two directions with one layer and dose have the same random ones beside them, which are scored once.
    judged = [BASELINE, *{arm.name: arm for case in cases.values() for arm, _, _ in case}.values()]
    found = run(engine, [second], judged, tick=_share(say, 0.65, 0.95, "judging on the other stories"))
    texts = whole_texts(engine, neutral_texts(engine.model.name)[:NEUTRAL])
    plain = cross_entropy(engine, texts, ())
    steered = []
    for number, ((source, mood), case) in enumerate(cases.items()):
        say(0.95 + 0.05 * number / len(cases), "what it costs on neutral texts")
        moved = []
        for arm, direction, dose in case:
            cost = paired_bootstrap(plain, cross_entropy(engine, texts, arm.interventions))
            moved.append(_moved(found, arm, direction, dose, mood, cost))
        steered.append(Steered(source, moved[0], moved[1], tuple(moved[2:])))
    adjusted = holm([one.direction.p for one in steered])
    return [replace(one, verdict=_verdict(one, p, len(second))) for one, p in zip(steered, adjusted, strict=True)]


def _share(say: Say, low: float, high: float, note: str) -> Callable[[int, int, str], None]:
    """A tick for one part of the work, which lies between two shares of the whole."""
    return lambda done, of, _: say(low + (high - low) * done / max(1, of), note)


def _verdict(one: Steered, adjusted: float, n: int) -> str:
    mood = one.direction.mood
    by_chance = [control.leans[mood].value for control in one.random]
    return verdict(one.direction.leans[mood].value, adjusted, n, better="higher", controls=by_chance)


def random_at(site: Site, width: int, seed: int = 0) -> Direction:
    """A random direction at a site, the same for all sources and moods, since it has none."""
    generator = torch.Generator().manual_seed(1000 * site.layer + seed)
    return Direction(torch.randn(width, generator=generator), site, name=f"random {seed}")


def random_push(site: Site, norms: Mapping[Site, float], width: int) -> Arm:
    """An arm that adds a random direction, to measure how long arms take."""
    return added(random_at(site, width), MIDDLE, norms[site])


def _chosen(
    engine: Engine, items: EvaluationSet, sources: Sources, norms: Mapping[Site, float],
    tried: Mapping[tuple[str, str], Sequence[tuple[int, float]]], tick: Callable[[int, int, str], None],
) -> dict[tuple[str, str], tuple[Direction, float]]:  # fmt: skip
    """For each source and mood the direction and dose, of the layers and doses tried, that lean most to the mood."""
    settings: dict[tuple[str, str], dict[str, tuple[Direction, float]]] = {}
    arms: list[tuple[int, Arm]] = []
    for (source, mood), several in tried.items():
        for layer, dose in several:
            direction = replace(sources[source][mood][layer], name=f"{source} to {mood}")
            arm = added(direction, dose, norms[direction.site])
            settings.setdefault((source, mood), {})[arm.name] = (direction, dose)
            arms.append((layer, arm))
    # Arms of one layer lie together: what comes before the layer is computed once for them.
    ordered = [arm for _, arm in sorted(arms, key=lambda one: one[0])]
    outcomes = run(engine, [items], [BASELINE, *ordered], tick=tick)
    found = {}
    for (source, mood), mine in settings.items():
        means = {name: float(np.mean(_column(outcomes, name, f"lean: {mood}"))) for name in mine}
        found[source, mood] = mine[max(means, key=means.__getitem__)]
    return found


def _column(outcomes: Sequence[Outcome], arm: str, measure: str) -> list[float]:
    """A measure of an arm, story by story."""
    return [one.measures[measure] for one in sorted(outcomes, key=lambda o: o.item) if one.arm == arm]


def _preferred(outcomes: Sequence[Outcome], arm: str) -> list[str]:
    mine = sorted((one for one in outcomes if one.arm == arm), key=lambda one: one.item)
    return [next(mood for mood in MOODS if one.measures[f"mood: {mood}"]) for one in mine]


def _moved(
    outcomes: Sequence[Outcome], arm: Arm, direction: Direction, dose: float, mood: str, cost: Estimate
) -> Moved:
    columns = {
        one: (_column(outcomes, BASELINE.name, f"lean: {one}"), _column(outcomes, arm.name, f"lean: {one}"))
        for one in MOODS
    }
    before, after = _preferred(outcomes, BASELINE.name), _preferred(outcomes, arm.name)
    leans = {one: paired_bootstrap(*both) for one, both in columns.items()}
    own = [b - a for a, b in zip(*columns[mood], strict=True)]
    shares = spillover(before, after, mood, range(len(before)), groups=MOODS)
    return Moved(direction.name, mood, direction.site.layer, dose, leans, shares, cost, sign_flip(own))
