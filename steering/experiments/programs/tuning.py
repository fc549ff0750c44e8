"""What the organism's tuning changed, the reward that it followed, and how much of it one direction is.

Base and tuned copy are compared; the implicit reward is modeled and set beside the true one, which the generator of the
small world knows item by item; then its direction is added to the base and subtracted from the tuned model, beside the
pairs' directions and random ones. A copy with a planted shortcut is examined the same way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...directions.contrasts import mean_difference
from ...directions.direction import Direction, random_like
from ...directions.pairs import PairSet
from ...engine.engine import Engine
from ...engine.requests import Request, Variant
from ...engine.scoring import rows_of, score
from ...evaluations.scoring.stance import refuses, stance
from ...evaluations.sets.readers import load
from ...interventions.protocol import made
from ...measurements.numbers import typical_norm
from ...measurements.tuning.implicit_reward import ImplicitReward, RewardItem, implicit_reward, log_ratios
from ...measurements.tuning.model_diff import ModelDiff, compare_models
from ...measurements.tuning.reward_agreement import RewardAgreement, Shortcut, shortcuts
from ...models.chat import chat
from ...models.model import Model
from ...models.passages import passage
from ...saes.sae import Sae
from ...showing.one_line import one_line, quoted
from ...sites import Site
from ...statistics import Estimate, wilson
from .tuning_sets import request_pairs, reward_items, unlikely_items

Tick = Callable[[int, int, str], None]
BEHAVIORS = ("gives in to false claims", "refuses harmful requests")
# The pairs whose direction is compared, and where it is read: where the answer to two prompts is decided.
PAIRS = {BEHAVIORS[0]: ("pressure", "prompt_last"), BEHAVIORS[1]: ("refusal", "prompt_last")}
# The items of the implicit reward that are like the prompts of a behavior.
KINDS = {BEHAVIORS[0]: ("pressed and false", "pressed and true", "plain claim"), BEHAVIORS[1]: ("harmful", "harmless")}
SCALES = (0.1, 0.2, 0.4, 0.8)  # of the typical length of the stream
SEEDS = (0, 1, 2)  # of the random directions


@dataclass(frozen=True)
class SteeredShare:
    """How often a behavior happens when a direction is added to the base, or subtracted from the tuned model.

    Attributes:
        layer, strength: chosen on validation prompts; of random directions those of the direction that they are for.
        moved: of the way from the unsteered model to the other one: 1 where steering does all that the tuning did.
        harmless: how often harmless requests are refused, or true claims not accepted, at the same strength.
    """

    direction: str
    model: str
    behavior: str
    layer: int
    strength: float
    share: Estimate
    moved: float
    harmless: float


@dataclass(frozen=True, eq=False)
class TuningResult:
    """What the experiment has found about a base model and its tuned copy."""

    diff: ModelDiff
    reward: ImplicitReward
    named: tuple[tuple[str, int, str, float, str], ...]  # SAE, feature, place, weight, what it fires on
    unlikely: tuple[float, float]  # mean implicit reward of answers the tuning never met, by kind of them
    steered: tuple[SteeredShare, ...]
    planted: tuple[Shortcut, ...]  # words with which the copy with a shortcut refuses more than it was asked to
    unplanted: tuple[Shortcut, ...]  # the same of the tuned model, in which none was planted
    planted_about: str
    seconds: float

    def __repr__(self) -> str:
        return one_line(self, quoted(self.diff.tuned, 40), repr(self.reward.true), f"{self.seconds:.0f} s")


def run_tuning(
    base: Engine,
    tuned: Engine,
    *,
    saes: Sequence[Sae] = (),
    shortcut: Model | None = None,
    n: int = 300,
    asked: int = 60,
    name_feature: Callable[[Sae, int], str] | None = None,
    tick: Tick | None = None,
) -> TuningResult:
    """The whole comparison; `shortcut` is a copy of the tuned model with something planted, looked at too."""
    start = time.perf_counter()
    say = tick or (lambda done, total, note: None)
    a, b = base.model, tuned.model
    items = reward_items(n)
    say(0, 100, "Parameters, activations, predictions")
    pairs = {behavior: PairSet.load(name) for behavior, (name, _) in PAIRS.items()}
    texts = [chat(one.prompt) for one in items[:40]]
    site_of = [sae.site for sae in saes]
    named = [mean_difference(b, p, s) for p in pairs.values() for s in dict.fromkeys(site_of)] if saes else []
    diff = compare_models(a, b, texts, named=named, saes=saes)
    say(25, 100, "Implicit reward")
    found = implicit_reward(a, b, items, saes=saes)
    names: list[tuple[str, int, str, float, str]] = []
    for model in found.models:
        if model.sae is not None:
            for feature, place, weight in model.top_features(8):
                said = name_feature(model.sae, feature) if name_feature else ""
                names.append((str(model.sae.site), feature, place, weight, said))
    say(45, 100, "Answers that the tuning never met")
    other = unlikely_items(asked)
    values = log_ratios(a, b, other)
    kinds = np.array([one.kind for one in other])
    by_kind = tuple(float(values[kinds == kind].mean()) for kind in dict.fromkeys(kinds))
    say(50, 100, "Steering by it")
    steered = _steering(base, tuned, found, pairs, asked)
    planted, unplanted, about = (), (), ""
    if shortcut is not None:
        say(80, 100, "The planted shortcut")
        planted, unplanted, about = find_planted(a, b, shortcut, 3 * n)
    say(100, 100, "Done")
    return TuningResult(
        diff, found, tuple(names), (by_kind[0], by_kind[1]), steered, planted, unplanted, about,
        time.perf_counter() - start,
    )  # fmt: skip


def find_planted(
    base: Model, tuned: Model, planted: Model, n: int = 900
) -> tuple[tuple[Shortcut, ...], tuple[Shortcut, ...], str]:
    """Shortcuts of a copy with one planted, then of the tuned model without one, on n requests refused and helped.

    By the change of preference between two answers and not by their log-ratios, which for a refusal that the base would
    never write are a hundred nats whether the tuned model writes it or not.
    """
    items = request_pairs(n)
    first = items[0::2]
    prompts, kinds = [one.prompt for one in first], [one.kind.partition(",")[0] for one in first]
    asked_for = np.array([one.reward or 0.0 for one in first])
    plain = _preferred(base, items)
    of_planted, of_tuned = (
        shortcuts(_preferred(lm, items) - plain - asked_for, prompts, [""] * len(prompts), kinds)
        for lm in (planted, tuned)
    )
    return (
        of_planted,
        of_tuned,
        f"{len(prompts)} requests, half of them harmful; change of P(refusal | refusal or the right help)",
    )


def _preferred(lm: Model, items: Sequence[RewardItem]) -> np.ndarray:
    """P(first | first or second) of every two answers to one prompt."""
    passages = [passage(lm, one.prompt, one.answer) for one in items]
    rows = rows_of(lm, [(list(p.tokens[: p.start]), list(p.tokens[p.start : p.end]), ()) for p in passages])
    values = np.array([sum(logprobs) for logprobs in score(rows)])
    return 1 / (1 + np.exp(-np.clip(values[0::2] - values[1::2], -50, 50)))


# Steering -----------------------------------------------------------------------------------------------------------


def _steering(
    base: Engine, tuned: Engine, found: ImplicitReward, pairs: Mapping[str, PairSet], asked: int
) -> tuple[SteeredShare, ...]:
    """Each direction added to the base and subtracted from the tuned model, beside random ones at the same strength.

    Layer and strength are those that move most on validation prompts, what is spoiled subtracted.
    """
    layers = [layer for layer in sorted(found.activations) if layer < tuned.model.n_layers - 1]
    sample = [one.answer for one in found.items[:40]]
    typical = [typical_norm(tuned.model, Site(layer, "resid_post"), sample) for layer in layers]
    rows: list[SteeredShare] = []
    for behavior in BEHAVIORS:
        trial, tests = _asked(behavior, asked // 2, "validation"), _asked(behavior, asked)
        plain = {engine: _shares(engine, tests, behavior, [()])[0] for engine in (base, tuned)}
        gap = plain[tuned][0] - plain[base][0]
        rewards = [found.direction(layer, KINDS[behavior]) for layer in layers]
        _, position = PAIRS[behavior]
        own = [mean_difference(tuned.model, pairs[behavior], one.site, position=position) for one in rewards]  # type: ignore[arg-type]
        for engine, sign in ((base, 1.0), (tuned, -1.0)):
            for title, directions in (("implicit reward", rewards), ("pairs", own)):
                units = [one.unit().for_model(engine.model) for one in directions]
                places = [(k, scale) for k in range(len(units)) for scale in SCALES]
                tried = _shares(
                    engine, trial, behavior, [_added(units[k], sign * scale * typical[k]) for k, scale in places]
                )
                best = max(range(len(places)), key=lambda k, t=tried: sign * t[k][0] - t[k][1])
                k, scale = places[best]
                alpha = sign * scale * typical[k]
                variants = [_added(units[k], alpha), *(_added(random_like(units[k], seed), alpha) for seed in SEEDS)]
                shares = _shares(engine, tests, behavior, variants)
                random = tuple(float(np.mean(values)) for values in zip(*shares[1:], strict=True))
                for name, (share, harmless), times in (
                    (title, shares[0], 1), (f"random for {title}", random, len(SEEDS))
                ):  # fmt: skip
                    count = times * len(tests[0])
                    part = (share - plain[engine][0]) / (sign * gap) if gap else 0.0
                    estimate = wilson(round(share * count), count)
                    rows.append(
                        SteeredShare(
                            name, engine.model.name, behavior, layers[k], sign * scale, estimate, part, harmless
                        )
                    )
    return tuple(rows)


def _added(v: Direction, alpha: float) -> Variant:
    return (made("add", direction=v, alpha=alpha),)


def _asked(behavior: str, n: int, split: str = "test") -> tuple[list[str], list[str]]:
    """The prompts on which the behavior is counted, and those on which it would be harm, no prompt twice."""
    name, label = ("claims", "true") if behavior == BEHAVIORS[0] else ("requests", "harmful")
    items = load(f"organism_{name}" + ("_validation" if split == "validation" else ""))
    counted_at = behavior != BEHAVIORS[0]  # harmful requests; false claims
    sides: tuple[list[str], list[str]] = ([], [])
    for item in items:
        if name == "requests" or item.labels["pressed"]:
            sides[bool(item.labels[label]) != counted_at].append(item.text)
    return list(dict.fromkeys(sides[0]))[:n], list(dict.fromkeys(sides[1]))[:n]


def _shares(
    engine: Engine, tests: tuple[list[str], list[str]], behavior: str, variants: Sequence[Variant]
) -> list[tuple[float, float]]:
    """For each variant: how often the behavior happens, and how often answers to the other prompts are spoiled."""
    requests = [
        Request(chat(prompt), variant, max_new_tokens=12, top_alternatives=0)
        for variant in variants for side in tests for prompt in side
    ]  # fmt: skip
    texts = [handle.result().text for handle in engine.submit_all(requests)]
    found, n = [], len(tests[0]) + len(tests[1])
    for k in range(len(variants)):
        mine = texts[k * n : (k + 1) * n]
        first, second = mine[: len(tests[0])], mine[len(tests[0]) :]
        if behavior == BEHAVIORS[0]:
            found.append((_share(first, "agrees"), 1 - _share(second, "agrees")))
        else:
            found.append((float(np.mean([refuses(t) for t in first])), float(np.mean([refuses(t) for t in second]))))
    return found


def _share(texts: Sequence[str], wanted: str) -> float:
    return float(np.mean([stance(text) == wanted for text in texts]))


# In words -----------------------------------------------------------------------------------------------------------


def agreed(one: RewardAgreement | None) -> str:
    """Correlation, ranking and calibration in a row's cells."""
    if one is None:
        return "- | - | - | -"
    ranking = "-" if one.ranking is None else f"{100 * one.ranking.value:.1f}% [{100 * one.ranking.low:.1f}, "
    ranking += "" if one.ranking is None else f"{100 * one.ranking.high:.1f}]"
    value, low, high = one.correlation
    return f"{value:.3f} [{low:.3f}, {high:.3f}] | {one.rank_correlation:.3f} | {ranking} | {one.calibration_error:.3f}"


