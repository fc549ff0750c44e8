"""The recipe editor: variants as cards, each step with its own sliders; add, duplicate, reorder, switch off, remove.

The draft in session state is the only source: widgets start from it and are written back to it in every run. Their
keys contain ids, so that a reordered step keeps its slider.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import streamlit as st

from ...interventions.protocol import METHODS
from ...recipes.doses import Dial, moved
from ...recipes.steps import MAX_STEPS, MAX_VARIANTS, Recipe, Step, Variant
from ..widgets.basics import literal
from . import step_form
from .step_form import thresholds

if TYPE_CHECKING:
    from ...recipes.workbench import Workbench

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
    """Put a recipe into the editor, with fresh ids so that no slider remembers an earlier one."""
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


def _act(key: str, card_id: str, widget: str) -> None:
    """Apply the chosen entry of a variant's menu (a callback)."""
    index = next((i for i, card in enumerate(cards(key)) if card.id == card_id), None)
    if index is not None:
        apply(cards(key), index, st.session_state.get(widget))


def apply(found: list[Card], index: int, action: str | None) -> None:
    """Apply one entry of a variant's menu to the list of variants."""
    card = found[index]
    if action == "duplicate" and len(found) < MAX_VARIANTS:
        found.insert(index + 1, Card(card.variant))
    elif action == "remove":
        found.remove(card)
    elif action == "step" and len(card.steps) < MAX_STEPS:
        last = card.variant.steps[-1] if card.variant.steps else Step()
        card.variant = replace(card.variant, steps=(*card.variant.steps, last.but(alpha=0.5)))
        card.steps.append(_new_id())
    elif action in ("up", "down"):
        to = max(0, min(len(found) - 1, index + (1 if action == "down" else -1)))
        found.insert(to, found.pop(index))


def _act_step(card: Card, step_id: str, widget: str) -> None:
    """Apply the chosen entry of a step's menu (a callback)."""
    action, index = st.session_state.get(widget), card.steps.index(step_id)
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


def edit(key: str, bench: Workbench, directions: dict[str, str], *, single: bool = False) -> Recipe:
    """Draw the recipe editor; return the recipe as edited.

    Args:
        directions: what a step can choose from, value -> shown name.
        single: one variant only, whose steps can be edited.
    """
    for card in list(cards(key))[: 1 if single else None]:
        with st.container(border=True, gap="xsmall", key=f"{key}_card_{card.id}"):
            card.variant = _variant(key, card, bench, directions, list(ACTIONS)[:1] if single else list(ACTIONS))
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


def _variant(key: str, card: Card, bench: Workbench, directions: dict[str, str], actions: list[str]) -> Variant:
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
    steps = [
        _step(f"{prefix}_{step_id}", card, step_id, step, bench, directions)
        for step_id, step in zip(card.steps, variant.steps, strict=True)
    ]
    return replace(variant, on=on, steps=tuple(steps))


def _step(prefix: str, card: Card, step_id: str, step: Step, bench: Workbench, directions: dict[str, str]) -> Step:
    step = step_form.draw(prefix, step, bench, directions, list(METHODS))
    if len(card.steps) > 1:
        with st.container(horizontal=True, vertical_alignment="center", wrap=False):
            on = st.toggle("Step on", value=step.on, key=f"{prefix}_on", width="stretch")
            st.menu_button(
                "Step",
                ["duplicate", "up", "down", "remove"],
                format_func=ACTIONS.__getitem__,
                key=f"{prefix}_menu",
                on_click=_act_step,
                args=(card, step_id, f"{prefix}_menu"),
                type="tertiary",
            )
        step = step.but(on=on)
    return step


def set_tau(key: str, tau: float) -> None:
    """Give every threshold of the draft a value; fresh ids make their sliders start from it."""
    for card in cards(key):
        steps = [
            step.but(**{knob.name: float(f"{tau:.4g}") for knob in thresholds(step)}) for step in card.variant.steps
        ]
        card.variant = replace(card.variant, steps=tuple(steps))
        card.steps = [_new_id() for _ in card.steps]


def set_dial(key: str, number: int, dial: Dial, value: float) -> None:
    """Set one slider of a variant of the draft; fresh ids make the sliders start from it."""
    card = cards(key)[number]
    card.variant = moved(card.variant, dial, value)
    card.steps = [_new_id() for _ in card.steps]


def set_band(key: str, number: int, dial: Dial, band: tuple[float, float]) -> None:
    """Shade the part of one slider in which the answer has turned and the text holds."""
    card = cards(key)[number]
    inside = f"_{dial.inner}" if dial.inner else ""
    slider = f"{key}_{card.id}_{card.steps[dial.step]}{inside}_{dial.knob.name.rstrip('_')}"
    st.session_state[f"{slider}_band"] = band
