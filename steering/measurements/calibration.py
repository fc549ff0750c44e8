"""Calibration: which threshold to choose, what each choice costs, and at which dose text breaks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..directions.direction import Direction
from ..engine.engine import Engine
from ..engine.plan import direction_label
from ..engine.requests import Request
from ..jobs.watching import progressed
from ..models.model import Prompt
from ..statistics import Estimate, wilson


def peaks(
    engine: Engine, prompts: Sequence[Prompt], direction: Direction, *, answer_tokens: int = 0, last: bool = False
) -> list[float]:
    """The largest projection on a direction among a text's tokens, a text each; a regulator fires where it exceeds tau.

    Args:
        answer_tokens: also look at the model's own unsteered answer, up to so many tokens of it.
        last: look from the prompt's last token on, where the answer is decided, for edits with `where="from_last"`.
    """
    requests = [
        Request(prompt, max_new_tokens=max(1, answer_tokens), record=(direction,), top_alternatives=0)
        for prompt in prompts
    ]
    found: list[float] = []
    handles = engine.submit_all(requests)
    for handle in handles:
        row = handle.result()
        try:
            progressed(len(found), len(handles))
        except BaseException:
            for other in handles:
                other.cancel()
            raise
        values = row.projections[direction_label(direction)].before
        # BOS is never steered, and its projection is far off in most models.
        first = len(row.prompt_tokens) - 1 if last else 0
        first = first or min(engine.model.leading(row.prompt_tokens), len(values) - 1)
        found.append(max(values[first:]))
    return found


PRECISE = 0.9  # the share of the caught texts that are the concept's, for the threshold of that name


@dataclass(frozen=True)
class Candidate:
    """A threshold, why it is one, and the rates that it gives.

    Attributes:
        caught: share of concept texts whose peak is above tau (true positive rate), with Wilson's interval.
        disturbed: the same for texts that should be left alone (false positive rate).
        f1: harmonic mean of precision and `caught`.
        youden: caught - disturbed.
    """

    name: str
    tau: float
    caught: Estimate
    disturbed: Estimate
    f1: float
    youden: float


def at(name: str, tau: float, concept: Sequence[float], other: Sequence[float]) -> Candidate:
    """What a threshold gives on the peaks of concept texts and of other texts.

    Raises:
        ValueError: a group without texts.
    """
    if not concept or not other:
        raise ValueError(
            f"Calibration compares concept texts with texts to be left alone; got {len(concept)} and {len(other)}."
        )
    hits, false = sum(p > tau for p in concept), sum(p > tau for p in other)
    caught, disturbed = wilson(hits, len(concept)), wilson(false, len(other))
    precision = hits / (hits + false) if hits + false else 0.0
    f1 = 2 * precision * caught.value / (precision + caught.value) if hits else 0.0
    return Candidate(name, tau, caught, disturbed, f1, caught.value - disturbed.value)


def candidates(concept: Sequence[float], other: Sequence[float], percentile: float = 95.0) -> list[Candidate]:
    """The thresholds that people choose: midpoint of the means, a percentile of the others, best F1 or Youden index.

    And the lowest one with a precision of 90%: of the texts that it catches, nine tenths are the concept's. The best
    ones are looked for midway between neighboring peaks; of several that are equally good the middle one.
    """
    if not concept or not other:
        return [at("midpoint", 0.0, concept, other)]  # raises
    midpoint = (sum(concept) / len(concept) + sum(other) / len(other)) / 2
    values = sorted({*concept, *other})
    cuts = [(a + b) / 2 for a, b in itertools.pairwise(values)] or values
    tried = [at("", cut, concept, other) for cut in cuts]
    return [
        at("midpoint", midpoint, concept, other),
        at(f"{percentile:g}th percentile of the others", quantile(other, percentile / 100), concept, other),
        at("best F1", _middle_best([(one.f1, one.tau) for one in tried]), concept, other),
        at("best Youden index", _middle_best([(one.youden, one.tau) for one in tried]), concept, other),
        at(f"precision {100 * PRECISE:.0f}%", _precise(cuts, concept, other), concept, other),
    ]


def _precise(cuts: Sequence[float], concept: Sequence[float], other: Sequence[float]) -> float:
    """The lowest threshold beyond which at least PRECISE of the texts are the concept's, else the highest cut."""
    for cut in cuts:
        hits, false = sum(p > cut for p in concept), sum(p > cut for p in other)
        if hits and hits >= PRECISE * (hits + false):
            return cut
    return cuts[-1]


def _middle_best(scored: Sequence[tuple[float, float]]) -> float:
    best = max(score for score, _ in scored)
    taus = sorted(tau for score, tau in scored if math.isclose(score, best, abs_tol=1e-12))
    return taus[len(taus) // 2]


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile, linear between neighbors."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def pareto(effect: Sequence[float], cost: Sequence[float]) -> list[int]:
    """The Pareto front: points for which no other has at least the effect at no more cost, one of them strictly better.

    In the order of rising cost.
    """
    points = sorted(range(len(effect)), key=lambda k: (cost[k], -effect[k]))
    front: list[int] = []
    best = -math.inf
    for k in points:
        if effect[k] > best:
            front.append(k)
            best = effect[k]
    return front


def chosen(effect: Sequence[float], cost: Sequence[float], limit: float) -> int | None:
    """The point of largest effect with a cost within the limit, the cheapest of equal ones; None if there is none."""
    allowed = [k for k in range(len(effect)) if cost[k] <= limit]
    return max(allowed, key=lambda k: (effect[k], -cost[k]), default=None)


@dataclass(frozen=True)
class Cliff:
    """The doses at which text breaks toward each side, and why; None where it does not within the doses tried."""

    below: float | None
    above: float | None
    reason: str


def cliff(
    doses: Sequence[float],
    repetition: Sequence[float],
    surprise: Sequence[float],
    *,
    more_repetition: float = 0.2,
    more_surprise: float = 1.0,
) -> Cliff:
    """The doses nearest to zero from which on text repeats itself, or surprises the unsteered model, too much.

    Both against the dose nearest to zero: `more_repetition` as a share of word triples, `more_surprise` in nats a token
    (1 nat: perplexity times 2.7). Looping text is easy to predict, so neither alone would do.

    Raises:
        ValueError: unequal lengths, or no doses.
    """
    if not len(doses) == len(repetition) == len(surprise) or not doses:
        raise ValueError(f"Each dose has its numbers; got {len(doses)}, {len(repetition)} and {len(surprise)} of them.")
    zero = min(range(len(doses)), key=lambda k: abs(doses[k]))
    reasons = {
        k: reason
        for k in range(len(doses))
        for reason, now, base, more in (
            ("repetition", repetition[k], repetition[zero], more_repetition),
            ("surprise", surprise[k], surprise[zero], more_surprise),
        )
        if k != zero and now > base + more
    }
    up = sorted((doses[k], k) for k in reasons if doses[k] > doses[zero])
    down = sorted(((doses[k], k) for k in reasons if doses[k] < doses[zero]), reverse=True)
    first = [side[0] for side in (up, down) if side]
    return Cliff(
        down[0][0] if down else None, up[0][0] if up else None, reasons[first[0][1]] if first else "no dose breaks it"
    )
