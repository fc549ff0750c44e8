"""Build / Direction: how a direction is made of the pairs, what is computed of it once, and what is done with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import streamlit as st

from ...jobs.watching import progressed
from ...recipes.sources import CONTRASTS, POSITIONS, SPACES
from ...recipes.steps import Step, Variant
from ...showing.glossary import explain
from ..shared import current, readings
from ..shared import objects as services
from ..shared.frame import short_name
from ..steer import sending
from ..widgets.basics import literal

if TYPE_CHECKING:
    import numpy as np

    from ...directions.activations import Position
    from ...directions.agreement import Agreement, HeldOut
    from ...directions.direction import Direction
    from ...directions.pairs import PairSet
    from ...models.model import Model
    from ...recipes.workbench import Workbench
    from ...saes.sae import Sae
    from ...sites import Site

# All layers are read at once; more would not fit into what a workbench keeps (four bytes a number).
MAX_NUMBERS = 50_000_000
ALPHA = 0.1  # in layer norms: on real models text breaks at 0.3 already


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
    step = current.step()
    current.follow("direction_position", step and step.position, next(iter(POSITIONS)), list(POSITIONS))
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
        "Stream",
        list(lm.streams),
        index=len(lm.streams) - 1,
        key="direction_stream",
        bind="query-params",
        help=explain("stream"),
    )
    known = step.layer if step is not None and step.space == "residual" else None
    current.follow("direction_layer", known, lm.n_layers // 2, range(lm.n_layers))
    layer = st.slider("Layer", 0, lm.n_layers - 1, key="direction_layer", bind="query-params", help=explain("layer"))
    return Choice(contrast, space, Site(int(layer), stream), position, None)


# What is computed, and kept on the workbench -----------------------------------------------------------------------

Sides = tuple["np.ndarray", "np.ndarray"]


def seriated(cosines: np.ndarray) -> np.ndarray:
    """Pair indices sorted along the second principal axis of the differences, so that similar pairs are adjacent."""
    import numpy as np

    return np.argsort(np.linalg.eigh(cosines)[1][:, -2]) if len(cosines) > 8 else np.arange(len(cosines))


@dataclass(frozen=True)
class Judged:
    """The direction of a choice, and what is known of it at its site."""

    direction: Direction
    agreement: Agreement
    order: np.ndarray
    held_out: HeldOut


@dataclass(frozen=True)
class PairStudy:
    """A pair set read at its sites, with the direction that was chosen."""

    bench: Workbench
    pairs: PairSet
    choice: Choice
    all: dict[Site, Sides]
    judged: Judged

    @property
    def lm(self) -> Model:
        """The model that read the pairs."""
        return self.bench.lm

    @property
    def direction(self) -> Direction:
        """The direction that was chosen."""
        return self.judged.direction

    @property
    def sides(self) -> Sides:
        """Activations at the chosen site."""
        return doubled(self.all[self.choice.site])

    def key(self, *more: object) -> tuple:
        """What the numbers at the chosen site depend on, as a key of the workbench."""
        return (*_key(self.pairs, self.choice), str(self.choice.site), *more)

    def contrasts(self) -> dict[str, np.ndarray] | None:
        """The direction by every contrast, at the chosen site; None while they are being made."""
        from ...directions.agreement import contrasts

        make = lambda: contrasts(*self.sides)  # noqa: E731
        return readings.value(self.bench, self.key("contrasts"), make, "Making the direction by every method")

    def by_layer(self) -> dict[str, list[float]] | None:
        """The held-out AUROC of every layer by name of the contrast; None while it is being computed."""

        def make() -> dict[str, list[float]]:
            names = [name for name in CONTRASTS if name in ("mean_difference", self.choice.contrast)]
            found: dict[str, list[float]] = {name: [] for name in names}
            for done, read in enumerate(self.all.values()):
                progressed(done, len(self.all))
                for name in names:
                    found[name].append(judged(doubled(read), name).auroc)
            return found

        key = (*_key(self.pairs, self.choice), "by layer", self.choice.contrast)
        return readings.value(self.bench, key, make, "Judging the direction of every layer")

    def neutral(self) -> list[float] | None:
        """Projections of neutral text on the direction; None while it is being read."""
        direction = self.direction
        key = ("neutral text", direction.fingerprint)  # not the workbench's own key: a value waits for its key
        make = lambda: self.bench.neutral_projections(direction)  # noqa: E731
        return readings.value(self.bench, key, make, "Reading neutral text")


def doubled(sides: Sides) -> Sides:
    """Activations in double precision, in which they are compared; they are kept in single."""
    return sides[0].astype("float64"), sides[1].astype("float64")


def judged(sides: Sides, contrast: str) -> HeldOut:
    """Every pair judged by a direction made without it (in ten groups, where one by one would take long)."""
    from ...directions.agreement import FITS, held_out

    return held_out(
        *sides, FITS[contrast], folds=10 if sides[0].size > 200_000 or contrast != "mean_difference" else None
    )


def _key(pairs: PairSet, choice: Choice) -> tuple:
    return ("pairs", pairs.content_hash, choice.position, choice.site.stream, choice.sae is not None)


def study(bench: Workbench, pairs: PairSet, choice: Choice) -> PairStudy | None:
    """The pairs read through the model, and their direction; None until that was asked for and done.

    Raises:
        ValueError: a text cannot be read, the contrast cannot be made of these pairs, or they are too many.
    """
    lm = bench.lm
    width = choice.sae.d_sae if choice.sae else lm.d_model * lm.n_layers
    if 2 * len(pairs) * width > MAX_NUMBERS:
        raise ValueError(
            f"At most {MAX_NUMBERS // (2 * width)} pairs are compared at once on this model; got {len(pairs)}. "
            "Switch some off."
        )
    key = _key(pairs, choice)
    where = f"at layer {choice.site.layer}, in features" if choice.sae else f"after each of {lm.n_layers} layers"
    cost = f"{2 * len(pairs)} texts go through {short_name(lm.name)}, once: {where}."
    if bench.find(key) is None and not readings.asked(bench, "direction", "Read the pairs", cost, 2 * len(pairs)):
        return None
    everything = readings.value(bench, key, lambda: _sides(bench, pairs, choice), f"Reading {len(pairs)} pairs")
    if everything is None:
        return None
    name = default_name(pairs, choice)
    own = (*key, str(choice.site), choice.contrast, name)
    found = readings.value(bench, own, lambda: _judged(bench, pairs, choice, everything, name), "Making the direction")
    return None if found is None else PairStudy(bench, pairs, choice, everything, found)


def _sides(bench: Workbench, pairs: PairSet, choice: Choice) -> dict[Site, Sides]:
    from ...sites import Site

    sae, lm = choice.sae, bench.lm
    sites = [sae.site] if sae else [Site(layer, choice.site.stream) for layer in range(lm.n_layers)]
    position: Position = choice.position  # type: ignore[assignment]
    found = bench.activations(pairs, sites, position, sae)
    return {site: (p.numpy(), q.numpy()) for site, (p, q) in found.items()}


def _judged(bench: Workbench, pairs: PairSet, choice: Choice, everything: dict[Site, Sides], name: str) -> Judged:
    import torch

    from ...directions.agreement import FITS, agreement
    from ...directions.contrasts import fitted

    read = everything[choice.site]
    positive, negative = (torch.from_numpy(side) for side in read)
    position: Position = choice.position  # type: ignore[assignment]
    made = fitted(
        choice.contrast, FITS[choice.contrast], (positive, negative), bench.lm, pairs, choice.site, position=position,
        sae=choice.sae,
    )  # fmt: skip
    sides = doubled(read)
    agreed = agreement(*sides)
    return Judged(replace(made, name=name), agreed, seriated(agreed.cosines), judged(sides, choice.contrast))


def default_name(pairs: PairSet, choice: Choice) -> str:
    """A name that says what a direction was made of."""
    where = "features" if choice.sae else f"layer {choice.site.layer}"
    how = "" if choice.contrast == "mean_difference" else f", {CONTRASTS[choice.contrast]}"
    return f"{(pairs.name or 'my pairs').replace('_', ' ')}, {where}{how}"


# Keeping and using it -----------------------------------------------------------------------------------------------


def keep(found: PairStudy) -> None:
    """Draw the name, and what can be done with the direction: save it, steer with it."""
    left, right = st.columns([3, 2], vertical_alignment="bottom", gap="small")
    name = left.text_input("Name", found.direction.name, key=f"direction_name_{found.direction.name}", max_chars=80)
    if right.button("Save", width="stretch", key="direction_save", help="Keeps it in the Library."):
        row = services.store().save_direction(found.direction, name or "")
        st.toast(f"Saved as {literal(row.name)}. It is in the Library and among Compare's directions.")
    if st.button("Steer with this", type="primary", width="stretch", key="direction_steer"):
        steer(found, name or found.direction.name)


def steer(found: PairStudy, name: str) -> None:
    """Open Compare with the direction in both signs; pairs of one's own are saved first, so that the link works."""
    step = Step("add", direction=reference(found, name), contrast=found.choice.contrast, space=found.choice.space)
    if found.choice.sae is None:
        step = step.but(layer=found.choice.site.layer, stream=found.choice.site.stream)
    variants = [
        Variant(f"{sign} {name}"[:80], (step.but(alpha=alpha),)) for sign, alpha in (("+", ALPHA), ("−", -ALPHA))
    ]
    sending.steer_with(found.lm, *variants, seek=True)


def reference(found: PairStudy, name: str) -> str:
    """How a recipe names the direction: its pair set where that is bundled and unchanged, else its saved id."""
    from ...directions.pairs import PairSet, bundled_pairs

    known = found.pairs.name in bundled_pairs() and found.choice.position == "completion_mean"
    if known and PairSet.load(found.pairs.name).content_hash == found.pairs.content_hash:
        return f"pairs:{found.pairs.name}"
    return f"saved:{services.store().save_direction(found.direction, name).id}"
