"""The Dynamic Inhibitory Regulator (a threshold with feedback), and the like-for-like ablation it is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..directions.direction import Direction
from ..models.model import Model
from ..saes.sae import Sae
from .edits import FeatureEdit, RankOne
from .knobs import ERROR, PROJECTION, Flag, Number, Setup, Vector, WholeSae
from .protocol import Intervention, Placement


def support(v: Float[Tensor, "d_sae"]) -> tuple[list[int], Float[Tensor, "k"]]:
    """The features a direction in feature space reads, and its weights there, of unit norm as a whole."""
    index = torch.nonzero(v).flatten().tolist()
    return index, (v / v.norm())[index]


@dataclass(frozen=True, eq=False)
class ThresholdRegulator(Intervention):
    """x' = x - lambda relu(<x, v> - tau) v, with v of unit norm: nothing below tau, feedback above (DIR).

    In the direction's own space. In feature space x = encode(h), and h' = h - lambda relu(p - tau) (v @ W_dec), one
    encoding of v's features and no decoding; in residual space x = h, and lambda 1 is activation capping.
    Above the threshold p' = tau + (1 - lambda)(p - tau): lambda 1 is a cap, 2 reflects, 3 over-corrects.

    Attributes:
        tau: the threshold, in units of the projection; infinity never fires.
        lambda_: the feedback gain; 0 changes nothing.
        error: "keep" the SAE's error, or "drop" it as in the code first posted, where every token, also one below the
            threshold, is replaced by its reconstruction. Compare that with reconstruction alone (lambda 0).
        clamp_nonneg: do not push features below zero (feature space only).
    """

    direction: Direction
    tau: float = 10.0
    lambda_: float = 3.0
    error: Literal["keep", "drop"] = "keep"
    clamp_nonneg: bool = False

    setup = Setup(
        "regulate",
        "Regulate",
        "Nothing below tau; above it the excess is pushed back with gain lambda (threshold regulator, DIR). "
        "Lambda 1 caps the projection at tau.",
        (
            Vector(),
            Number("tau", "Tau", -10.0, 10.0, None, unit=PROJECTION, said="threshold"),
            Number("lambda_", "Lambda", 0.0, 5.0, 1.0, step=0.1, said="feedback gain"),
            ERROR,
            Flag("clamp_nonneg", "Push no feature below zero", only="feature"),
        ),
        rank=2,
    )

    def __post_init__(self) -> None:
        if math.isnan(self.tau) or self.tau == -math.inf:
            raise ValueError(f"tau is a number, or infinity for never; got {self.tau}.")
        object.__setattr__(self, "tau", min(self.tau, 3e38))  # infinity would make 0 * inf on the way
        super().__post_init__()
        if self.error not in ("keep", "drop"):
            raise ValueError(f'error is "keep" or "drop"; got {self.error!r}.')
        if self.direction.sae is None and (self.error == "drop" or self.clamp_nonneg):
            raise ValueError(
                'error="drop" and clamp_nonneg are about an SAE\'s features; this direction is in the residual stream. '
                "Build it with sae=..., or leave them out."
            )

    def placements(self, model: Model) -> Sequence[Placement]:
        self.direction.check(model)
        site, sae = self.direction.site, self.direction.sae
        vector = self.direction.vector.to(model.device)
        if sae is None:
            unit = vector / vector.norm()
            return [Placement(site, RankOne.make(unit, unit, kink=-self.lambda_, tau=self.tau))]
        features, v = support(vector)
        edit = FeatureEdit.make(
            sae,
            features,
            v=v,
            kink=-self.lambda_,
            tau=self.tau,
            nonneg=self.clamp_nonneg,
            drop=self.error == "drop",
        )
        return [Placement(site, edit)]

    def notes(self, prompt_length: int) -> tuple[str, ...]:
        sae = self.direction.sae
        if sae is None or sae.sliceable:
            return ()
        return (f"{sae.architecture} features depend on each other, so all {sae.d_sae} are evaluated.",)


@dataclass(frozen=True, eq=False)
class SaeAblation(Intervention):
    """x' = x - <x, v> v in SAE feature space, v of unit norm, error kept or dropped: DIR's like-for-like baseline.

    Raises:
        ValueError: the direction is not in feature space (use directional ablation there).
    """

    direction: Direction
    error: Literal["keep", "drop"] = "keep"

    setup = Setup(
        "ablate_features",
        "Ablate in feature space",
        "Takes the direction out of the SAE's features, whose error stays: the like-for-like baseline of Regulate.",
        (Vector(spaces=("feature",)), ERROR),
        rank=12,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction.sae is None:
            raise ValueError(
                "SaeAblation takes a direction in SAE feature space; this one is in the residual stream. "
                "Use directional ablation, or build the direction with sae=..."
            )

    def placements(self, model: Model) -> Sequence[Placement]:
        self.direction.check(model)
        assert self.direction.sae is not None
        features, v = support(self.direction.vector.to(model.device))
        edit = FeatureEdit.make(self.direction.sae, features, v=v, slope=-1.0, drop=self.error == "drop")
        return [Placement(self.direction.site, edit)]


@dataclass(frozen=True, eq=False)
class SaeReconstruction(Intervention):
    """h' = decode(encode(h)): what an SAE's error alone does, the control for every method that drops it."""

    sae: Sae

    setup = Setup(
        "reconstruct",
        "Reconstruct only",
        "Replaces the activation by the SAE's reconstruction: the control of methods that drop its error.",
        (WholeSae(),),
        rank=13,
    )

    def placements(self, model: Model) -> Sequence[Placement]:
        model.check_site(self.sae.site)
        return [Placement(self.sae.site, FeatureEdit.make(self.sae, [0], drop=True))]
