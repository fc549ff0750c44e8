"""The recipe editor: variants as cards, each step with its own sliders; add, duplicate, reorder, switch off, remove.

The draft in session state is the one truth. Widgets start from it and are written back to it in every run; their keys
hang on ids, so that a reordered step takes its slider along.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...recipes.steps import (
    CONTRASTS,
    KINDS,
    MAX_STEPS,
    MAX_VARIANTS,
    POSITIONS,
    SPACES,
    WHERE,
    Recipe,
    Step,
    Variant,
    parse_features,
    show_features,
    shown_position,
)
from ..shared import directions as services
from ..widgets.basics import literal
from ..widgets.strength import strength
from . import building, feature_picker

if TYPE_CHECKING:
    from ...models.model import Model
    from ...saes.sae import Sae

_ids = itertools.count(1)


def _new_id() -> str:
    return f"{next(_ids)}"


@dataclass
class Card:
    """A variant being edited, with ids that stay when it moves."""

    variant: Variant
    id: str = field(default_factory=_new_id)
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.steps = self.steps or [_new_id() for _ in self.variant.steps]


def load(key: str, recipe: Recipe) -> None:
    """Puts a recipe into the editor, with fresh ids so that no slider remembers an earlier one."""
    st.session_state[key] = [Card(variant) for variant in recipe]


def cards(key: str) -> list[Card]:
    """The variants that are being edited."""
    return st.session_state.setdefault(key, [])


def recipe_of(key: str) -> Recipe:
    """The recipe as it stands in the editor."""
    return tuple(card.variant for card in cards(key))


# What the buttons do ------------------------------------------------------------------------------------------------

ACTIONS = {
    "step": "Add a step",
    "duplicate": "Duplicate",
    "up": "Move up",
    "down": "Move down",
    "remove": "Remove",
}


def _act(key: str, id: str, widget: str) -> None:
    """Does what was chosen in a variant's menu."""
    index = next((i for i, card in enumerate(cards(key)) if card.id == id), None)
    if index is not None:
        apply(cards(key), index, st.session_state.get(widget))


def apply(found: list[Card], index: int, action: str | None) -> None:
    """Changes the list of variants as one entry of a variant's menu says."""
    card = found[index]
    if action == "duplicate" and len(found) < MAX_VARIANTS:
        found.insert(index + 1, Card(card.variant))
    elif action == "remove":
        found.remove(card)
    elif action == "step" and len(card.steps) < MAX_STEPS:
        last = card.variant.steps[-1] if card.variant.steps else Step()
        card.variant = replace(card.variant, steps=(*card.variant.steps, replace(last, alpha=0.5)))
        card.steps.append(_new_id())
    elif action in ("up", "down"):
        to = max(0, min(len(found) - 1, index + (1 if action == "down" else -1)))
        found.insert(to, found.pop(index))


def _act_step(card: Card, id: str, widget: str) -> None:
    """Does what was chosen in a step's menu."""
    action, index = st.session_state.get(widget), card.steps.index(id)
    steps = list(card.variant.steps)
    if action == "remove" and len(steps) > 1:
        steps.pop(index)
        card.steps.pop(index)
    elif action == "duplicate" and len(steps) < MAX_STEPS:
        steps.insert(index + 1, steps[index])
        card.steps.insert(index + 1, _new_id())
    elif action in ("up", "down"):
        to = max(0, min(len(steps) - 1, index + (1 if action == "down" else -1)))
        steps.insert(to, steps.pop(index))
        card.steps.insert(to, card.steps.pop(index))
    card.variant = replace(card.variant, steps=tuple(steps))


def _add(key: str) -> None:
    found = cards(key)
    if len(found) < MAX_VARIANTS:
        found.append(Card(replace(found[-1].variant, name="") if found else Variant()))


# Drawing ------------------------------------------------------------------------------------------------------------


def edit(key: str, lm: Model, sae: Sae | None, directions: dict[str, str], *, single: bool = False) -> Recipe:
    """The recipe that the visitor has put together, after drawing its editor.

    Args:
        directions: what a step can choose from, value -> shown name.
        single: one variant only, whose steps can be edited.
    """
    for card in list(cards(key))[: 1 if single else None]:
        with st.container(border=True, gap="xsmall", key=f"{key}_card_{card.id}"):
            card.variant = _variant(key, card, lm, sae, directions, list(ACTIONS)[:1] if single else list(ACTIONS))
    if single:
        return recipe_of(key)[:1]
    st.button(
        "Add a variant",
        icon=":material/add:",
        key=f"{key}_add",
        on_click=_add,
        args=(key,),
        width="stretch",
        disabled=len(cards(key)) >= MAX_VARIANTS,
    )
    return recipe_of(key)


