"""What a feature does, live: a slider for its value, and two lines that the model writes without and with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ...checkpoints.bundled import trained_here
from ...recipes.steps import Step
from ..shared import objects as services
from ..steer.results import stream
from ..widgets.basics import clear_errors
from ..widgets.strength import strength

if TYPE_CHECKING:
    from ...features import Feature
    from ...models.model import Model
    from ...saes.sae import Sae

TOKENS = 24
PROMPTS = {True: "Please continue: Ann went to the river with a dog.", False: "Tell me a short story."}
PLAIN = "Once upon a time"
PROMPT = "features_preview_prompt"


def prompt_of(lm: Model) -> str:
    """The prompt that a preview answers, unless the visitor has another."""
    return PROMPTS[trained_here(lm.name)] if lm.has_chat_template else PLAIN


def step_of(sae: Sae, feature: int, value: float) -> Step:
    """The step that sets a feature to a value on every token.

    A transcoder's features can be added to only: they are read at one place and written at another.
    """
    return Step("boost" if sae.is_transcoder else "clamp", features={feature: float(f"{value:.4g}")})


def draw(lm: Model, sae: Sae, feature: Feature, example: tuple[str, float] | None = None) -> float:
    """The value that the slider stands at, after drawing it with its two lines.

    Args:
        example: the prompt and the value with which somebody saw the feature do what its name says.
    """
    prompt, value = example or (prompt_of(lm), feature.maximum)
    key = f"features_strength_{feature.index}"

    @st.fragment
    def card() -> None:
        high = max(2 * feature.maximum, value, 1e-3)
        short = "Add this much" if sae.is_transcoder else "Set it to"
        st.session_state[f"{key}_now"] = set_to = strength(
            f"Feature {feature.index}, activation", value, key=key, low=0.0, high=high,
            step=float(f"{max(feature.maximum / 20, 1e-4):.1g}"), short=short,
            note=f"{feature.maximum:.3g} is the largest seen",
        )  # fmt: skip
        asked = st.text_input(
            "Prompt", prompt, key=f"{PROMPT}_{feature.index}", max_chars=2000, label_visibility="collapsed"
        )
        with clear_errors():
            _lines(lm, sae, feature.index, set_to, asked or prompt)

    card()
    return float(st.session_state.get(f"{key}_now", value))


def _lines(lm: Model, sae: Sae, feature: int, value: float, prompt: str) -> None:
    """Writes both continuations into their lines while they are made; what was made before is there at once."""
    from ...engine.requests import Request
    from ...recipes.building import make

    engine = services.engine(lm.name)
    step = make(services.workbench(lm.name), step_of(sae, feature, value))
    asked = [{"role": "user", "content": prompt}] if lm.has_chat_template else prompt
    lines = []
    for name in ("Without", "With it"):
        row = st.container(horizontal=True, gap="small", vertical_alignment="top")
        row.caption(name, width=64)
        lines.append(row.empty())
        lines[-1].text("…")
    requests = [
        Request(asked, steps, max_new_tokens=TOKENS, top_alternatives=0) for steps in ((), (step.intervention,))
    ]
    handles = engine.submit_all(requests)
    stream(handles, lambda number, text: lines[number].text(" ".join(text.split())), lambda seconds: None)
    for line, handle in zip(lines, handles, strict=True):
        line.text(" ".join(handle.text.split()) or "(nothing)")