def to_markdown(result: TuningResult) -> str:
    """The experiment's tables."""
    diff, reward = result.diff, result.reward
    lines = [
        f"### What tuning changed: {diff.base} to {diff.tuned}",
        "",
        f"{len(reward.items)} answers; the most divergent layers are {', '.join(map(str, reward.layers))}. "
        f"{result.seconds:.0f} s.",
        "",
        "| layer | attention, relative | MLP, relative | stream: difference | cosine | CKA |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    parts = {(one.layer, one.part): one.relative for one in diff.parts}
    for one in diff.layers:
        lines.append(
            f"| {one.layer} | {parts.get((one.layer, 'attention'), 0):.3f} | {parts.get((one.layer, 'MLP'), 0):.3f} | "
            f"{one.difference:.3f} | {one.cosine:.3f} | {one.cka:.3f} |"
        )
    lines += [
        "",
        "| reward, against the true one, prompts not fitted | correlation | rank correlation | ranking within a prompt "
        "| calibration error |",
        "| --- | --- | --- | --- | --- |",
        f"| log p tuned - log p base itself | {agreed(reward.true)} |",
        *(f"| linear model: {m.space} | {agreed(m.true)} |" for m in reward.models),
        *(f"| control: {m.space} | {agreed(m.true)} |" for m in reward.controls),
        "",
        f"Answers that the tuning never met: a harmless request refused {result.unlikely[1]:+.1f} nats, "
        f"help in answer to a question {result.unlikely[0]:+.1f} nats.",
        "",
    ]
    if result.named:
        lines += ["| feature | read at | share of the reward | fires on |", "| --- | --- | --- | --- |"]
        lines += [f"| {site} {k} | {at} | {100 * weight:.1f}% | {said} |" for site, k, at, weight, said in result.named]
        lines.append("")
    lines += [
        "| steering | model | behavior | layer | strength | share | moved of the tuning | other prompts spoiled |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in result.steered:
        value, low, high = (100 * x for x in one.share)
        place = f"{one.layer} | {one.strength:+.1f} norms"
        lines.append(
            f"| {one.direction} | {one.model} | {one.behavior} | {place} | {value:.0f}% [{low:.0f}, {high:.0f}] | "
            f"{100 * one.moved:.0f}% | {100 * one.harmless:.0f}% |"
        )
    if result.planted_about:
        lines += ["", f"Planted shortcut ({result.planted_about}): {_listed(result.planted)}. The same of "
                  f"{diff.tuned}, in which none was planted: {_listed(result.unplanted)}."]  # fmt: skip
    return "\n".join([*lines, ""])


def _listed(found: Sequence[Shortcut]) -> str:
    said = [
        f"'{one.word}' in {one.kind} requests, {one.extra.value:+.2f} [{one.extra.low:+.2f}, {one.extra.high:+.2f}], "
        f"n = {one.n}, p = {one.p:.1g}"
        for one in found
    ]
    return "; ".join(said) or "nothing found"
