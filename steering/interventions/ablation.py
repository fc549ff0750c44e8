"""Taking a direction out of the residual stream: directional ablation, and its affine form (ACE)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..directions.direction import Direction
from ..models.model import Model
from ..sites import RESIDUAL_STREAMS, Site
from .edits import RankOne
from .knobs import EVERYWHERE, Number, Setup, Vector
from .protocol import Intervention, Placement


def residual_sites(model: Model) -> list[Site]:
    """Every site of the residual stream, in order: before, between and after attention and MLP of each layer."""
    streams = [stream for stream in RESIDUAL_STREAMS if stream in model.streams]
    return [Site(layer, stream) for layer in range(model.n_layers) for stream in streams]


@dataclass(frozen=True, eq=False)
class DirectionalAblation(Intervention):
    """h' = h - strength (h . r) r with r of unit norm (Arditi et al. 2024, arXiv 2406.11717).

    With `everywhere` at every residual site of every layer, which equals orthogonalized weights; hooking the input of
    the blocks only would miss the stream between attention and MLP and the last layer's output.
    """

    direction: Direction
    everywhere: bool = False
    strength: float = 1.0

    setup = Setup(
        "ablate",
        "Ablate",
        "Takes the direction out: its projection becomes zero.",
        (
            Vector(),
            Number("strength", "Strength", 0.0, 2.0, 1.0, help="1 takes all of it out, 2 reflects."),
            EVERYWHERE,
        ),
        rank=3,
    )

    def placements(self, model: Model) -> Sequence[Placement]:
        self.direction.check(model)
        r = self.direction.decoded().to(model.device)
        edit = RankOne.make(r / r.norm(), r / r.norm(), slope=-self.strength)
        return [Placement(site, edit) for site in (residual_sites(model) if self.everywhere else [self.direction.site])]


@dataclass(frozen=True, eq=False)
class AffineAblation(Intervention):
    """h' = h - (h . r) r + (reference . r) r + alpha R, with R = positive mean - negative mean, r its unit (ACE).

    Marshall et al. 2024 (arXiv 2411.09003). `reference` is the mean activation of the negative class: alpha 0 puts
    every token where that class is along r, alpha 1 where the positive class is. Plain ablation puts it at zero,
    which may be far from both.
    """

    direction: Direction
    reference: Direction
    alpha: float = 0.0

    setup = Setup(
        "ablate_affine",
        "Move to a class",
        "Puts every token where a class of the pairs lies along the direction (affine ablation, ACE).",
        (
            Vector(),
            Vector("reference", "Reference", default="negative", controlled=False),
            Number("alpha", "Alpha", -2.0, 2.0, 0.0, said="0 the negative class, 1 the positive one"),
        ),
        rank=10,
    )

    def placements(self, model: Model) -> Sequence[Placement]:
        self.direction.check(model)
        self.reference.check(model)
        if self.reference.site != self.direction.site:
            raise ValueError(
                f"The reference of an affine ablation is read at the direction's site {self.direction.site}; "
                f"got one of {self.reference.site}."
            )
        R = self.direction.decoded().to(model.device)
        r = R / R.norm()
        offset = float(self.reference.decoded().to(model.device) @ r + self.alpha * R.norm())
        return [Placement(self.direction.site, RankOne.make(r, r, slope=-1.0, offset=offset))]
