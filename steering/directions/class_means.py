"""Where classes of texts lie: the mean of one side of a pair set, and each of several classes against the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
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


def against_others(classes: Mapping[str, Float[ndarray, "texts width"]]) -> dict[str, Float[ndarray, "width"]]:
    """Each class's mean activation minus the mean of the other classes' means.

    Every class counts alike, however many texts it has, so the directions of all classes sum to zero. By hand: means
    (3, 0), (0, 3) and (0, 0) give the first class (3, 0) - (0, 1.5) = (3, -1.5).

    Raises:
        ValueError: fewer than two classes, a class without texts, or NaN or infinity.
    """
    if len(classes) < 2 or not all(len(one) for one in classes.values()):
        sizes = ", ".join(f"{name}: {len(one)}" for name, one in classes.items())
        raise ValueError(f"A class is compared with others; that takes two classes of at least one text, got {sizes}.")
    means = {name: np.asarray(one, np.float64).mean(0) for name, one in classes.items()}
    if not all(np.isfinite(mean).all() for mean in means.values()):
        raise ValueError("Activations are finite; these have NaN or infinity. Load the model in float32.")
    total = np.sum(list(means.values()), axis=0)
    return {name: mean - (total - mean) / (len(means) - 1) for name, mean in means.items()}
