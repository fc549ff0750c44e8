"""Build / Direction: how a direction is made of the pairs, what is computed of it once, and what is done with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import streamlit as st

from ...recipes.sources import CONTRASTS, POSITIONS, SPACES
from ...recipes.steps import Step, Variant
from ..shared import objects as services
from ..shared import state
from ..steer import sending
from ..widgets.basics import literal

if TYPE_CHECKING:
    import numpy as np

    from ...directions.activations import Position
    from ...directions.agreement import Agreement, HeldOut
    from ...directions.direction import Direction
    from ...directions.pairs import PairSet
    from ...models.model import Model
    from ...saes.sae import Sae
    from ...sites import Site

# All layers are read at once; beyond this the activations of a set would not fit beside the model.
MAX_NUMBERS = 120_000_000


# Choices ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """How a direction is made of the pairs."""

    contrast: str
    space: str
    site: Site
    position: str
    sae: Sae | None


def choose(lm: Model, sae: Sae | None) -> Choice:
    """Contrast, space, layer, stream and position as chosen."""
    from ...sites import Site

    left, right = st.columns(2, gap="small")
    contrast = left.selectbox(
        "Made by", list(CONTRASTS), format_func=CONTRASTS.__getitem__, key="direction_contrast", bind="query-params",
        help="The mean difference steers best; a probe and LDA classify best.",
    )  # fmt: skip
    position = right.selectbox(
        "Read at", list(POSITIONS), format_func=POSITIONS.__getitem__, key="direction_position", bind="query-params"
    )
    spaces = list(SPACES) if sae is not None else ["residual"]
    space = left.selectbox(
        "Space", spaces, format_func=SPACES.__getitem__, key="direction_space", bind="query-params",
        help=None if sae is not None else "Feature space needs an SAE; choose one in the sidebar.",
    )  # fmt: skip
    if space == "feature" and sae is not None:
        right.text_input("Site", str(sae.site), disabled=True, help="A direction of features lives at its SAE's site.")
        return Choice(contrast, space, sae.site, position, sae)
    stream = right.selectbox(
        "Stream", list(lm.streams), index=len(lm.streams) - 1, key="direction_stream", bind="query-params"
    )
    layer = st.slider("Layer", 0, lm.n_layers - 1, lm.n_layers // 2, key="direction_layer", bind="query-params")
    return Choice(contrast, space, Site(int(layer), stream), position, None)


# What is computed, once for all visitors ----------------------------------------------------------------------------

Sides = tuple["np.ndarray", "np.ndarray"]


@dataclass(frozen=True)
class Key:
    """What activations are read: of which pairs, where, and by which SAE."""

    model: str
    pairs: str
    position: str
    stream: str
    sae: tuple[str, str] | None = None


@st.cache_resource(max_entries=24, show_spinner="Reading the pairs through the model")
def _sides(key: Key, _pairs: PairSet) -> dict[Site, Sides]:
    from ...directions.activations import of_pairs
    from ...sites import Site

    lm = services.model(key.model)
    sae = None if key.sae is None else services.sae(key.model, key.sae)
    sites = [sae.site] if sae else [Site(layer, key.stream) for layer in range(lm.n_layers)]
    position: Position = key.position  # type: ignore[assignment]
    found = of_pairs(lm, _pairs, sites, position=position, sae=sae)
    return {site: (p.double().numpy(), q.double().numpy()) for site, (p, q) in found.items()}


def sides(lm: Model, pairs: PairSet, choice: Choice) -> dict[Site, Sides]:
    """Activations of both sides of the pairs: after every layer, or at the SAE's site in feature space.

    Raises:
        ValueError: a text that cannot be read there, or more pairs than fit into memory.
    """
    width = choice.sae.d_sae if choice.sae else lm.d_model * lm.n_layers
    if 2 * len(pairs) * width > MAX_NUMBERS:
        raise ValueError(
            f"At most {MAX_NUMBERS // (2 * width)} pairs are compared at once on this model; got {len(pairs)}. "
            "Switch some off."
        )
    sae = state.sae_choice(lm.name) if choice.sae else None
    return _sides(Key(lm.name, pairs.content_hash, choice.position, choice.site.stream, sae), pairs)


@st.cache_resource(max_entries=64, show_spinner=False)
def _agreement(key: tuple, _sides: Sides) -> Agreement:
    from ...directions.agreement import agreement

    return agreement(*_sides)


@st.cache_resource(max_entries=256, show_spinner=False)
def _held_out(key: tuple, contrast: str, folds: int | None, _sides: Sides) -> HeldOut:
    from ...directions.agreement import FITS, held_out

    return held_out(*_sides, FITS[contrast], folds=folds)


@st.cache_resource(max_entries=64, show_spinner=False)
def _contrasts(key: tuple, _sides: Sides) -> dict[str, np.ndarray]:
    from ...directions.agreement import contrasts

    return contrasts(*_sides)


@st.cache_resource(max_entries=64, show_spinner=False)
def _order(key: tuple, _cosines: np.ndarray) -> np.ndarray:
    return seriated(_cosines)


def seriated(cosines: np.ndarray) -> np.ndarray:
    """An order of pairs in which like stands beside like: along what they differ in most, besides what they share."""
    import numpy as np

    return np.argsort(np.linalg.eigh(cosines)[1][:, -2]) if len(cosines) > 8 else np.arange(len(cosines))


def _key(lm: Model, pairs: PairSet, choice: Choice, site: Site) -> tuple:
    sae = choice.sae.fingerprint if choice.sae else ""
    return (lm.fingerprint, pairs.content_hash, choice.position, str(site), sae)


@st.cache_resource(max_entries=64, show_spinner=False)
def _fitted(key: tuple, _lm: Model, _pairs: PairSet, _choice: Choice, _sides: Sides) -> Direction:
    import torch

    from ...directions.agreement import FITS
    from ...directions.contrasts import fitted

    positive, negative = (torch.from_numpy(side).float() for side in _sides)
    position: Position = _choice.position  # type: ignore[assignment]
    return fitted(
        _choice.contrast, FITS[_choice.contrast], (positive, negative), _lm, _pairs, _choice.site, position=position,
        sae=_choice.sae,
    )  # type: ignore[arg-type]  # fmt: skip


@dataclass(frozen=True)
class PairStudy:
    """A pair set read at its sites, with the direction that was chosen."""

    lm: Model
    pairs: PairSet
    choice: Choice
    all: dict[Site, Sides]
    direction: Direction

    @property
    def sides(self) -> Sides:
        """Activations at the chosen site."""
        return self.all[self.choice.site]

    def key(self, site: Site | None = None) -> tuple:
        """What the numbers at a site depend on, for caches."""
        return _key(self.lm, self.pairs, self.choice, site or self.choice.site)

    def agreement(self) -> Agreement:
        """How far the pairs agree at the chosen site."""
        return _agreement(self.key(), self.sides)

    def order(self) -> np.ndarray:
        """The pairs in an order in which like stands beside like."""
        return _order(self.key(), self.agreement().cosines)

    def contrasts(self) -> dict[str, np.ndarray]:
        """The direction by every contrast, at the chosen site."""
        return _contrasts(self.key(), self.sides)

    def held_out(self, site: Site | None = None, contrast: str | None = None, folds: int | None = None) -> HeldOut:
        """Every pair judged by a direction made without it (in ten groups, where one by one would take long)."""
        where = site or self.choice.site
        wide = self.all[where][0].size > 200_000
        return _held_out(
            self.key(where), contrast or self.choice.contrast, folds or (10 if wide else None), self.all[where]
        )


def study(lm: Model, pairs: PairSet, choice: Choice) -> PairStudy:
    """The pairs read through the model, and their direction.

    Raises:
        ValueError: a text cannot be read, or the contrast cannot be made of these pairs.
    """
    everything = sides(lm, pairs, choice)
    key = (*_key(lm, pairs, choice, choice.site), pairs.name, choice.contrast)
    made = _fitted(key, lm, pairs, choice, everything[choice.site])
    return PairStudy(lm, pairs, choice, everything, replace(made, name=default_name(pairs, choice)))


def default_name(pairs: PairSet, choice: Choice) -> str:
    """A name that says what a direction was made of."""
    where = "features" if choice.sae else f"layer {choice.site.layer}"
    how = "" if choice.contrast == "mean_difference" else f", {CONTRASTS[choice.contrast]}"
    return f"{(pairs.name or 'my pairs').replace('_', ' ')}, {where}{how}"


# Keeping and using it -----------------------------------------------------------------------------------------------


def keep(found: PairStudy) -> None:
    """Draws the name, and what can be done with the direction: save it, steer with it."""
    left, right = st.columns([3, 2], vertical_alignment="bottom", gap="small")
    name = left.text_input("Name", found.direction.name, key=f"direction_name_{found.direction.name}", max_chars=80)
    if right.button("Save", width="stretch", key="direction_save", help="Keeps it in the Library."):
        row = services.store().save_direction(found.direction, name or "")
        st.toast(f"Saved as {literal(row.name)}. It is in the Library and among Compare's directions.")
    if st.button("Steer with this", type="primary", width="stretch", key="direction_steer"):
        steer(found, name or found.direction.name)


def steer(found: PairStudy, name: str) -> None:
    """Opens Compare with the direction in both signs; pairs of one's own are saved first, so that the link works."""
    step = Step("add", direction=_reference(found, name), contrast=found.choice.contrast, space=found.choice.space)
    if found.choice.sae is None:
        step = step.but(layer=found.choice.site.layer, stream=found.choice.site.stream)
    variants = [Variant(f"{sign} {name}"[:80], (step.but(alpha=alpha),)) for sign, alpha in (("+", 0.4), ("−", -0.4))]
    sending.steer_with(found.lm, *variants)


def _reference(found: PairStudy, name: str) -> str:
    """How a recipe names the direction: its pair set where that is bundled and unchanged, else its saved id."""
    from ...directions.pairs import PairSet, bundled_pairs

    known = found.pairs.name in bundled_pairs() and found.choice.position == "completion_mean"
    if known and PairSet.load(found.pairs.name).content_hash == found.pairs.content_hash:
        return f"pairs:{found.pairs.name}"
    return f"saved:{services.store().save_direction(found.direction, name).id}"
