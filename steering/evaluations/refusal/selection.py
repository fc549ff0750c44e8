"""The rule that chooses a refusal direction from the scores of all candidates (Arditi et al. 2024, section 2.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...showing.one_line import one_line


@dataclass(frozen=True)
class DirectionScores:
    """A candidate direction, by where it was read, and its three scores.

    Attributes:
        position: of the token, counted from the end of the prompt: -1 is the last.
        bypass: mean refusal score of harmful instructions while the direction is ablated everywhere; lower is better.
        induce: mean refusal score of harmless instructions with the direction added at its layer.
        kl: mean KL(unsteered || ablated) of the next token on harmless instructions, in nats.
    """

    position: int
    layer: int
    bypass: float
    induce: float
    kl: float

    def __repr__(self) -> str:
        scores = f"bypass {self.bypass:.3g}, induce {self.induce:.3g}, KL {self.kl:.3g}"
        return one_line(self, f"position {self.position}, layer {self.layer}", scores)


@dataclass(frozen=True)
class SelectionRule:
    """What a candidate must satisfy; among those that do, the one with the lowest bypass score is chosen.

    Attributes:
        layers: candidates of the last part of the layers are dropped, from layer int(layers * n_layers) on: there a
            direction speaks of single tokens to come.
        max_kl: the most that ablation may change the prediction on harmless instructions, in nats.
        min_induce: the least refusal score that adding the direction must reach on harmless instructions.
    """

    layers: float = 0.8
    max_kl: float = 0.1
    min_induce: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.layers <= 1:
            raise ValueError(f"layers is the share of the layers that is kept, above 0 and up to 1; got {self.layers}.")
        if not self.max_kl > 0 or math.isnan(self.min_induce):
            raise ValueError(
                f"max_kl is above 0 nats and min_induce a number; got {self.max_kl} and {self.min_induce}."
            )

    def exclusion(self, one: DirectionScores, n_layers: int) -> str:
        """Why a candidate is not chosen from, in a few words; "" where it is."""
        if any(map(math.isnan, (one.bypass, one.induce, one.kl))):
            return "no difference here"
        if one.layer >= int(self.layers * n_layers):
            return "too late a layer"
        if one.kl > self.max_kl:
            return f"ablation changes harmless answers (KL above {self.max_kl:g})"
        if one.induce < self.min_induce:
            return "adding it does not make the model refuse"
        return ""

    def select(self, candidates: Sequence[DirectionScores], n_layers: int) -> int | None:
        """The number of the chosen candidate: the lowest bypass score of those that are not excluded; None for none."""
        left = [k for k, one in enumerate(candidates) if not self.exclusion(one, n_layers)]
        return min(left, key=lambda k: candidates[k].bypass, default=None)


def rows(candidates: Sequence[DirectionScores], rule: SelectionRule, n_layers: int) -> list[dict[str, Any]]:
    """A row for each candidate, with its scores, why it was excluded and whether it was chosen."""
    chosen = rule.select(candidates, n_layers)
    return [
        {
            "position": one.position,
            "layer": one.layer,
            "bypass": one.bypass,
            "induce": one.induce,
            "kl": one.kl,
            "excluded": rule.exclusion(one, n_layers),
            "chosen": k == chosen,
        }
        for k, one in enumerate(candidates)
    ]
