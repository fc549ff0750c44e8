"""Unrolled sliders on Compare: the strip of any slider of any variant, and the strength that it proposes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ...plots.strips import strip_costs
from ...recipes.doses import Dial, dials
from ...recipes.steps import Recipe, Variant
from ...showing.glossary import explain
from ...showing.player import said
from ..shared.first_look import RECIPE
from ..steer import editor, feature_sliders
from ..widgets import theme
from ..widgets.basics import chart, literal
from . import unrolling
from .unrolling import Asked, Look

if TYPE_CHECKING:
    from ...measurements.dose_strip import DoseStrip
    from ...recipes.workbench import Workbench
    from ..steer.results import RunSettings

KEY = "compare_strip"
SEEK = "compare_seek"  # whether strengths are looked for, of variants that another page has just sent


def asked_of(settings: RunSettings, variant: Variant, dial: Dial, which: int = 0, answer: str = "") -> Asked:
    """The strip of a slider with the settings of a run."""
    return Asked(
        settings.prompts[which], variant, dial, settings.chat, settings.max_new_tokens, settings.temperature,
        settings.top_p, settings.seed, settings.steer_bos, answer,
    )  # fmt: skip


def unrolled(bench: Workbench, settings: RunSettings, recipe: Recipe, which: int) -> None:
    """Draw the strip of the slider that the visitor chooses."""
    seen = feature_sliders.largest_of(bench)
    found = [(variant, dial) for variant in recipe if variant.on for dial in dials(variant, seen)]
    if not found:
        st.caption("No variant has a slider that could be unrolled.")
        return
    left, right = st.columns([3, 2], gap="small")
    place = 0
    if len(found) > 1:
        place = left.selectbox(
            "Slider", range(len(found)), format_func=lambda k: f"{found[k][0].title}: {found[k][1].knob.label}",
            key=f"{KEY}_slider",
        )  # fmt: skip
    answer = right.text_input(
        "A word to look for", key=f"{KEY}_answer", max_chars=60, placeholder="optional, such as Canberra",
        help="The answer counts as turned where it has this word and the baseline's has not. Without one: where its "
        "first sentence has other words.",
    )  # fmt: skip
    variant, dial = found[min(place, len(found) - 1)]
    asked = asked_of(settings, variant, dial, which, (answer or "").strip())
    unrolling.draw(bench, asked, Look(can=("use", "road"), steered=f"{variant.title[:40]} at"), key=KEY)
    strip = unrolling.find(bench, asked)
    if strip is not None:
        st.session_state[f"{KEY}_of"] = (recipe.index(variant), asked)
        chart(
            strip_costs(
                [said(dose.strength, unrolling.from_zero(asked, strip)) for dose in strip.doses],
                [dose.surprise for dose in strip.doses], [dose.repetition for dose in strip.doses], theme.palette(),
                turn=strip.turn, breaks=strip.breaks,
            ),
            title="What the text pays", key=f"{KEY}_costs",
            caption=f"{literal(strip.said(), 200)} Surprise: {explain('surprise')} Repetition: "
            f"{explain('repetition')}",
        )  # fmt: skip


def take(bench: Workbench, recipe: Recipe) -> None:
    """Set the slider of a strip to the strength that was just pressed there, and shades where the strip says it works.

    Called before the editor is drawn.
    """
    strength = st.session_state.pop(f"{KEY}_strength", None)
    place, asked = st.session_state.get(f"{KEY}_of", (0, None))
    on = [number for number, variant in enumerate(recipe) if variant.on]
    if asked is None or place >= len(on):
        return
    seen = feature_sliders.largest_of(bench)
    dial = next((dial for dial in dials(recipe[on[place]], seen) if dial.key == asked.dial.key), None)
    strip = unrolling.find(bench, asked)
    if dial is None:
        return
    if strength is not None:
        editor.set_dial(RECIPE, on[place], dial, strength)
    if strip is not None:
        _shade(on[place], dial, strip)


def _shade(number: int, dial: Dial, strip: DoseStrip) -> None:
    found = [strip.doses[k].strength for k in strip.good]
    values = [strength for strength in found if strength is not None]
    if values:
        editor.set_band(RECIPE, number, dial, (min(values), max(values)))


def seek(bench: Workbench, settings: RunSettings, recipe: Recipe) -> bool:
    """Whether the strengths of variants sent from another page are still being looked for, after drawing how far it is.

    A direction's good strength depends on the model: the strip finds where the answer turns and the text still holds.
    """
    if not st.session_state.get(SEEK):
        return False
    found = [(n, variant, dials(variant)[0]) for n, variant in enumerate(recipe) if variant.on and dials(variant)]
    asked = {n: asked_of(settings, variant, dial) for n, variant, dial in found}
    waits = False
    for n, _, dial in found:
        strip = unrolling.find(bench, asked[n])
        if strip is not None:
            strength = strip.doses[strip.best].strength
            if strength is not None and unrolling.value_of(recipe[n], dial) != strength:
                editor.set_dial(RECIPE, n, dial, strength)
            _shade(n, dial, strip)
        elif unrolling.begin(bench, asked[n]).active:
            waits = True
    if not waits:
        st.session_state.pop(SEEK)
        st.rerun()
    st.caption("Finding the strength at which the answer turns and the text still holds, on this model and question.")
    number = next(n for n, _, _ in found if unrolling.find(bench, asked[n]) is None)
    unrolling.draw(bench, asked[number], Look(parts=("dial", "film"), can=()), key=f"{KEY}_seek_{number}")
    if unrolling.find(bench, asked[number]) is not None:  # it was quick: no look at it follows that would go on
        st.rerun()
    return True
