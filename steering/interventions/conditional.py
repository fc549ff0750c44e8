"""Conditional steering (CAST): a condition on the prompt decides whether another intervention happens."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..directions.direction import Direction
from ..models.model import Model
from .knobs import Flag, Inner, Number, Setup, Vector
from .protocol import Gate, Intervention, Placement


def condition_similarity(h: Float[Tensor, "pos d_model"], c: Float[Tensor, "d_model"]) -> float:
    """cos(m, tanh(P m)) with m the mean over tokens and P = c c^T / (c . c) (Lee et al. 2024, section 3)."""
    mean = h.float().mean(0)
    projected = torch.tanh((mean @ c) / (c @ c) * c)
    return float(torch.nn.functional.cosine_similarity(mean, projected, dim=0))


@dataclass(frozen=True, eq=False)
class Conditional(Intervention):
    """`then`, if the prompt's mean activation resembles the condition by more than `threshold` (CAST, 2409.05907).

    Tested once, in the prompt pass, at the condition's site, on the prompt's tokens without padding and BOS. Edits at
    earlier sites than that can only begin with the generated tokens, and the prompt's own pass is then unsteered there.

    `where` and `start` of `then` count as they do without a condition.

    Attributes:
        above: True steers when the similarity is larger than the threshold, False when it is smaller.
    """

    condition: Direction
    threshold: float
    then: Intervention
    above: bool = True

    setup = Setup(
        "conditional",
        "If the prompt is like",
        "Does another step only where the prompt's mean activation resembles a direction (CAST).",
        (
            Vector("condition", "Condition", controlled=False),
            Number("threshold", "Threshold", -1.0, 1.0, 0.0, step=0.01, said="similarity of the prompt, a cosine"),
            Inner("then", "Then"),
            Flag("above", "Above the threshold", True, help="Off: where the similarity is below it."),
        ),
        rank=11,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.then, Conditional):
            raise ValueError("A condition gates one intervention; nest no conditions, list two conditionals instead.")

    def placements(self, model: Model) -> Sequence[Placement]:
        self.condition.check(model)
        c = self.condition.decoded().to(model.device)
        gate = Gate(self.condition.site, lambda h: (condition_similarity(h, c) > self.threshold) == self.above)
        return [dataclasses.replace(placement, gate=gate) for placement in self.then.placements(model)]

    def span(self, prompt_length: int) -> tuple[int, float]:
        low, high = super().span(prompt_length)
        low2, high2 = self.then.span(prompt_length)
        return max(low, low2), min(high, high2)

    def notes(self, prompt_length: int) -> tuple[str, ...]:
        return self.then.notes(prompt_length)
