"""Directions as pages name them: what a step can choose from, and one that is saved in the Library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...checkpoints.bundled import trained_here
from .objects import maybe_sae, model, store

if TYPE_CHECKING:
    from ...directions.direction import Direction
    from ...saes.sae import Sae


def direction_choices() -> dict[str, str]:
    """What a recipe's step can choose from, value -> shown name: bundled pair sets, saved directions, two texts."""
    lm = model()
    found = {f"pairs:{name}": shown_name(name) for name in pair_sets(lm.name)}
    for row in store().directions():
        if row.model in ("", lm.name):
            found[f"saved:{row.id}"] = f"{row.name} (saved)"
    return {**found, "texts": "Two texts of your own"}


def shown_name(pair_set: str) -> str:
    """A pair set's name, or a direction's label, as pages write it: general_sycophancy is sycophancy there."""
    return pair_set.removeprefix("general_").replace("_", " ")


def pair_sets(model: str) -> list[str]:
    """The bundled pair sets for a model: a bundled one's are in its small language, the general ones plain English."""
    from ...directions.pairs import bundled_pairs

    return [name for name in bundled_pairs() if name.startswith("general_") != trained_here(model)]


def saved_direction(direction_id: str) -> Direction:
    """A direction of the Library; one in feature space is read with the visitor's SAE.

    Raises:
        ValueError: there is none with that id, or it needs an SAE and none is loaded.
    """
    row = store().direction_row(direction_id)
    return store().direction(direction_id, require_fitting_sae() if row.space == "features" else None)


def require_fitting_sae() -> Sae:
    """The visitor's SAE.

    Raises:
        ValueError: there is none.
    """
    found = maybe_sae()
    if found is None:
        raise ValueError("This direction is in the features of an SAE, and none is loaded. Choose it in the sidebar.")
    return found
