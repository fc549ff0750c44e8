"""From any page to Compare: open it with one step, or add the step to the recipe that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ...recipes.steps import MAX_VARIANTS, Step, Variant
from ..shared.first_look import FULL
from ..strips.panel import SEEK
from . import comparing, editor

if TYPE_CHECKING:
    from ...models.model import Model

PAGE = "pages/steer/compare.py"


def steer_with(lm: Model, *variants: Variant, seek: bool = False) -> None:
    """Open Compare with these variants as its recipe and run it; does not return.

    Args:
        seek: look for the strength of each first: where the answer turns on this model and the text still holds.
    """
    comparing.start(lm)
    editor.load(comparing.RECIPE, tuple(variants))
    comparing.go()
    st.session_state[FULL] = True
    st.session_state[SEEK] = seek
    st.switch_page(PAGE, query_params={})


def add_to_recipe(lm: Model, step: Step, name: str) -> str:
    """Put a step into Compare's recipe as a variant of its own; return a sentence on what happened."""
    comparing.start(lm)
    cards = editor.cards(comparing.RECIPE)
    if len(cards) >= MAX_VARIANTS:
        return f"The recipe already has {MAX_VARIANTS} variants. Remove one on Compare first."
    cards.append(editor.Card(Variant(name, (step,))))
    return f"{name} is now variant {len(cards)} of the recipe on Compare."
