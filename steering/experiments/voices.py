"""Moral voices of an experiment: which group each answer speaks for, and the spillover of every arm with a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..evaluations import effects
from ..evaluations.arms import BASELINE, Arm
from ..evaluations.sets.sets import EvaluationSet
from ..evaluations.trials import Outcome
from ..statistics import Estimate, paired_bootstrap

KINDS = ("voice: ", "mood: ")  # measures that are shares of groups


def group(measure: str) -> str:
    """The group that a measure is the share of, or an empty text."""
    return next((measure.removeprefix(kind) for kind in KINDS if measure.startswith(kind)), "")


def groups_of(outcomes: Sequence[Outcome], arm: str, set_name: str) -> dict[tuple[int, int], str]:
    """The moral group of each answer of an arm, under (item, sample)."""
    found = {}
    for one in outcomes:
        if one.arm == arm and one.set == set_name:
            named = [group(name) for name, value in one.measures.items() if group(name) and value]
            found[one.item, one.sample] = named[0] if named else effects.UNREADABLE
    return found


def spillovers(
    outcomes: Sequence[Outcome], sets: Sequence[EvaluationSet], arms: Sequence[Arm]
) -> dict[str, effects.Spillover]:
    """Effect and spillover of every arm with a target (and of its controls), over all sets of moral voices."""
    voiced = [one for one in sets if any(group(m.name) for m in one.scorer.measures)]
    if not voiced:
        return {}
    names = [group(m.name) for m in voiced[0].scorer.measures if group(m.name)]
    base = {one.name: groups_of(outcomes, BASELINE.name, one.name) for one in voiced}
    targets = {arm.name: str(arm.settings["target"]) for arm in arms if arm.settings.get("target")}
    found = {}
    for arm in arms:
        target = targets.get(arm.name) or targets.get(arm.of)
        if target is None:
            continue
        before, after, dilemmas = [], [], []
        for one in voiced:
            mine = groups_of(outcomes, arm.name, one.name)
            for key in mine.keys() & base[one.name].keys():
                before.append(base[one.name][key])
                after.append(mine[key])
                dilemmas.append((one.name, key[0]))
        order = sorted(range(len(dilemmas)), key=lambda k: dilemmas[k])
        found[arm.name] = effects.spillover(
            [before[k] for k in order], [after[k] for k in order], target, [dilemmas[k] for k in order], groups=names
        )
    return found


@dataclass(frozen=True)
class HeldOutSetting:
    """The setting of a family that did best on one half of the dilemmas, and what it does on the other half.

    Attributes:
        tried: how many settings it was chosen from.
        chosen, judged: its spillover on the half it was chosen on, and on the other.
        answers: for each dilemma of the second half the share of its answers in the target's voice.
    """

    family: str
    target: str
    arm: str
    tried: int
    chosen: effects.Spillover
    judged: effects.Spillover
    answers: Mapping[tuple[str, int], float]


def held_out(
    outcomes: Sequence[Outcome], sets: Sequence[EvaluationSet], arms: Sequence[Arm], broken: float = 0.1
) -> list[HeldOutSetting]:
    """For every family and target the best setting by effect minus spillover on the first half, judged on the second.

    The best of many settings looks better than it is on the answers it was chosen by. Settings that make more than
    `broken` of the answers unreadable are not chosen, unless all do.
    """
    first, second = (_half_of(outcomes, sets, part) for part in (0, 1))
    on_first, on_second = (spillovers(half, sets, arms) for half in (first, second))
    families: dict[tuple[str, str], list[str]] = {}
    for arm in arms:
        if arm.kind == "steered" and arm.settings.get("family") and arm.settings.get("target"):
            families.setdefault((str(arm.settings["family"]), str(arm.settings["target"])), []).append(arm.name)
    found = []
    for (family, target), names in families.items():
        readable = [name for name in names if on_first[name].broken.value <= broken] or names
        best = max(readable, key=lambda name: on_first[name].effect.value - on_first[name].spill.value)
        shares: dict[tuple[str, int], list[float]] = {}
        for one in second:
            if one.arm == best:
                said = max((one.measures.get(f"{kind}{target}", 0.0) for kind in KINDS), default=0.0)
                shares.setdefault((one.set, one.item), []).append(said)
        means = {key: sum(many) / len(many) for key, many in shares.items()}
        found.append(HeldOutSetting(family, target, best, len(names), on_first[best], on_second[best], means))
    return found


def _half_of(outcomes: Sequence[Outcome], sets: Sequence[EvaluationSet], part: int) -> list[Outcome]:
    half = {one.name: {k for k, item in enumerate(one) if int(item.id, 16) % 2 == part} for one in sets}
    return [one for one in outcomes if one.item in half[one.set]]


def difference(a: HeldOutSetting, b: HeldOutSetting) -> Estimate:
    """How much more often a speaks for the target than b, on the same dilemmas of the second half."""
    common = sorted(a.answers.keys() & b.answers.keys())
    return paired_bootstrap([b.answers[key] for key in common], [a.answers[key] for key in common])
