"""The pieces of a lesson on the page: texts, the strip with its slider, charts, a feature; shipped results at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from ...lessons import pieces
from ...lessons.lesson import Lesson
from ...lessons.made import key_of, made
from ...lessons.reading import read
from ...plots import charts, matrices, teaching
from ..shared import objects as services
from ..shared import readings
from ..widgets.basics import chart, clear_errors, literal
from ..widgets.theme import palette
from ..widgets.tokens import Token, token_view
from . import trying


def result(lesson: Lesson, piece: pieces.Piece) -> dict[str, Any] | None:
    """What a piece shows: shipped, or read now in the background and drawn around; None until it is there."""
    if not piece.needs_model:
        return {}
    found = made(lesson, piece)
    if found is not None:
        return found
    bench = services.workbench(lesson.model)
    key = ("lesson", key_of(piece))
    return readings.value(bench, key, lambda: read(bench, piece), f"Making this part of {lesson.title}")


def show(lesson: Lesson, piece: pieces.Piece, key: str) -> dict[str, Any] | None:
    """Draws a piece; what it shows, or None while that is being made."""
    found = None
    with clear_errors():
        found = result(lesson, piece)
        if found is not None:
            _DRAW[type(piece)](lesson, piece, found, key)
            if piece.caption:
                st.caption(piece.caption)
    return found


def _picture(lesson: Lesson, piece: pieces.Picture, _: dict, key: str) -> None:
    file = (lesson.folder / "pictures" / piece.file).resolve()
    if file.parent != (lesson.folder / "pictures").resolve() or file.suffix != ".svg" or not file.is_file():
        raise ValueError(f"A lesson's picture is an .svg file in its folder pictures; {piece.file!r} is not there.")
    svg = file.read_text(encoding="utf-8").replace("currentColor", palette().ink)
    st.image(svg, width=720, alt=piece.alt)


def card(title: str, text: str, number: int, key: str, note: str = "") -> None:
    """A text in a card: gray edge without steering (number -1), the variant's color with it."""
    kind = "baseline_-1" if number < 0 else f"steered_{number}"
    with st.container(border=True, key=f"card_{kind}_{key}", height="stretch"):
        st.markdown(f"**{literal(title)}**")
        with st.container(key=f"stream_{key}_{number}"):
            st.text(text.strip() or "(no text)")
        if note:
            st.caption(note)


def _strip(lesson: Lesson, piece: pieces.StripPiece, found: dict, key: str) -> None:
    values, turns, breaks = found["values"], found["turns"], found["breaks"]
    st.caption(literal(piece.prompt, 400))
    names = [f"{value:g}" for value in values]
    at = st.select_slider(literal(piece.label), names, value=names[0], key=f"{key}_at")
    chosen = names.index(at)
    left, right = st.columns(2)
    with left:
        card("No steering", found["texts"][0], -1, f"{key}_a")
    with right:
        notes = ["The answer has turned."] if turns is not None and chosen >= turns else []
        notes += ["The text breaks."] if breaks is not None and chosen >= breaks else []
        card(f"{piece.label} {at}", found["texts"][chosen], 0, f"{key}_b", " ".join(notes))
    marks = [
        f"{name}{' ← turns' if i == turns else ''}{' ← breaks' if i == breaks else ''}" for i, name in enumerate(names)
    ]
    with st.expander("All strengths at once"):
        st.dataframe(
            {
                literal(piece.label): marks,
                "text": [text.strip() for text in found["texts"]],
                "surprise (nats a token)": found["surprise"],
            },
            hide_index=True,
            key=f"{key}_all",
        )
        st.caption(
            "Surprise: how unlikely the model without a push finds the text, on average. It is high where text breaks."
        )
    trying.own(lesson, piece, key)


def _texts(lesson: Lesson, piece: pieces.TextsPiece, found: dict, key: str) -> None:
    for row, (prompt, texts) in enumerate(zip(piece.prompts, found["rows"], strict=True)):
        st.markdown(f"**You ask:** {literal(prompt, 400)}")
        for number, (column, name, text) in enumerate(
            zip(st.columns(len(texts)), found["names"], texts, strict=True), start=-1
        ):
            with column:
                card(name, text, number, f"{key}_{row}")


