"""A report of an ablation's leaks into named directions and features, and of an oblique projection that leaks less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..directions.direction import Direction
from ..directions.geometry.leakage import Leak, leakage, oblique
from ..directions.geometry.tokens import tokens_of
from ..models.model import Model, Prompt
from ..saes.sae import Sae


@dataclass(frozen=True)
class LeakReport:
    """Leaks of an ablation, and what it costs beside the oblique projection that spares the named directions.

    Attributes:
        leaks: into the named directions, the most moved first.
        features: into the SAE's features, the most moved first; empty without an SAE.
        cost, spared_cost: root mean square change of the activations as a share of their own, of the plain ablation
            and of the oblique one; the second is None where the direction lies among the spared ones.
    """

    name: str
    leaks: tuple[Leak, ...]
    features: tuple[Leak, ...]
    cost: float
    spared_cost: float | None

    def __repr__(self) -> str:
        worst = self.leaks[0] if self.leaks else None
        most = "" if worst is None else f", most into {worst.name!r}: {worst.before:.3g} -> {worst.after:.3g}"
        return f"LeakReport({self.name!r}, {len(self.leaks)} directions, {len(self.features)} features{most})"


def leak_report(
    lm: Model, direction: Direction, others: Sequence[Direction], texts: Sequence[Prompt], *, sae: Sae | None = None
) -> LeakReport:
    """What ablating a direction at its site does to the projections on others and to an SAE's features.

    Raises:
        ValueError: what `leakage` refuses.
    """
    found = leakage(lm, direction, others, texts, sae=sae)
    named = tuple(leak for leak in found if not leak.name.startswith("feature "))
    a = tokens_of(lm, texts, direction.site).double()
    u = torch.nn.functional.normalize(direction.decoded().double(), dim=-1)
    size = a.square().sum(-1).mean().sqrt()
    cost = float((a @ u).square().mean().sqrt() / size)
    spared = None
    if others:
        try:
            erase = oblique(direction.decoded(), torch.stack([other.decoded() for other in others]))
            spared = float((erase(a) - a).square().sum(-1).mean().sqrt() / size)
        except ValueError:
            pass
    features = tuple(leak for leak in found if leak.name.startswith("feature "))
    return LeakReport(direction.name, named, features, cost, spared)