def _variant(
    key: str, card: Card, lm: Model, sae: Sae | None, directions: dict[str, str], actions: list[str]
) -> Variant:
    variant, prefix = card.variant, f"{key}_{card.id}"
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
        on = st.toggle(literal(variant.title, 40), value=variant.on, key=f"{prefix}_on", width="stretch")
        st.menu_button(
            "More",
            actions,
            format_func=ACTIONS.__getitem__,
            key=f"{prefix}_menu",
            on_click=_act,
            args=(key, card.id, f"{prefix}_menu"),
            type="tertiary",
        )
    steps = []
    for id, step in zip(card.steps, variant.steps, strict=True):
        steps.append(_step(f"{prefix}_{id}", card, id, step, lm, sae, directions))
    return replace(variant, on=on, steps=tuple(steps))


def _step(prefix: str, card: Card, id: str, step: Step, lm: Model, sae: Sae | None, directions: dict[str, str]) -> Step:
    kinds = list(KINDS)
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall", wrap=False)
    kind = row.selectbox(
        "Method",
        kinds,
        index=kinds.index(step.kind),
        format_func=lambda name: KINDS[name].title,
        key=f"{prefix}_kind",
        label_visibility="collapsed",
        help=KINDS[step.kind].help,
    )
    with row.popover("", icon=":material/tune:", width="content", help="Layer, stream, tokens, how it is made"):
        settings = _settings(prefix, step, kind, lm, sae)
    step = replace(step, kind=kind, **settings)
    step = _material(prefix, step, lm, sae, directions)
    step = _sliders(prefix, step, lm, sae)
    if len(card.steps) > 1:
        with st.container(horizontal=True, vertical_alignment="center", wrap=False):
            on = st.toggle("Step on", value=step.on, key=f"{prefix}_on", width="stretch")
            st.menu_button(
                "Step",
                ["duplicate", "up", "down", "remove"],
                format_func=ACTIONS.__getitem__,
                key=f"{prefix}_menu",
                on_click=_act_step,
                args=(card, id, f"{prefix}_menu"),
                type="tertiary",
            )
        step = replace(step, on=on)
    return step


def _material(prefix: str, step: Step, lm: Model, sae: Sae | None, directions: dict[str, str]) -> Step:
    """The step with its direction, texts or features as chosen."""
    needs = KINDS[step.kind].needs
    if needs == "features":
        text_key = f"{prefix}_features"
        if text_key not in st.session_state:
            st.session_state[text_key] = show_features(step.features)
        text = st.text_input("Features", key=text_key, placeholder="17: 8, 203: 4")
        feature_picker.find(prefix, step, lm, sae, text_key)
        try:
            return replace(step, features=parse_features(text or ""))
        except ValueError as error:
            st.error(literal(str(error), 300))
            return step
    if needs == "direction":
        # A direction of a link or a saved run that is not here stays chosen, so that running it says what is missing.
        missing = {} if step.direction in directions or step.direction == "pairs:" else {step.direction: step.direction}
        directions = {**missing, **directions}
        options = list(directions)
        known = step.direction if step.direction in options else options[0]
        chosen = st.selectbox(
            "Direction",
            options,
            index=options.index(known),
            format_func=directions.__getitem__,
            key=f"{prefix}_direction",
            label_visibility="collapsed",
        )
        step = replace(step, direction=chosen)
    if needs == "texts" or step.direction == "texts":
        toward = "Toward" if step.kind != "sara" else "Attract"
        away = "Away from" if step.kind != "sara" else "Repel"
        positive = st.text_input(toward, step.positive, key=f"{prefix}_positive", max_chars=2000)
        negative = st.text_input(away, step.negative, key=f"{prefix}_negative", max_chars=2000)
        step = replace(step, positive=positive or "", negative=negative or "")
    return step