def _projections(lesson: Lesson, piece: pieces.Projections, found: dict, key: str) -> None:
    colors = palette()
    one, other = piece.names
    groups = {one: found["positive"], other: found["negative"]}
    tau = None
    if piece.threshold:
        values = [*found["positive"], *found["negative"]]
        low, high = min(values), max(values)
        tau = st.slider("The line (tau)", low, high, value=(low + high) / 2, key=f"{key}_tau")
    chart(
        charts.histogram(groups, colors, colors={one: colors.accent, other: colors.negative}, tau=tau),
        title="How far each text lies along the direction",
        key=f"{key}_chart",
    )
    if tau is not None:
        hit = sum(value > tau for value in found["positive"]) / max(1, len(found["positive"]))
        wrong = sum(value > tau for value in found["negative"]) / max(1, len(found["negative"]))
        left, right = st.columns(2)
        left.metric(f"{literal(one)} above the line (wanted)", f"{hit:.0%}")
        right.metric(f"{literal(other)} above the line (false alarms)", f"{wrong:.0%}")


def _plane(lesson: Lesson, piece: pieces.Plane, found: dict, key: str) -> None:
    groups = dict(zip(piece.names, (found["positive"], found["negative"]), strict=True))
    degrees = st.slider("Turn the arrow (degrees)", -180, 180, value=90, step=5, key=f"{key}_angle")
    chart(teaching.plane(groups, degrees, palette()), title="Every dot is one text", key=f"{key}_chart")
    share, best = teaching.told_apart(groups, degrees), teaching.told_apart(groups, 0)
    st.markdown(
        f"The line across this arrow puts **{share:.0%}** of the dots on their own side. "
        f"Half is what guessing gives; the difference of the two middles (0 degrees) gives {best:.0%}."
    )


def _random(lesson: Lesson, piece: pieces.RandomPushes, found: dict, key: str) -> None:
    figure = teaching.pushes(
        found["real"], found["random"], palette(), x="push toward the other answer (nats; 0.7 doubles the odds)"
    )
    chart(figure, title=f"The real direction beside {len(found['random'])} random ones, all equally long", key=key)
    beyond = sum(value >= found["real"] for value in found["random"])
    st.markdown(f"**{beyond}** of {len(found['random'])} random directions push at least as far as the real one.")


def _similarity(lesson: Lesson, piece: pieces.Similarity, found: dict, key: str) -> None:
    figure = matrices.heatmap(found["cosines"], found["names"], found["names"], palette())
    chart(figure, title="How alike the directions are (cosine)", key=key)


def _feature(lesson: Lesson, piece: pieces.FeatureCard, found: dict, key: str) -> None:
    peak = found["maximum"] or 1.0
    st.markdown("**The texts on which this feature fires most.** The darker a word, the more it fires there.")
    for number, example in enumerate(found["examples"]):
        tokens = [Token(text, value) for text, value in zip(example["tokens"], example["activations"], strict=True)]
        token_view(tokens, key=f"{key}_{number}", scale=peak, label=f"Example {number + 1}")
    if piece.promoted:
        st.markdown("**Words that it makes more likely:** " + ", ".join(literal(one) for one in found["promoted"]))


def _flips(lesson: Lesson, piece: pieces.CoinFlips, _: dict, key: str) -> None:
    trying.flips(piece, key)


def _superposition(lesson: Lesson, piece: pieces.Superposition, _: dict, key: str) -> None:
    amounts = [
        column.slider(f"How much of {name}", 0.0, 1.0, value=float(i == 0), step=0.05, key=f"{key}_{name}")
        for i, (column, name) in enumerate(zip(st.columns(3), "ABC", strict=True))
    ]
    chart(
        teaching.superposed(amounts, palette()), title="Three arrows in a plane of two dimensions", key=f"{key}_chart"
    )
    for column, name, was, back in zip(st.columns(3), "ABC", amounts, trying.read_back(amounts), strict=True):
        column.metric(
            f"Read back of {name}", f"{back:.2f}", f"{back - was:+.2f} against what was put in", delta_arrow="off"
        )


_DRAW: dict[type[pieces.Piece], Callable[..., None]] = {
    pieces.Picture: _picture,
    pieces.CoinFlips: _flips,
    pieces.Superposition: _superposition,
    pieces.StripPiece: _strip,
    pieces.TextsPiece: _texts,
    pieces.Projections: _projections,
    pieces.Plane: _plane,
    pieces.RandomPushes: _random,
    pieces.Similarity: _similarity,
    pieces.FeatureCard: _feature,
}
