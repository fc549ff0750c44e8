"""The recipe editor: variants as cards, each step with its own sliders; add, duplicate, reorder, switch off, remove.

The draft in session state is the only source: widgets start from it and are written back to it in every run. Their
keys contain ids, so that a reordered step keeps its slider.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import streamlit as st

from ...interventions.knobs import Number
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
    renaming: bool = False

    def __post_init__(self) -> None:
        self.steps = self.steps or [_new_id() for _ in self.variant.steps]


def load(key: str, recipe: Recipe) -> None:
    """Put a recipe into the editor, with fresh ids so that no slider remembers an earlier one.

    One that the visitor has put together can be had back.
    """
    before = st.session_state.get(key) or []
    if before and recipe_of(key) not in (recipe, st.session_state.get(f"{key}_loaded")):
        _removed(key, Removed("your recipe", recipe=before))
    st.session_state[f"{key}_loaded"] = recipe
    st.session_state[f"{key}_fresh"] = True
    st.session_state[key] = [Card(variant) for variant in recipe]


def follow(key: str, recipe: Recipe, default: Recipe) -> None:
    """Put a recipe (or the default, where it is empty) into the editor, unless the visitor has changed what is there.

    What was put there once is not put there again.
    """
    wanted = recipe or default
    if st.session_state.get(f"{key}_follows") == wanted and st.session_state.get(key):
        return
    if not st.session_state.get(key) or recipe_of(key) == st.session_state.get(f"{key}_loaded"):
        load(key, wanted)
        st.session_state[f"{key}_follows"] = wanted


def cards(key: str) -> list[Card]:
    """The variants that are being edited."""
    return st.session_state.setdefault(key, [])


def recipe_of(key: str) -> Recipe:
    """The recipe as it stands in the editor."""
    return tuple(card.variant for card in cards(key))


# Removing and undoing -----------------------------------------------------------------------------------------------

MAX_UNDO = 10


@dataclass(frozen=True)
class Removed:
    """Something that was taken out of a recipe: a variant, a step of one, or the whole recipe."""

    what: str
    index: int = 0
    card: Card | None = None
    step: tuple[str, Step] | None = None
    recipe: list[Card] | None = None


def _removed(key: str, gone: Removed) -> None:
    undo = st.session_state.setdefault(f"{key}_undo", [])
    undo.append(gone)
    del undo[:-MAX_UNDO]


def undo(key: str) -> None:
    """Bring back what was removed last."""
    found, now = st.session_state.get(f"{key}_undo"), cards(key)
    if not found:
        return
    gone: Removed = found.pop()
    if gone.recipe is not None:
        st.session_state[key] = gone.recipe
    elif gone.card is not None and gone.step is None:
        if gone.card not in now and len(now) < MAX_VARIANTS:
            now.insert(min(gone.index, len(now)), gone.card)
    elif gone.card is not None and gone.step is not None and len(gone.card.steps) < MAX_STEPS:
        step_id, step = gone.step
        steps, at = list(gone.card.variant.steps), min(gone.index, len(gone.card.steps))
        steps.insert(at, step)
        gone.card.steps.insert(at, step_id)
        gone.card.variant = replace(gone.card.variant, steps=tuple(steps))


# What the buttons do ------------------------------------------------------------------------------------------------

ACTIONS = {
    "rename": "Rename",
    "step": "Add a step",
    "duplicate": "Duplicate",
    "up": "Move up",
    "down": "Move down",
    "remove": "Remove",
}


def _act(key: str, card_id: str, widget: str) -> None:
    """Do what was chosen in a variant's menu."""
    index = next((i for i, card in enumerate(cards(key)) if card.id == card_id), None)
    if index is None:
        return
    card, action = cards(key)[index], st.session_state.get(widget)
    if action == "remove":
        _removed(key, Removed(card.variant.title, index, card))
    card.renaming = action == "rename"
    apply(cards(key), index, action)


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


def _rename(card: Card, widget: str) -> None:
    card.variant = replace(card.variant, name=" ".join(str(st.session_state.get(widget) or "").split())[:80])
    card.renaming = False


def renamed(name: str, before: tuple[Step, ...], after: tuple[Step, ...]) -> str:
    """The name of a variant whose steps were changed: a strength that it says follows the slider."""
    for old, new in zip(before, after, strict=False):
        for knob in old.setup.of(Number) if old.method == new.method else []:
            assert isinstance(knob, Number)
            was, now = getattr(old, knob.name), getattr(new, knob.name)
            if was != now and isinstance(was, float | int) and isinstance(now, float | int):
                said = rf"(?i)(\b{re.escape(knob.name.rstrip('_'))} ){re.escape(f'{was:g}')}(?![\d.])"
                name = re.sub(said, rf"\g<1>{now:g}", name)
    return name


def _act_step(key: str, card: Card, step_id: str, widget: str) -> None:
    """Do what was chosen in a step's menu."""
    action, index = st.session_state.get(widget), card.steps.index(step_id)
    steps = list(card.variant.steps)
    if action == "remove" and len(steps) > 1:
        step = steps.pop(index)
        card.steps.pop(index)
        _removed(key, Removed(f"the step {step.setup.title}", index, card, (step_id, step)))
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
            card.variant = _variant(key, card, bench, directions, ["step"] if single else list(ACTIONS))
    if st.session_state.pop(f"{key}_fresh", False):  # the form has filled in what the recipe left open, as a layer
        st.session_state[f"{key}_loaded"] = recipe_of(key)
    if found := st.session_state.get(f"{key}_undo"):
        st.button(
            f"Undo: bring {literal(found[-1].what, 30)} back",
            icon=":material/undo:",
            key=f"{key}_undo_button",
            on_click=undo,
            args=(key,),
            width="stretch",
        )
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
            "Edit",
            actions,
            format_func=ACTIONS.__getitem__,
            key=f"{prefix}_menu",
            on_click=_act,
            args=(key, card.id, f"{prefix}_menu"),
            type="tertiary",
        )
    if card.renaming:
        named = f"{prefix}_name"
        st.text_input("Name", variant.name, key=named, max_chars=80, on_change=_rename, args=(card, named))
    steps = [
        _step(key, f"{prefix}_{step_id}", card, step_id, step, bench, directions)
        for step_id, step in zip(card.steps, variant.steps, strict=True)
    ]
    name = renamed(variant.name, variant.steps, tuple(steps))
    return replace(variant, name=name, on=on, steps=tuple(steps))


def _step(
    key: str, prefix: str, card: Card, step_id: str, step: Step, bench: Workbench, directions: dict[str, str]
) -> Step:
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
                args=(key, card, step_id, f"{prefix}_menu"),
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
