"""What a pupil changes by hand: a prompt and a strength written live, ten coins, arrows that share a plane."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from ...lessons.lesson import Lesson
from ...lessons.pieces import CoinFlips, StripPiece
from ...statistics import wilson
from ..shared import objects as services
from ..widgets.basics import clear_errors, literal

MAX_PROMPT = 400


def own(lesson: Lesson, piece: StripPiece, key: str) -> None:
    """An own prompt at an own strength, written live: both rows join whatever else the model is writing."""
    with st.expander("Try it with your own question"):
        with st.form(f"{key}_own", border=False):
            prompt = st.text_input("Your question", piece.prompt, max_chars=MAX_PROMPT, key=f"{key}_prompt")
            low, high = min(piece.values), max(piece.values)
            strength = st.slider(
                literal(piece.label), low, high, value=piece.values[len(piece.values) // 3], key=f"{key}_strength"
            )
            sent = st.form_submit_button("Write", icon=":material/play_arrow:")
        left, right = st.columns(2)
        if not sent:
            return
        with clear_errors():
            if not prompt.strip():
                raise ValueError("The question is empty; write one.")
            _write(lesson, replace(piece, prompt=prompt.strip()), strength, (left, right), key)


def _write(lesson: Lesson, piece: StripPiece, strength: float, places: Sequence, key: str) -> None:
    from ...lessons.reading import strip_requests
    from ..steer.results import stream

    bench = services.workbench(lesson.model)
    slots = []
    for place, title in zip(places, ("No steering", f"{piece.label} {strength:g}"), strict=True):
        with place, st.container(border=True, key=f"stream_{key}_{len(slots)}_own"):
            st.markdown(f"**{literal(title)}**")
            slots.append(st.empty())
    engine = services.engine(lesson.model)
    handles = engine.submit_all(strip_requests(bench, piece, (0.0, strength)))
    stream(
        handles,
        lambda n, text: slots[n].text(text.strip()),
        lambda waited: slots[0].caption(
            f"Others are being written; yours has waited {waited:.0f} s." if waited > 1 else "Writing…"
        ),
    )


def flips(piece: CoinFlips, key: str) -> None:
    """Ten fair coins, flipped as often as one likes; how far apart ten and ten can be by luck alone."""
    kept: list[int] = st.session_state.setdefault(f"{key}_flips", [])
    with st.container(horizontal=True):
        for times in (1, 20):
            if st.button(f"Flip {piece.coins} coins{' 20 times' if times > 1 else ''}", key=f"{key}_{times}"):
                kept.extend(sum(random.random() < 0.5 for _ in range(piece.coins)) for _ in range(times))
                del kept[:-2000]
        if st.button("Start again", key=f"{key}_clear"):
            kept.clear()
    if not kept:
        return
    share = wilson(kept[-1], piece.coins)
    st.markdown(
        f"The last time: **{kept[-1]} of {piece.coins}** heads. From that alone, the true share of heads could be "
        f"anything from **{share.low:.0%} to {share.high:.0%}**. (It is 50%: the coins are fair.)"
    )
    counts = {str(heads): kept.count(heads) for heads in range(piece.coins + 1)}
    st.bar_chart(
        {"heads": list(range(piece.coins + 1)), "times": list(counts.values())}, x="heads", y="times", height=220
    )
    far = sum(abs(heads - piece.coins / 2) >= 2 for heads in kept)
    st.caption(f"{len(kept)} times {piece.coins} coins. In {far} of them heads and tails differ by four or more.")


def read_back(amounts: Sequence[float]) -> list[float]:
    """What each of three arrows, 120 degrees apart, gives back of their sum: its projection, below zero cut to zero."""
    angles = [math.radians(90 + 120 * i) for i in range(len(amounts))]
    x = sum(amount * math.cos(angle) for amount, angle in zip(amounts, angles, strict=True))
    y = sum(amount * math.sin(angle) for amount, angle in zip(amounts, angles, strict=True))
    return [max(0.0, x * math.cos(angle) + y * math.sin(angle)) for angle in angles]
