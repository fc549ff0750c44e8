"""From a recipe's plain data to interventions: looks up directions, turns units into raw coefficients."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import streamlit as st

from ...recipes.steps import KINDS, Step, Variant
from ..shared import directions as services

if TYPE_CHECKING:
    from ...directions.direction import Direction
    from ...interventions import Intervention
    from ...models.model import Model
    from ...saes.sae import Sae
    from ...sites import Site


PLANE = 1000  # the seed of the second direction of a rotation's plane; no control has it


@dataclass(frozen=True)
class Built:
    """A variant ready for the engine, and the directions whose projections are worth recording."""

    title: str
    interventions: tuple[Intervention, ...]
    directions: tuple[Direction, ...]
    raw: tuple[str, ...] = ()


def site_of(lm: Model, step: Step, sae: Sae | None = None) -> Site:
    """Where a step works: the SAE's site in feature space, else its layer (by default the middle one) and stream."""
    from ...sites import Site

    if sae is not None and (step.space == "feature" or KINDS[step.kind].needs == "features"):
        return sae.site
    layer = lm.n_layers // 2 if step.layer is None else step.layer
    return lm.check_site(Site(layer, step.stream))


def need_sae(sae: Sae | None, what: str) -> Sae:
    """The SAE; without one a sentence that says what needs it.

    Raises:
        ValueError: there is none.
    """
    if sae is None:
        raise ValueError(f"{what} needs a sparse autoencoder (SAE); none is loaded. Choose one in the sidebar.")
    return sae


def direction_of(lm: Model, sae: Sae | None, step: Step) -> Direction:
    """The direction of a step: built from its pair set, read from the Library, or the difference of its two texts.

    Raises:
        ValueError: there is no such direction, or it does not fit the model.
    """
    space = need_sae(sae, "A direction in feature space") if step.space == "feature" else None
    source, _, name = step.direction.partition(":")
    if source == "saved":
        return services.saved_direction(name)
    site = site_of(lm, step, space)
    if source == "texts":
        if not step.positive.strip() or not step.negative.strip():
            raise ValueError("A direction from two texts needs both of them; one is empty.")
        return services.direction_from_texts(lm.name, step.positive, step.negative, site, space)
    if not name:
        raise ValueError("Choose a direction for this step: a pair set, two texts, or one saved in the Library.")
    return services.direction_from_pairs(lm.name, name, step.contrast, site, space, step.position)


def alpha_raw(lm: Model, direction: Direction, units: float) -> float:
    """The coefficient of a direction that shifts the stream by `units` times the layer's typical norm."""
    return units * services.typical_norm(direction.site, lm.name) / max(float(direction.decoded().norm()), 1e-12)


def default_tau(lm: Model, step: Step, direction: Direction) -> float:
    """The midpoint between the projections of the two classes of the step's pairs; 0 without pairs."""
    groups = services.class_projections(lm.name, step.direction, direction)
    if not groups.get("positive") or not groups.get("negative"):
        return 0.0
    means = [sum(groups[side]) / len(groups[side]) for side in ("positive", "negative")]
    return float(f"{sum(means) / 2:.3g}")


def intervention(lm: Model, sae: Sae | None, step: Step, direction: Direction | None) -> Intervention:
    """The intervention of a step, with a direction that may be a control's instead of its own."""
    from ... import interventions as kinds
    from ...directions.direction import random_like

    if step.kind in ("clamp", "boost", "silence"):
        sae = need_sae(sae, KINDS[step.kind].title)
        if not step.features:
            raise ValueError(f"{KINDS[step.kind].title}: name at least one feature, such as 17: 8.")
        if step.kind == "silence":
            return kinds.FeatureAblation(sae, sorted(step.features), where=step.where)  # type: ignore[arg-type]
        made = kinds.FeatureClamp if step.kind == "clamp" else kinds.FeatureAddition
        return made(sae, step.features, where=step.where)  # type: ignore[arg-type]
    if step.kind == "sara":
        if not step.positive.strip() or not step.negative.strip():
            raise ValueError("Rescaling channels needs a text to attract and one to repel; one is empty.")
        return kinds.Sara.from_prompts(
            lm, attract=step.positive, repel=step.negative, site=site_of(lm, step), alpha=step.gain
        )
    if step.kind == "actadd":
        return _actadd(lm, step)
    assert direction is not None
    if step.kind == "add":
        alpha = alpha_raw(lm, direction, step.alpha)
        return kinds.ActivationAddition(direction, alpha, where=step.where)  # type: ignore[arg-type]
    if step.kind == "regulate":
        tau = default_tau(lm, step, direction) if step.tau is None else step.tau
        return kinds.ThresholdRegulator(direction, tau, step.lambda_, where=step.where)  # type: ignore[arg-type]
    if step.kind == "rotate":
        plane = random_like(direction, PLANE)
        return kinds.AngularSteering(direction, plane, step.degrees, where=step.where)  # type: ignore[arg-type]
    if direction.sae is not None and not step.everywhere:
        return kinds.SaeAblation(direction, where=step.where)  # type: ignore[arg-type]
    return kinds.DirectionalAblation(direction, step.everywhere, where=step.where)  # type: ignore[arg-type]


