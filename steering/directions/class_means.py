"""The mean activation of one side of a pair set: where its class lies, for methods that move tokens there."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from ..models.model import Model
from ..saes.sae import Sae
from ..sites import Site
from .activations import Position, of_pairs
from .direction import Direction
from .pairs import PairSet

Sides = tuple[Float[Tensor, "pairs width"], Float[Tensor, "pairs width"]]


def class_mean(
    lm: Model,
    pairs: PairSet,
    site: Site,
    *,
    side: Literal["positive", "negative"] = "negative",
    position: Position = "completion_mean",
    sae: Sae | None = None,
    read: Sides | None = None,
) -> Direction:
    """The mean activation of the pairs' positive or negative texts, as a vector at the site.

    Args:
        read: the activations of both sides there, where they are known already.

    Raises:
        ValueError: another side, or a text that cannot be read there.
    """
    if side not in ("positive", "negative"):
        raise ValueError(f'A side is "positive" or "negative"; got {side!r}.')
    site = Site.parse(site)
    both = of_pairs(lm, pairs, [site], position=position, sae=sae)[site] if read is None else read
    about = {
        "model": lm.identity,
        "method": f"mean of the {side} texts",
        "position": position,
        "pairs": {"name": pairs.name, "n": len(pairs), "hash": pairs.content_hash},
    }
    about |= {"sae": sae.identity} if sae is not None else {}
    vector = both[("positive", "negative").index(side)].double().mean(0)
    return Direction(vector, site, sae, f"{pairs.name}, {side} mean".strip(", "), about)
