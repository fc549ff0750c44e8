"""Turning single SAE features: add to them, clamp them to a value, switch them off. The SAE's error always stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..models.model import Model
from ..saes.sae import Sae
from ..sites import Site
from .addition import Additive
from .edits import FeatureEdit, RankOne
from .knobs import Features, Setup, Within
from .protocol import Edit, Intervention, Placement


def _known(sae: Sae, features: Sequence[int] | Mapping[int, float]) -> list[int]:
    """The features, each once and sorted; raises a ValueError when there are none or the SAE does not have them."""
    if not features:
        raise ValueError("A feature intervention names at least one feature; got none.")
    bad = [i for i in features if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < sae.d_sae]
    if bad:
        raise ValueError(f"Features of {sae.name} run from 0 to {sae.d_sae - 1}; got {bad[0]!r}.")
    return sorted(set(features))


def _place(model: Model, sae: Sae, edit: Edit) -> Sequence[Placement]:
    width = model.width(model.check_site(sae.site))
    if sae.d_model != width:
        raise ValueError(f"{sae.name} reads vectors of width {sae.d_model}; {model.name} has width {width}.")
    return [Placement(sae.site, edit)]


@dataclass(frozen=True, eq=False)
class FeatureAddition(Additive):
    """h' = h + sum_j amount_j W_dec[j], whatever the features are at the token; amounts in units of activation.

    Of a transcoder too: there h is the MLP's output.
    """

    sae: Sae
    amounts: Mapping[int, float]

    setup = Setup(
        "boost", "Add features", "Adds amounts of SAE features to every token.", (Features("amounts"), Within()), rank=6
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _known(self.sae, self.amounts)

    def placements(self, model: Model) -> Sequence[Placement]:
        if self.sae.writes is not None:
            return [Placement(model.check_site(self.sae.writes), RankOne.make(self.kept.to(model.device), offset=1.0))]
        features = _known(self.sae, self.amounts)
        edit = FeatureEdit.make(self.sae, features, add=[float(self.amounts[i]) for i in features])
        if self.within is None:
            return _place(model, self.sae, edit)
        if self.sae.normalizes:
            raise ValueError(
                f"{self.sae.name} rescales its input token by token, so an addition of its features is no fixed vector "
                "to keep within a span. Add its decoder's direction instead."
            )
        return _place(model, self.sae, RankOne.make(self.kept.to(model.device), offset=1.0))

    @property
    def writes_at(self) -> Site:
        return self.sae.writes or self.sae.site

    @property
    def added(self) -> Float[Tensor, "d_model"]:
        features = _known(self.sae, self.amounts)
        rows = self.sae.features(features).rows
        return torch.tensor([float(self.amounts[i]) for i in features], device=rows.device) @ rows


@dataclass(frozen=True, eq=False)
class FeatureClamp(Intervention):
    """h' = h + sum_j (value_j - f_j(h)) W_dec[j]: the features are set to values (Templeton et al. 2024).

    Clamping to what a feature is already changes nothing, because the SAE's error stays.
    """

    sae: Sae
    values: Mapping[int, float]

    setup = Setup(
        "clamp", "Clamp features", "Sets SAE features to values on every token.", (Features("values"),), rank=5
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _known(self.sae, self.values)

    def placements(self, model: Model) -> Sequence[Placement]:
        features = _known(self.sae, self.values)
        values = [float(self.values[i]) for i in features]
        return _place(model, self.sae, FeatureEdit.make(self.sae, features, add=values, scale=[-1.0] * len(features)))


@dataclass(frozen=True, eq=False)
class FeatureAblation(Intervention):
    """h' = h - sum_j f_j(h) W_dec[j]: the features are switched off. Reading B of DIR's "standard ablation"."""

    sae: Sae
    features: Sequence[int]

    setup = Setup(
        "silence",
        "Switch features off",
        "Takes out what SAE features write.",
        (Features("features", valued=False),),
        rank=7,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _known(self.sae, self.features)

    def placements(self, model: Model) -> Sequence[Placement]:
        features = _known(self.sae, list(self.features))
        return _place(model, self.sae, FeatureEdit.make(self.sae, features, scale=[-1.0] * len(features)))
