"""Texts that come with Tiller for a model: to train dictionaries on, and for examples of what features fire on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ...checkpoints.bundled import trained_here

if TYPE_CHECKING:
    from ...models.model import Model

WORLD_TEXTS = 3_000  # of the small world, for a model that was trained on it


@st.cache_data(max_entries=4, show_spinner="Writing texts in the small world's language")
def _world(name: str, _lm: Model) -> list[str]:
    from ...small_world.stream import exchanges

    return [
        _lm.rendered([*one.messages(), {"role": "assistant", "content": one.tuned}], continue_final=True)
        for one in exchanges(WORLD_TEXTS)
    ]


def _sets() -> list[str]:
    from ...directions.pairs import bundled_pairs

    return [name for name in bundled_pairs() if name.startswith("general_")]


@st.cache_data(max_entries=8, show_spinner=False)
def _pairs(name: str, _lm: Model) -> list[str]:
    from ...directions.pairs import PairSet
    from ...saes.making.tokens import template_opening

    # What the template puts in front of every chat is no text of its own; it stands in the first only.
    front = template_opening(_lm) if _lm.has_chat_template else ""
    texts: list[str] = []
    for pairs in _sets():
        for pair in PairSet.load(pairs):
            for prompt, answer in pair.sides:
                chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
                whole = _lm.rendered(chat, continue_final=True) if _lm.has_chat_template else prompt + answer
                texts.append(whole.removeprefix(front) if texts else whole)
    return texts


def bundled_texts(lm: Model) -> list[str]:
    """Texts that come with Tiller for a model: the small world's for its own models, else the general pairs."""
    return _world(lm.name, lm) if trained_here(lm.name) else _pairs(lm.name, lm)
