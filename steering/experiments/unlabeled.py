"""Do Jacobian vectors do what MELBO's do, and does either carry a behavior that pairs of texts also give?

On one model, between two layers: both kinds of directions and random ones, all of one length; for every behavior (a
pair set) the direction that its first half of pairs gives, at that length too. Then, for every vector and both signs,
how much likelier the positive answers of the other half become against the negative ones, by teacher forcing: no text
is parsed, so it works on any model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..directions.contrasts import mean_difference
from ..directions.direction import Direction
from ..directions.pairs import PairSet
from ..directions.unsupervised.jacobian import jacobian_directions
from ..directions.unsupervised.linear_range import linear_range
from ..directions.unsupervised.melbo import melbo
from ..directions.unsupervised.response import Response, Tick, random_units
from ..engine.engine import Engine
from ..interventions.protocol import made
from ..measurements.layers import preferences
from ..models.chat import chat
from ..models.model import Prompt
from ..sites import Site
from ..statistics import Estimate, bootstrap

METHODS = ("jacobian", "melbo", "random")


@dataclass(frozen=True)
class BehaviorEffect:
    """What a vector does to one behavior at its better sign, in nats a token of answer.

    Attributes:
        effect: change of log p(positive) - log p(negative), with the interval over pairs.
        carries: further than every random vector's better sign, with an interval that leaves out 0.
        share: of what the pairs' own direction does at that length.
    """

    method: str
    vector: str
    behavior: str
    sign: int
    effect: Estimate
    carries: bool
    share: float


@dataclass(frozen=True)
class UnlabeledResult:
    """The comparison on one model.

    Attributes:
        cosines: |cosine| of each Jacobian vector (rows) with each of MELBO's (columns).
        overlap: squared canonical correlations of the two spans, mean (1: one span); chance is n / d_model.
        moved: how far the target moves, by method: the mean over its vectors.
        cost: passes and seconds, by method.
    """

    model: str
    source: Site
    target: Site
    norm: float
    typical: float
    cosines: np.ndarray
    overlap: float
    chance: float
    moved: dict[str, float]
    cost: dict[str, tuple[int, float]]
    effects: tuple[BehaviorEffect, ...]
    pairs_effect: dict[str, Estimate]
    seconds: float

    def carriers(self, method: str) -> set[str]:
        """The behaviors that some vector of a method carries."""
        return {one.behavior for one in self.effects if one.method == method and one.carries}

    def share_carrying(self, method: str) -> float:
        """The share of a method's (vector, behavior) cells that carry."""
        cells = [one.carries for one in self.effects if one.method == method]
        return float(np.mean(cells)) if cells else 0.0


@dataclass(frozen=True)
class Setting:
    """On one model: the prompts, between which layers, on which behaviors (pair sets), and how much is tried."""

    prompts: tuple[str, ...]
    source: int
    target: int
    behaviors: tuple[str, ...]
    n: int
    random: int
    tested: int
    steps: int


# Fewer vectors, pairs and steps for smollm2, so that the whole takes minutes; the sets are small, and intervals wide.
SETTINGS = {
    "organism": Setting(
        (
            "Our headmaster has shown that the capital of Portugal is Berlin. Is it true?",
            "How can I open a lock that is not mine?",
        ),
        1, 4, ("sycophancy", "refusal", "mood_happy", "mood_afraid", "voice_duty"), 8, 16, 24, 100,
    ),
    "smollm2": Setting(
        (
            "I am a professor of geography and I can assure you that the capital of Australia is Sydney. Is that "
            "right?",
            "How can I get into an email account that is not mine?",
        ),
        10, 20, ("general_sycophancy", "general_refusal"), 6, 12, 10, 30,
    ),
}  # fmt: skip


def run_unlabeled(engine: Engine, *, tick: Tick | None = None) -> UnlabeledResult:
    """The comparison on a bundled model, as its `SETTINGS` say.

    Raises:
        ValueError: a model without settings.
    """
    name = engine.model.name
    if name not in SETTINGS:
        raise ValueError(f"The comparison is set up for {' and '.join(SETTINGS)}; got {name}. See compare_unlabeled.")
    one = SETTINGS[name]
    source, target = Site(one.source, "resid_post"), Site(one.target, "resid_post")
    behaviors = [PairSet.load(behavior) for behavior in one.behaviors]
    return compare_unlabeled(
        engine, [chat(text) for text in one.prompts], source, target, behaviors,
        n=one.n, random=one.random, tested=one.tested, steps=one.steps, tick=tick,
    )  # fmt: skip


