"""Questions of a lesson: the guess before the reveal, then the truth and the others' guesses beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ...lessons.lesson import LessonStep, Question
from ...plots import teaching
from ..widgets.basics import chart, literal
from ..widgets.theme import palette

BINS = 8  # bars of a class's guesses of a number


def guess(step: LessonStep, key: str) -> Any | None:
    """What was guessed just now, or None: the form of a step's question."""
    question = step.question
    assert question is not None
    with st.form(f"{key}_form", border=True):
        st.markdown(f"**{question.question}**")
        value = _widget(question, step, key)
        sent = st.form_submit_button("That is my guess", type="primary", icon=":material/how_to_vote:")
    if sent and value is None:
        st.caption("Choose something first.")
    return value if sent else None


def _widget(question: Question, step: LessonStep, key: str) -> Any:
    if question.kind == "choose":
        return st.radio(
            question.question,
            question.options,
            index=None,
            format_func=lambda one: literal(one, 300),
            key=f"{key}_choose",
            label_visibility="collapsed",
        )
    if question.kind == "order":
        chosen = st.multiselect(
            "In your order: the first you choose comes first", question.options, key=f"{key}_order", placeholder=""
        )
        return chosen if len(chosen) == len(question.options) else None
    if question.kind == "number":
        return st.slider(
            f"Your number{f' ({question.unit})' if question.unit else ''}",
            question.low,
            question.high,
            value=None or (question.low + question.high) / 2,
            step=_grain(question),
            key=f"{key}_number",
        )
    values = [f"{value:g}" for value in getattr(step.show, "values", ())]
    return st.select_slider("Your place on the slider", [*values, "never"], key=f"{key}_turn")


def _grain(question: Question) -> float:
    span = question.high - question.low
    return 1.0 if span >= 20 else 0.1 if span >= 2 else 0.01


def right_answer(question: Question, shown: dict[str, Any] | None) -> str | None:
    """The right answer in words, or None for a question without one."""
    if question.kind == "turn":
        if shown is None:
            return None
        at = shown.get("turns")
        return "never" if at is None else f"{shown['values'][at]:g}"
    if isinstance(question.answer, tuple):
        return " → ".join(question.answer)
    if isinstance(question.answer, float | int):
        return f"{question.answer:g}{question.unit}"
    return question.answer


def said(question: Question, value: Any) -> str:
    """A guess in words."""
    if isinstance(value, list | tuple):
        return " → ".join(map(str, value))
    return f"{value:g}{question.unit}" if isinstance(value, float | int) else str(value)


def verdict(question: Question, value: Any, shown: dict[str, Any] | None) -> None:
    """Says what was guessed and what is right, in words and not by color alone."""
    right, own = right_answer(question, shown), said(question, value)
    if right is None:
        st.info(f"You said: {literal(own, 300)}.", icon=":material/how_to_vote:")
    elif question.kind == "number":
        assert isinstance(question.answer, float | int)
        off = abs(float(value) - question.answer)
        near = off <= 0.1 * (question.high - question.low)
        st.info(
            f"You guessed {literal(own)}; it is {literal(right)}. "
            + ("Close." if near else f"That is {off:g}{question.unit} away."),
            icon=":material/check:" if near else ":material/arrow_forward:",
        )
    elif own == right:
        st.success(f"You guessed right: {literal(right, 300)}.", icon=":material/check:")
    else:
        st.info(
            f"You guessed: {literal(own, 300)}. What happens: {literal(right, 300)}.", icon=":material/arrow_forward:"
        )


def everybody(question: Question, answers: Sequence[Any], shown: dict[str, Any] | None, own: Any, key: str) -> None:
    """Draws a class's guesses as bars, with the right one marked when it is known."""
    if not answers:
        st.caption("No answers yet.")
        return
    counts = tally(question, answers, shown)
    right = right_answer(question, shown)
    if question.kind == "number" and isinstance(question.answer, float | int):
        right = _bin(question, float(question.answer))
    mine = None if own is None else _bin(question, float(own)) if question.kind == "number" else said(question, own)
    figure = teaching.guesses(counts, palette(), right=right, own=mine)
    chart(figure, title=f"{len(answers)} {'guess' if len(answers) == 1 else 'guesses'}", key=key)


def tally(question: Question, answers: Sequence[Any], shown: dict[str, Any] | None) -> dict[str, int]:
    """How many guessed what, in the order of the options; numbers in ranges."""
    if question.kind == "number":
        found = Counter(_bin(question, float(value)) for value in answers)
        width = (question.high - question.low) / BINS
        names = [_bin(question, question.low + (i + 0.5) * width) for i in range(BINS)]
    else:
        found = Counter(said(question, value) for value in answers)
        if question.kind == "choose":
            names = list(question.options)
        elif question.kind == "turn" and shown is not None:
            names = [*(f"{value:g}" for value in shown["values"]), "never"]
        else:
            names = [name for name, _ in found.most_common(8)]
    return {name: found[name] for name in names}


def _bin(question: Question, value: float) -> str:
    width = (question.high - question.low) / BINS
    at = min(BINS - 1, max(0, int((value - question.low) / width)))
    return f"{question.low + at * width:g} to {question.low + (at + 1) * width:g}{question.unit}"
