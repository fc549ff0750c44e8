"""Effects that are more than a mean: moral shares and their spillover, and steerability item by item."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..statistics import Estimate, bootstrap, wilson

UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Spillover:
    """What steering toward one group did to the shares of all groups.

    Attributes:
        effect: p_s(target) - p_0(target).
        spill: sum over other groups of max(0, p_s - p_0): the growth of what nobody asked for. Falls are no spillover,
            since shares sum to one.
        selectivity: effect / (effect + spill) where the effect is positive, else 0.
        broken: growth of the share of answers that cannot be read. It counts neither as effect nor as spillover.
        shares, base: share of each group, with and without steering, of all answers.
    """

    target: str
    effect: Estimate
    spill: Estimate
    selectivity: Estimate
    broken: Estimate
    shares: Mapping[str, float]
    base: Mapping[str, float]


def spillover(
    base: Sequence[str],
    steered: Sequence[str],
    target: str,
    dilemmas: Sequence[Hashable],
    *,
    groups: Sequence[str] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Spillover:
    """Effect, spillover and selectivity of paired answers, with bootstrap intervals over dilemmas.

    Args:
        base, steered: the group of each answer ("unreadable" where there is none), the same dilemmas in the same order.
        dilemmas: which dilemma each answer is to; whole dilemmas are drawn, since answers to one are alike.
        groups: every group there is; by default those that occur.

    Raises:
        ValueError: unequal lengths, or a target that is no group.
    """
    if not len(base) == len(steered) == len(dilemmas) or not base:
        raise ValueError(
            f"Spillover compares answers to the same dilemmas, one by one; got {len(base)} unsteered and "
            f"{len(steered)} steered answers to {len(dilemmas)} dilemmas."
        )
    names = list(groups or sorted({*base, *steered} - {UNREADABLE}))
    if target not in names:
        raise ValueError(f"The target is one of the groups {', '.join(names)}; got {target!r}.")
    names = [*(name for name in names if name != UNREADABLE), UNREADABLE]
    place = {name: k for k, name in enumerate(names)}
    clusters = {dilemma: k for k, dilemma in enumerate(dict.fromkeys(dilemmas))}
    counts = np.zeros((2, len(clusters), len(names)))
    for side, answers in enumerate((base, steered)):
        for dilemma, answer in zip(dilemmas, answers, strict=True):
            counts[side, clusters[dilemma], place[answer]] += 1
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(clusters), np.full(len(clusters), 1 / len(clusters)), size=draws)
    drawn = _parts(np.einsum("nc,scg->nsg", weights, counts), place[target])
    whole = _parts(counts.sum(1)[None], place[target])
    effect, spill, selectivity, broken = (
        Estimate(float(one[0]), *(float(q) for q in np.quantile(many, (0.025, 0.975))))
        for one, many in zip(whole, drawn, strict=True)
    )
    shares = counts.sum(1) / counts.sum(1).sum(-1, keepdims=True)
    now, before = ({name: float(shares[side, k]) for name, k in place.items()} for side in (1, 0))
    return Spillover(target, effect, spill, selectivity, broken, now, before)


def _parts(counts: Float[ndarray, "draws sides groups"], target: int) -> tuple[Float[ndarray, "draws"], ...]:
    """Effect, spillover, selectivity and broken of each draw; the last group is the unreadable one."""
    shares = counts / counts.sum(-1, keepdims=True)
    change = shares[:, 1] - shares[:, 0]
    effect = change[:, target]
    others = [k for k in range(change.shape[1] - 1) if k != target]
    spill = np.maximum(change[:, others], 0).sum(-1)
    gained = np.maximum(effect, 0)
    total = gained + spill
    selectivity = np.divide(gained, total, out=np.zeros_like(total), where=total > 0)
    return effect, spill, selectivity, change[:, -1]


@dataclass(frozen=True)
class Steerability:
    """Each item's response to the dose (Tan et al. 2024, arXiv 2407.12404).

    Attributes:
        slopes: least-squares slope of the logit difference over alpha, an item each.
        mean: their mean, with a bootstrap interval over items.
        wrong_way: the share of items whose slope has the wrong sign, with Wilson's interval.
    """

    slopes: tuple[float, ...]
    mean: Estimate
    wrong_way: Estimate

    @property
    def other_way(self) -> Estimate:
        """The share of items whose slope has the other sign than the mean, with Wilson's interval."""
        return wilson(sum(slope * self.mean.value < 0 for slope in self.slopes), len(self.slopes))


def steerability(alphas: Sequence[float], differences: Sequence[Sequence[float]]) -> Steerability:
    """The slope of every item's logit difference over alpha, and how many items moved the wrong way.

    Args:
        differences: [items, alphas].

    Raises:
        ValueError: fewer than two different alphas, or not one number an alpha for every item.
    """
    x, y = np.asarray(alphas, float), np.asarray(differences, float)
    if len(set(alphas)) < 2 or y.ndim != 2 or y.shape[1] != len(x) or not len(y):
        raise ValueError(
            f"A slope takes two different alphas or more, and one number each for every item; got {len(x)} alphas and "
            f"numbers of shape {y.shape}."
        )
    centered = x - x.mean()
    slopes = (y - y.mean(1, keepdims=True)) @ centered / (centered @ centered)
    wrong = int((slopes < 0).sum())
    return Steerability(
        tuple(slopes.tolist()),
        bootstrap(slopes) if len(slopes) > 1 else Estimate(float(slopes[0]), -np.inf, np.inf),
        wilson(wrong, len(slopes)),
    )
