"""Angular steering: turn the activation inside a plane to a target angle, keeping its norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..directions.direction import Direction
from ..models.model import Model
from .ablation import residual_sites
from .edits import Rotation
from .knobs import DEGREES, EVERYWHERE, Flag, Number, Setup, Vector
from .protocol import Intervention, Placement


@dataclass(frozen=True, eq=False)
class AngularSteering(Intervention):
    """h' = h - P h + |P h| (cos t b1 + sin t b2), in the plane of b1 (the direction) and b2 (arXiv 2510.26243).

    The angle is a TARGET, not a turn: 0 degrees points along the direction, 180 against it, and 0 is no identity.

    Attributes:
        plane: any vector that spans the plane with the direction; b2 is its part orthogonal to b1.
        degrees: the target angle t.
        adaptive: turn only tokens on the direction's positive side (h . b1 > 0).
        everywhere: at every site of the residual stream instead of the direction's own.
    """

    direction: Direction
    plane: Direction
    degrees: float = 180.0
    adaptive: bool = False
    everywhere: bool = False

    setup = Setup(
        "rotate",
        "Rotate",
        "Turns the activation to an angle with the direction.",
        (
            Vector(),
            Vector("plane", "Plane with", default="random:1000"),
            Number("degrees", "Angle", -180.0, 180.0, 0.0, step=5.0, unit=DEGREES, help="0 is along the direction."),
            Flag("adaptive", "Only tokens on its positive side"),
            EVERYWHERE,
        ),
        rank=4,
    )

    def placements(self, model: Model) -> Sequence[Placement]:
        self.direction.check(model)
        self.plane.check(model)
        v, w = self.direction.decoded().to(model.device), self.plane.decoded().to(model.device)
        b1 = v / v.norm()
        rest = w - (w @ b1) * b1
        if rest.norm() < 1e-4 * w.norm():
            raise ValueError("The two vectors of an angular steering span a plane; these two are parallel.")
        b2 = rest / rest.norm()
        angle = math.radians(self.degrees)
        target = math.cos(angle) * b1 + math.sin(angle) * b2
        edit = Rotation(b1[None], b2[None], target[None], torch.tensor([self.adaptive], device=model.device))
        return [Placement(site, edit) for site in (residual_sites(model) if self.everywhere else [self.direction.site])]