def _settings(prefix: str, step: Step, kind: str, lm: Model, sae: Sae | None) -> dict[str, Any]:
    """The settings that are not looked at all the time: site, tokens, how the direction is made."""
    found: dict[str, Any] = {}
    needs = KINDS[kind].needs
    where = list(WHERE)
    if needs == "direction":
        spaces = list(SPACES) if sae is not None else ["residual"]
        found["space"] = st.selectbox(
            "Space",
            spaces,
            index=spaces.index(step.space) if step.space in spaces else 0,
            format_func=SPACES.__getitem__,
            key=f"{prefix}_space",
        )
        contrasts = list(CONTRASTS)
        found["contrast"] = st.selectbox(
            "Made by",
            contrasts,
            index=contrasts.index(step.contrast),
            format_func=CONTRASTS.__getitem__,
            key=f"{prefix}_contrast",
        )
        positions = list(dict.fromkeys((*POSITIONS, step.position)))
        found["position"] = st.selectbox(
            "Read at",
            positions,
            index=positions.index(step.position),
            format_func=shown_position,
            key=f"{prefix}_position",
        )
    if needs != "features" and found.get("space") != "feature":
        layers = list(range(lm.n_layers))
        layer = lm.n_layers // 2 if step.layer is None else min(step.layer, lm.n_layers - 1)
        picked = st.selectbox("Layer", layers, index=layer, key=f"{prefix}_layer")
        found["layer"] = picked
        streams = list(lm.streams)
        found["stream"] = st.selectbox(
            "Stream",
            streams,
            index=streams.index(step.stream) if step.stream in streams else len(streams) - 1,
            key=f"{prefix}_stream",
        )
    elif sae is not None:
        st.caption(f"Works at the SAE's site, {sae.site}.")
    if kind not in ("actadd", "sara"):
        found["where"] = st.selectbox(
            "Tokens", where, index=where.index(step.where), format_func=WHERE.__getitem__, key=f"{prefix}_where"
        )
    if kind == "ablate":
        found["everywhere"] = st.toggle("At every layer and stream", step.everywhere, key=f"{prefix}_everywhere")
    return found


def _sliders(prefix: str, step: Step, lm: Model, sae: Sae | None) -> Step:
    """The step with its strengths as set."""
    changes: dict[str, Any] = {}
    sae_name = sae.name if sae else ""
    for name in KINDS[step.kind].sliders:
        if name == "alpha":
            held = st.session_state.get(f"{prefix}_alpha") or {}
            now = replace(step, alpha=min(2.0, max(-2.0, float(held.get("value") or step.alpha))))
            note = building.raw_note(lm.name, now, sae_name)
            changes["alpha"] = strength(
                "Alpha, in layer norms", step.alpha, key=f"{prefix}_alpha", note=note, short="Alpha"
            )
        elif name == "lambda_":
            changes["lambda_"] = strength(
                "Lambda, feedback gain",
                step.lambda_,
                key=f"{prefix}_lambda",
                low=0.0,
                high=5.0,
                step=0.1,
                short="Lambda",
            )
        elif name == "degrees":
            changes["degrees"] = strength(
                "Angle, degrees", step.degrees, key=f"{prefix}_degrees", low=-180.0, high=180.0, step=5.0
            )
        elif name == "gain":
            changes["gain"] = strength("Gain", step.gain, key=f"{prefix}_gain", low=-4.0, high=4.0, step=0.1)
        elif name == "tau":
            low, high, middle = tau_range(lm, sae, step)
            size = max((high - low) / 200, 1e-4)
            digits = f"{size:.0e}"
            changes["tau"] = strength(
                "Tau, threshold",
                middle if step.tau is None else step.tau,
                key="_".join(
                    map(
                        str,
                        (
                            prefix,
                            "tau",
                            step.direction,
                            step.space,
                            step.layer,
                            step.stream,
                            step.contrast,
                            step.position,
                        ),
                    )
                ),
                low=low,
                high=high,
                step=float(digits),
                note="projection",
                short="Tau",
            )
            if step.tau is None and abs(changes["tau"] - middle) <= size:
                changes["tau"] = None
    return replace(step, **changes)


def tau_range(lm: Model, sae: Sae | None, step: Step) -> tuple[float, float, float]:
    """Lowest, highest and middle tau worth choosing: where the pair set's two classes lie."""
    try:
        direction = building.direction_of(lm, sae, step)
        groups = services.class_projections(lm.name, step.direction, direction)
        values = [value for side in ("positive", "negative") for value in groups.get(side, [])]
        middle = building.default_tau(lm, step, direction)
    except ValueError:
        return -10.0, 10.0, 0.0
    if not values:
        unit = services.typical_norm(direction.site, lm.name)
        return float(f"{-unit:.2g}"), float(f"{unit:.2g}"), 0.0
    low, high = min(values), max(values)
    room = 0.25 * (high - low) or 1.0
    return float(f"{low - room:.2g}"), float(f"{high + room:.2g}"), middle


def set_tau(key: str, tau: float) -> None:
    """Gives every regulator of the draft a threshold; fresh ids make their sliders start from it."""
    for card in cards(key):
        card.variant = replace(
            card.variant,
            steps=tuple(replace(s, tau=float(f"{tau:.4g}")) if s.kind == "regulate" else s for s in card.variant.steps),
        )
        card.steps = [_new_id() for _ in card.steps]
