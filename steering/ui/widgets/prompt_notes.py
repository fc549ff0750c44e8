"""What a model leaves out of a prompt: a special token pasted twice, an end token that its tokenizer appends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from .basics import literal

if TYPE_CHECKING:
    from ...models.model import Model, Prompt


def show(lm: Model, prompts: Sequence[Prompt]) -> None:
    """Draw what is left out of some prompts, each note once; nothing where every prompt is read as it stands."""
    for note in dict.fromkeys(note for prompt in prompts if prompt and (note := lm.note(prompt))):
        st.caption(f":material/info: {literal(note, 300)}")
