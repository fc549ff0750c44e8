"""From any page to Compare: open it with one step, or put the step beside what is there; and from Compare onward."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ...recipes.steps import MAX_VARIANTS, Recipe, Step, Variant
from ..chat import chatting
from ..shared import current
from ..shared.first_look import FULL
from ..strips.panel import SEEK
from . import comparing, editor

if TYPE_CHECKING:
    from ...models.model import Model

PAGE = "pages/steer/compare.py"
TOKENS, EVALUATE = "pages/explore/tokens.py", "pages/measure/evaluate.py"


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


def measure_with(*variants: Variant) -> None:
    """Open Evaluate with these variants in its own form; does not return."""
    current.note(current.prompt(), tuple(variants))  # or the form would go back to what was worked with before
    editor.load("evaluate_recipe", tuple(variants))
    st.session_state["evaluate_kind"] = "own"
    st.switch_page(EVALUATE, query_params={})


def onward(prompt: str, recipe: Recipe) -> None:
    """Draw the buttons that take the prompt and the recipe to other pages."""
    on = tuple(variant for variant in recipe if variant.on)
    with st.container(horizontal=True, gap="small", width="content", key="compare_onward"):
        if st.button("Continue in Chat", icon=":material/forum:", type="tertiary", key="compare_to_chat"):
            chatting.begin(prompt, on[:1])
            st.switch_page(chatting.PAGE, query_params={})
        if st.button("Look at the tokens", icon=":material/text_fields:", type="tertiary", key="compare_to_tokens"):
            st.session_state["tokens_text"] = prompt
            if step := current.step():
                st.session_state["tokens_direction"] = step.direction
            st.switch_page(TOKENS, query_params={})
        if st.button("Measure this", icon=":material/fact_check:", type="tertiary", key="compare_to_evaluate"):
            measure_with(*(on or (Variant(),)))
