"""Moral voices of an experiment: which group each answer speaks for, and the spillover of every arm with a target."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluations import effects
from ..evaluations.arms import BASELINE, Arm
from ..evaluations.items import EvaluationSet
from ..evaluations.trials import Outcome

VOICE = "voice: "


def groups_of(outcomes: Sequence[Outcome], arm: str, set: str) -> dict[tuple[int, int], str]:
    """The moral group of each answer of an arm, under (item, sample)."""
    found = {}
    for one in outcomes:
        if one.arm == arm and one.set == set:
            named = [
                name.removeprefix(VOICE) for name, value in one.measures.items() if name.startswith(VOICE) and value
            ]
            found[one.item, one.sample] = named[0] if named else effects.UNREADABLE
    return found


def spillovers(
    outcomes: Sequence[Outcome], sets: Sequence[EvaluationSet], arms: Sequence[Arm]
) -> dict[str, effects.Spillover]:
    """Effect and spillover of every arm with a target (and of its controls), over all sets of moral voices."""
    voiced = [one for one in sets if any(m.name.startswith(VOICE) for m in one.scorer.measures)]
    if not voiced:
        return {}
    names = [m.name.removeprefix(VOICE) for m in voiced[0].scorer.measures if m.name.startswith(VOICE)]
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