def _actadd(lm: Model, step: Step) -> Intervention:
    from ...interventions import ActAdd

    if not step.positive.strip():
        raise ValueError("A prompt contrast needs a text to move toward; it is empty.")
    site = site_of(lm, step)
    made = ActAdd.from_prompts(lm, step.positive, step.negative, site)
    scale = services.typical_norm(site, lm.name) / max(float(made.difference.norm(dim=-1).max()), 1e-12)
    return replace(made, alpha=step.alpha * scale)


def build(lm: Model, sae: Sae | None, variant: Variant) -> Built:
    """A variant's interventions, in order, of the steps that are on.

    Raises:
        ValueError: a setting does not fit; the message names the step.
    """
    made, directions, raw = [], [], []
    for number, step in enumerate((step for step in variant.steps if step.on), start=1):
        try:
            direction = direction_of(lm, sae, step) if KINDS[step.kind].needs == "direction" else None
            made.append(intervention(lm, sae, step, direction))
        except ValueError as error:
            raise ValueError(f"{variant.title}, step {number}: {error}") from error
        directions += [] if direction is None else [direction]
        raw.append(str(made[-1]))
    return Built(variant.title, tuple(made), tuple(directions), tuple(raw))


def controllable(variant: Variant) -> bool:
    """Whether a variant has a step for which a random direction, or random features, can stand in."""
    return any(step.on and KINDS[step.kind].needs != "texts" for step in variant.steps)


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6])


def control(lm: Model, sae: Sae | None, variant: Variant, seed: int) -> Built:
    """The same variant with every direction replaced by a random one of equal norm, and features by random others.

    A step that has neither (two texts) is left out: what remains is the honest comparison.
    """
    from ...directions.direction import random_like

    made = []
    for step in (step for step in variant.steps if step.on):
        needs = KINDS[step.kind].needs
        if needs == "direction":
            direction = direction_of(lm, sae, step)
            if step.kind == "regulate" and step.tau is None:
                step = replace(step, tau=default_tau(lm, step, direction))
            made.append(intervention(lm, sae, step, random_like(direction, _seed(direction.fingerprint, seed))))
        elif needs == "features" and sae is not None and step.features:
            start = _seed(seed, sorted(step.features)) % sae.d_sae
            others = {(start + 7919 * i) % sae.d_sae: v for i, v in enumerate(step.features.values())}
            made.append(intervention(lm, sae, replace(step, features=others), None))
    return Built(f"Random {seed + 1}: {variant.title}", tuple(made), ())


@st.cache_data(max_entries=512, show_spinner=False)
def raw_note(model_name: str, step: Step, sae_name: str) -> str:
    """The raw value behind a slider in units, for the visitor to see; empty where there is nothing to say."""
    lm, sae = services.model(model_name), services.maybe_sae()
    try:
        if step.kind == "add":
            direction = direction_of(lm, sae, step)
            shift = step.alpha * services.typical_norm(direction.site, lm.name)
            return f"raw {alpha_raw(lm, direction, step.alpha):.3g}, shift {shift:.3g}"
        if step.kind == "actadd":
            return f"largest shift {step.alpha * services.typical_norm(site_of(lm, step), lm.name):.3g}"
    except ValueError:
        return ""
    return ""