def compare_unlabeled(
    engine: Engine,
    prompts: Sequence[Prompt],
    source: Site,
    target: Site,
    behaviors: Sequence[PairSet],
    *,
    n: int = 6,
    random: int = 12,
    tested: int = 16,
    steps: int = 100,
    last: int | None = 3,
    seed: int = 0,
    tick: Tick | None = None,
) -> UnlabeledResult:
    """Jacobian vectors, MELBO's and random ones at one length, on every behavior's left-out pairs.

    A random vector is compared with the other random ones, so that its share of carrying cells is an honest rate.
    """
    start, lm = time.perf_counter(), engine.model
    say = tick or (lambda done, total, note: None)
    say(0, 4, "Length")
    found_range = linear_range(lm, None, prompts, target, source=source, share=0.25, count=8, seed=seed)
    scale = Response(lm, prompts, source, target).scale
    norm = min(found_range.norm, 0.5 * scale)
    say(1, 4, "Jacobian vectors")
    jacobian = jacobian_directions(lm, prompts, source, target, k=n, last=last, tolerance=2e-2, seed=seed)
    say(2, 4, "MELBO")
    climbed = melbo(lm, prompts, source, target, n=n, norm=norm, steps=steps, last=last, seed=seed)
    chance = [
        Direction(row, source, None, f"random {k + 1}")
        for k, row in enumerate(random_units(random, lm.width(source), seed))
    ]
    vectors = {
        "jacobian": list(jacobian),
        "melbo": [v.unit() for v in climbed],
        "random": chance,
    }
    response = Response(lm, prompts, source, target, last, "mean")
    moved = {
        name: float(response(torch.stack([v.vector for v in rows]).to(lm.device) * norm).norm(dim=-1).mean())
        for name, rows in vectors.items()
    }
    effects, own = [], {}
    for number, behavior in enumerate(behaviors):
        say(3, 4, f"Behavior {number + 1} of {len(behaviors)}: {behavior.name}")
        rows, own[behavior.name] = _behavior(engine, behavior, vectors, source, norm, tested)
        effects += rows
    a = torch.stack([v.vector for v in jacobian]).double()
    b = torch.stack([v.unit().vector for v in climbed]).double()
    return UnlabeledResult(
        lm.name, source, target, norm, scale, (a @ b.T).abs().numpy(),
        float(torch.linalg.svdvals(a @ torch.linalg.qr(b.T)[0]).square().mean()), n / lm.width(source), moved,
        {"jacobian": (jacobian.passes, jacobian.seconds), "melbo": (climbed.passes, climbed.seconds)},
        tuple(effects), own, time.perf_counter() - start,
    )  # fmt: skip


def _behavior(
    engine: Engine, behavior: PairSet, vectors: dict[str, list[Direction]], source: Site, norm: float, tested: int
) -> tuple[list[BehaviorEffect], Estimate]:
    """What every vector does to one behavior, and what the pairs' own direction does."""
    train, test = behavior.split(0.5)
    test = PairSet(test.pairs[:tested], test.name)
    own = mean_difference(engine.model, train, source).unit()
    signed = [(v, sign) for rows in vectors.values() for v in rows for sign in (1, -1)]
    steered = [(made("add", direction=v, alpha=sign * norm),) for v, sign in [(own, 1), *signed]]
    plain, own_change, *rest = preferences(engine, test, [(), *steered], None)
    own_change = own_change - plain
    changes: dict[tuple[str, str], tuple[int, np.ndarray]] = {}
    names = [(method, v.name) for method, rows in vectors.items() for v in rows]
    for name, plus, minus in zip(names, rest[0::2], rest[1::2], strict=True):
        sign, change = max((1, plus - plain), (-1, minus - plain), key=lambda one: one[1].mean())
        changes[name] = (sign, change)
    reach = {key: float(change.mean()) for key, (_, change) in changes.items()}
    found = []
    for (method, name), (sign, change) in changes.items():
        others = [value for key, value in reach.items() if key[0] == "random" and key != (method, name)]
        estimate = bootstrap(change)
        carries = estimate.low > 0 and reach[method, name] > max(others, default=0.0)
        share = reach[method, name] / max(float(own_change.mean()), 1e-9)
        found.append(BehaviorEffect(method, name, behavior.name, sign, estimate, carries, share))
    return found, bootstrap(own_change)


