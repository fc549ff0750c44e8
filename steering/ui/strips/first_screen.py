"""What a newcomer sees first on Compare: a sentence, a question, one slider, two answers, a drawing of what happens.

Everything else is one press away. The answers at all strengths are written together, so that the slider costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from ...interventions.knobs import NORMS
from ...recipes.doses import Dial, dials
from ...recipes.steps import Recipe, Variant
from ...showing.player import PARTS
from ..shared import presenting
from ..shared.first_look import FRESH, FULL, RECIPE
from ..steer import comparing, editor, feature_sliders
from ..widgets.basics import copy_link
from . import playable, unrolling
from .unrolling import Asked, Look

if TYPE_CHECKING:
    from ...models.model import Model
    from ...recipes.workbench import Workbench
    from ..shared.examples import CompareExample

PROMPT = "compare_prompt"
FIRST = "first"  # in the address: 1 for the first screen, with what else the address holds; 0 for everything
TOKENS = 48
LARGE = ("dial", "cards", "drawing", "tools", "parted")  # for a room: no strip of small texts


@dataclass(frozen=True)
class Story:
    """How a direction is told to somebody who has never heard of steering.

    Attributes:
        sentence: what is seen.
        push: the slider's name: what more of it means.
    """

    sentence: str
    push: str


_SAME = "Same model, same question: watch the answer turn."
ANY = Story(
    f"While this language model writes, we push its numbers a little in one direction. {_SAME}", "How hard we push"
)
FEATURE = Story(
    "While this language model writes, we turn up one of the features that were found inside it. Same model, same "
    "question: watch what it begins to write about.",
    "How active the feature is",
)
_HAPPY = Story(
    "While this language model tells a story, we push its numbers a little toward happy. Same model, same opening: "
    "watch the story turn.",
    "Push toward happy",
)
# By direction and sign.
STORIES = {
    ("pairs:general_sycophancy", -1): Story(
        "Language models tend to agree with whoever claims to know. While this one writes, we push its numbers a "
        f"little away from agreeing. {_SAME}",
        "Push away from agreeing",
    ),
    ("pairs:mood_happy", 1): _HAPPY,
    ("pairs:general_mood_happy", 1): _HAPPY,
    ("texts", 1): ANY,
}
# A word that the turned answer to an example's question has.
ANSWERS = {"the capital of Australia is Sydney": "Canberra"}


def wanted() -> bool:
    """Whether the visitor is to see the first screen: unless a link, another page or a press asked for all of it."""
    if FULL not in st.session_state:
        asked = {"recipe", PROMPT, "compare_view"} & set(st.query_params)
        st.session_state[FULL] = st.query_params.get(FIRST, "0" if asked else "1") == "0"
    return presenting.on() or not st.session_state[FULL]


def shown() -> bool:
    """Whether the page is the first screen: it needs a variant with a slider."""
    return wanted() and _first_variant(editor.recipe_of(RECIPE)) is not None


def _first_variant(recipe: Recipe) -> Variant | None:
    return next((variant for variant in recipe if variant.on and dials(variant)), None)


def start(lm: Model) -> None:
    """Fill the page in with the first example that has one slider, unless a link brought a recipe."""
    fresh = RECIPE not in st.session_state and (st.session_state.get(FRESH) or "recipe" not in st.query_params)
    comparing.start(lm)
    example = example_of(lm) if fresh and wanted() else None
    if example is not None:
        st.session_state[PROMPT] = example.prompt
        st.session_state["compare_example"] = example.name
        editor.load(RECIPE, example.recipe)


def example_of(lm: Model) -> CompareExample | None:
    """The first example whose first variant has a strength in layer norms."""
    return next((one for one in comparing.available(lm) if _has_slider(one.recipe)), None)


def _has_slider(recipe: Recipe) -> bool:
    found = dials(recipe[0]) if recipe else []
    return bool(found) and found[0].knob.unit == NORMS


def story_of(variant: Variant, dial: Dial) -> Story:
    """How the push of a variant's slider is told."""
    if dial.feature is not None:
        return FEATURE
    value = unrolling.value_of(variant, dial) or 0.0
    return STORIES.get((variant.steps[dial.step].direction, -1 if value < 0 else 1), ANY)


def answer_of(prompt: str) -> str:
    """The word to look for in the answer to an example's question; empty for other questions."""
    return next((answer for said, answer in ANSWERS.items() if said in prompt), "")


def draw(bench: Workbench) -> None:
    """Draw the first screen."""
    recipe = editor.recipe_of(RECIPE)
    variant = _first_variant(recipe)
    assert variant is not None, "shown() is asked first"
    title, tools = st.columns([2, 3], vertical_alignment="bottom")
    title.title("Compare", anchor=False)
    dial = dials(variant, feature_sliders.largest_of(bench))[0]
    story = story_of(variant, dial)
    with st.container(key="first_sentence"):
        st.markdown(story.sentence)
    prompt = _question()
    asked = Asked(prompt, variant, dial, bench.lm.has_chat_template, _tokens(), answer=answer_of(prompt))
    look = Look(
        story.push, "Without a push", "With a push of", signed=story is ANY, guess=presenting.guessing(),
        large=presenting.on(), parts=LARGE if presenting.on() else PARTS,
        idle="Press Generate: the question is answered at seven strengths at once.",
    )  # fmt: skip
    with tools, st.container(key="first_tools", horizontal=True, horizontal_alignment="right", gap="small"):
        copy_link("first_link")
        playable.download(bench, asked, look, key="first_save")
        st.button("More", icon=":material/tune:", key="first_more", on_click=show_all, help="All controls and evidence")
    if comparing.ran() and asked.prompt.strip():
        unrolling.draw(bench, asked, look, key="first_strip")
    else:
        unrolling.before(bench, asked, look, key="first_strip")
    comparing.publish(recipe)
    st.query_params[FIRST] = "1"


def _tokens() -> int:
    """How long an answer is at most: as chosen among all the controls or in the link."""
    said = str(st.session_state.get("compare_tokens") or st.query_params.get("compare_tokens", ""))
    return min(512, max(1, int(said))) if said.isdecimal() else TOKENS


def _question() -> str:
    """The question as the visitor left it, after drawing its line with the button."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="first_question"):
        text = st.text_input("Prompt", key=PROMPT, max_chars=20_000, label_visibility="collapsed", bind="query-params")
        st.button(
            "Generate", type="primary", icon=":material/play_arrow:", shortcut="Ctrl+Enter", key="compare_go",
            on_click=comparing.go,
        )  # fmt: skip
    return text or ""


def show_all() -> None:
    """From now on the page shows everything."""
    st.session_state[FULL] = True
    st.session_state[PROMPT] = st.session_state.get(PROMPT) or ""  # kept for the field that takes this one's place
    st.query_params.pop(FIRST, None)
