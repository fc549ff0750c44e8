"""The ways from layer to layer, for a whole model: dimensions occupied, read, and that matter for the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..directions.geometry.reading import PredictionDimensions, prediction_dimensions, reading_directions
from ..directions.unsupervised.response import Tick
from ..models.model import Model, Prompt
from ..sites import Site


@dataclass(frozen=True)
class LayerWays:
    """How many dimensions of the stream before a layer are occupied, and how many each of its parts reads.

    Attributes:
        read: by part: "q", "k", "v" of all heads, "mlp".
        heads: by part and head, "v.3" and the like.
    """

    layer: int
    occupied: float
    read: dict[str, float]
    heads: dict[str, float]


@dataclass(frozen=True)
class Ways:
    """Every layer's ways, and the dimensions that matter for the prediction after each."""

    layers: tuple[LayerWays, ...]
    prediction: PredictionDimensions

    def __repr__(self) -> str:
        return f"Ways({len(self.layers)} layers of width {self.prediction.stream})"


def ways(lm: Model, texts: Sequence[Prompt], *, tick: Tick | None = None) -> Ways:
    """The effective dimensions of every layer: occupied, read by queries, keys, values and MLP, and predictive.

    Raises:
        ValueError: no text; a family whose reading weights are not known.
    """
    found = []
    for layer in range(lm.n_layers):
        if tick is not None:
            tick(layer, lm.n_layers + 1, f"What layer {layer} reads")
        parts = reading_directions(lm, Site(layer, "resid_pre"), texts, k=1)
        if "resid_mid" in lm.streams:
            parts += reading_directions(lm, Site(layer, "resid_mid"), texts, k=1)
        read = {one.part: one.read for one in parts if "." not in one.part}
        heads = {one.part: one.read for one in parts if "." in one.part}
        found.append(LayerWays(layer, parts[0].occupied, read, heads))
    if tick is not None:
        tick(lm.n_layers, lm.n_layers + 1, "What matters for the prediction")
    return Ways(tuple(found), prediction_dimensions(lm, texts))
