"""What the visitor works with now: one prompt and one recipe, which every page begins with.

Compare says what they are. Another page's field follows them until the visitor puts something of their own there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from ...interventions.knobs import Vector
from ...recipes.steps import Recipe, Step, from_data, steps_of, to_data
from . import state

NOW = "current_work"
FOLLOWED = "current_followed"  # what a field was given, by the field's key


def note(prompt: str, recipe: Recipe) -> None:
    """Remember the prompt and the recipe that Compare has."""
    st.session_state[NOW] = {"model": state.model_name(), "prompt": prompt, "recipe": to_data(recipe)}


def _now() -> dict[str, Any]:
    found = st.session_state.get(NOW) or {}
    return found if found.get("model") == state.model_name() else {}


def prompt() -> str:
    """The prompt that the visitor works with on this model; "" before there is one."""
    return str(_now().get("prompt", ""))


def recipe() -> Recipe:
    """The variants that are on."""
    return tuple(variant for variant in from_data(_now().get("recipe", [])) if variant.on)


def step() -> Step | None:
    """The first step with a direction that can be chosen on other pages: of a pair set or of the Library."""
    for one in steps_of(recipe()):
        if one.on and one.setup.of(Vector) and one.direction.partition(":")[0] in ("pairs", "saved"):
            return one
    return None


def follow(key: str, value: Any, default: Any, among: Sequence[Any] | None = None) -> None:
    """Give a field what the visitor works with now, or its default, unless it holds a choice of their own.

    Args:
        key: of the field's widget, which is drawn without a value of its own.
        value: what the visitor works with; None or "" where that says nothing about this field.
        among: what the field can hold.
    """
    given = st.session_state.setdefault(FOLLOWED, {})
    wanted = default if value in (None, "") or (among is not None and value not in among) else value
    untouched = key in st.session_state and given.get(key, _NEVER) == st.session_state[key]
    if key not in st.session_state and key in st.query_params:
        given.pop(key, None)  # the link says what it holds
    elif key not in st.session_state or (untouched and wanted != st.session_state[key]):
        st.session_state[key] = given[key] = wanted


_NEVER = object()