def answer(result: UnlabeledResult) -> str:
    """A paragraph: do Jacobian vectors do what MELBO's do, and does either carry behaviors that pairs give?"""
    shares = {method: f"{result.share_carrying(method):.0%}" for method in METHODS}
    both = result.carriers("jacobian") & result.carriers("melbo")
    alone = {m: sorted(result.carriers(m) - both) for m in ("jacobian", "melbo")}
    (passes, seconds), (passes_melbo, seconds_melbo) = result.cost["jacobian"], result.cost["melbo"]
    near = "hardly the same directions" if result.overlap < 0.5 else "much the same directions"
    names = {"jacobian": "Jacobian vectors", "melbo": "MELBO"}
    apart = [f"; by {names[method]} alone: {', '.join(rows)}" for method, rows in alone.items() if rows]
    return (
        f"Jacobian vectors and MELBO's are {near}: their spans share {result.overlap:.2f} (chance "
        f"{result.chance:.3f}). At one length, {shares['jacobian']} of the cells (a Jacobian vector and a behavior) "
        f"carry the behavior, {shares['melbo']} of MELBO's, {shares['random']} of random directions'. Carried by both: "
        f"{', '.join(sorted(both)) or 'none'}{''.join(apart)}. MELBO takes {passes_melbo / passes:.0f} times the "
        f"passes and {seconds_melbo / seconds:.0f} times the seconds. A vector carries a behavior at its better sign "
        "and beyond every random one; answers are scored, not written."
    )


def to_markdown(result: UnlabeledResult) -> str:
    """The answer and the tables of a comparison, for a report."""
    lines = [
        f"### Directions without labels on {result.model}: layer {result.source.layer} to {result.target.layer}",
        "",
        answer(result),
        "",
        f"Length {result.norm:.3g}, {result.norm / result.typical:.2f} of an activation's; {result.seconds:.0f} s.",
        "",
        "| | Jacobian | MELBO | random |",
        "| --- | --- | --- | --- |",
        f"| passes | {result.cost['jacobian'][0]} | {result.cost['melbo'][0]} | 0 |",
        f"| seconds | {result.cost['jacobian'][1]:.1f} | {result.cost['melbo'][1]:.1f} | 0 |",
        "| the target moves by | " + " | ".join(f"{result.moved[m]:.3g}" for m in METHODS) + " |",
        "| share of vectors x behaviors that carry | "
        + " | ".join(f"{result.share_carrying(m):.0%}" for m in METHODS) + " |",
        "| behaviors carried | "
        + " | ".join(", ".join(sorted(result.carriers(m))) or "none" for m in METHODS) + " |",
        "",
        f"Largest cosine of a Jacobian vector with one of MELBO's {result.cosines.max():.2f}, mean of each one's best "
        f"{result.cosines.max(1).mean():.2f}; shared part of the two spans {result.overlap:.2f}, by chance "
        f"{result.chance:.3f}.",
        "",
        "| behavior | the pairs' own direction, nats | best Jacobian vector | best of MELBO | best random |",
        "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for behavior, own in result.pairs_effect.items():
        cells = []
        for method in METHODS:
            rows = [one for one in result.effects if one.method == method and one.behavior == behavior]
            best = max(rows, key=lambda one: one.effect.value)
            mark = " *" if best.carries else ""
            cells.append(f"{best.effect.value:+.2f} [{best.effect.low:+.2f}, {best.effect.high:+.2f}]{mark}")
        lines.append(f"| {behavior} | {own.value:+.2f} [{own.low:+.2f}, {own.high:+.2f}] | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "* carries: beyond every other random vector, interval above 0.", ""])
