"""What Compare shows of a result: the cards with their tokens, and one view of the evidence below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ...interventions.knobs import Vector
from ...recipes.steps import from_data, steps_of
from ..shared import readings
from ..shared.directions import shown_name
from ..strips import panel
from ..strips.parted import parted
from ..widgets.basics import literal, terms
from . import comparing, editor, evidence, running, sending
from .results import Run, RunRow
from .running import Slots
from .step_form import thresholds

if TYPE_CHECKING:
    from ...directions.direction import Direction
    from ...recipes.sources import Source
    from ...recipes.workbench import Workbench

VIEWS = ("Along text", "Where they part", "Strengths", "Threshold", "Receipts", "Similarity", "Controls")
EXPLAIN = (
    ("Along text", "where each token points along your direction, with a band for random directions"),
    ("Where they part", "the first word that differs, what each model expected there, and the road not taken"),
    ("Strengths", "every slider unrolled: the answer at seven strengths, where it turns and where the text breaks"),
    ("Threshold", "positive pairs, negative pairs and generated tokens on one scale, with a tau you can move"),
    ("Receipts", "what was really applied: expected and measured shift, tokens touched, how often it fired"),
)


def before_first() -> None:
    """Draw what a result will show, before anything was run."""
    with st.container(border=True, gap="small", key="compare_promise"):
        st.markdown("**Generate, and see here**")
        for name, text in EXPLAIN:
            st.markdown(f"**{name}**: {text}.")


def draw(result: Run, slots: Slots, bench: Workbench) -> None:
    """Draw a result: cards, tokens and one view of the evidence."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        view = st.segmented_control(
            "Evidence", VIEWS, default=VIEWS[0], required=True, key="compare_view", bind="query-params",
            label_visibility="collapsed", wrap=True,
        )  # fmt: skip
        tint = st.selectbox(
            "Tint", list(evidence.TINTS), format_func=evidence.TINTS.__getitem__, key="compare_tint", width=160,
            bind="query-params", label_visibility="collapsed",
        )  # fmt: skip
        label = _label(result)
    _cards(result, slots, label, str(tint))
    problems(result, slots.which)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        sending.onward(result.settings.prompts[slots.which], from_data(result.recipe))
        terms("projection", "repetition", "surprise", "baseline", "receipt", "random controls", key="compare_terms")
    panels = {
        "Along text": lambda: _along(result, slots.which, label),
        "Where they part": lambda: parted(bench, result, slots.which),
        "Strengths": lambda: panel.unrolled(bench, result.settings, from_data(result.recipe), slots.which),
        "Threshold": lambda: _threshold(result, slots.which, label, bench),
        "Receipts": lambda: _receipts(result, slots.which, bench),
        "Similarity": lambda: _similarity(result, slots.which, bench),
        "Controls": lambda: _controls(result, slots.which),
    }
    panels[view or VIEWS[0]]()


def problems(result: Run, prompt: int) -> None:
    """Mark the texts whose steering did not arrive in the model, controls included, in every view."""
    for row in [*result.shown(prompt), *result.controls(prompt)]:
        for problem in row.problems:
            st.error(f"{literal(row.title)} was not steered as it says. {literal(problem, 300)}")


def _label(result: Run) -> str | None:
    """The direction that everything is shown along."""
    if len(result.labels) < 2:
        return result.labels[0] if result.labels else None
    return st.selectbox(
        "Along", result.labels, key="compare_label", width=210, bind="query-params",
        label_visibility="collapsed", format_func=lambda label: f"Along {shown_name(label)}",
    )  # fmt: skip


def _cards(result: Run, slots: Slots, label: str | None, tint: str) -> None:
    rows = result.shown(slots.which)
    scale = evidence.scale_of([*rows, *result.controls(slots.which)], label, tint)
    for row in rows:
        slots.head[row.variant].empty()  # the view of the tokens has a line of its own for the prompt
        with slots.text[row.variant], st.container(key=f"tokens_{row.variant}"):
            evidence.tokens_card(row, result, label=label, tint=tint, scale=scale, key=f"compare_tokens_{row.variant}")
        with slots.below[row.variant].container(horizontal=True, gap="small", wrap=False):
            _numbers(row, rows[0], label)


def earlier(result: Run | None, prompt: int, number: int) -> bool:
    """Draw the numbers of the latest result below a text that is being written anew; return whether there are any."""
    rows = [] if result is None else result.shown(prompt)
    row = next((row for row in rows if row.variant == number), None)
    if row is None or result is None:
        return False
    chosen = st.session_state.get("compare_label")
    _numbers(row, rows[0], chosen if chosen in result.labels else next(iter(result.labels), None))
    return True


def _numbers(row: RunRow, baseline: RunRow, label: str | None) -> None:
    for name, value, change in evidence.numbers(row, baseline, label):
        st.metric(name, value, change or None, delta_color="off", delta_arrow="off", width="content")
    if row.finish_reason not in ("length", "eos", "stop"):
        st.caption(f"Ended: {row.finish_reason}")


def _along(result: Run, prompt: int, label: str | None) -> None:
    left, right = st.columns([3, 2], gap="small")
    with left, st.container(border=True, height="stretch"):
        evidence.along(result, prompt, label)
    with right, st.container(border=True, height="stretch"):
        evidence.next_tokens(result, prompt, st.session_state.get(evidence.TOKEN))


def _similarity(result: Run, prompt: int, bench: Workbench) -> None:
    matrices = _matrices(result, bench)
    if matrices is not None:
        evidence.similarity(result, prompt, matrices)


def _threshold(result: Run, prompt: int, label: str | None, bench: Workbench) -> None:
    groups = _groups(result, bench, label)
    if groups is None:
        return
    with st.container(border=True):
        chosen = (one["tau"] for variant in result.raw for one in variant if isinstance(one.get("tau"), float))
        tau = evidence.distributions(result, prompt, label, groups, next(chosen, None))
        if tau is None:
            return
        st.caption(
            "Drag the line. What share of the positive pairs lies above it is the true positive rate, of the negative "
            "pairs and of neutral text the false positive rate; a regulator acts on the tokens above it."
        )
        regulated = any(thresholds(step) for step in steps_of(from_data(result.recipe)))
        if regulated:
            st.button(
                f"Regulate at tau {tau:.3g}",
                key="compare_use_tau",
                on_click=editor.set_tau,
                args=(comparing.RECIPE, tau),
                icon=":material/check:",
            )


def _receipts(result: Run, prompt: int, bench: Workbench) -> None:
    evidence.receipts(result, prompt)
    rows = result.shown(prompt)
    if any(row.receipts for row in rows):
        check = st.button(
            "Check against decoding without a cache",
            key="compare_check",
            help="Runs each text once more in one pass without the key-value cache and compares log-probabilities.",
        )
        if check:
            with st.spinner(f"Reading {len(rows)} texts once more, each in one pass"):
                checks = running.cache_checks(result, bench, prompt)
            for title, worst, agrees in checks:
                said = "the same" if agrees else "not the same"
                st.text(f"{title}: {said}, log-probabilities differ by at most {worst:.2g}")


def _controls(result: Run, prompt: int) -> None:
    rows = result.controls(prompt)
    if not rows:
        st.caption("No control was run. Choose one or more random controls and generate again.")
    for row in rows:
        with st.container(border=True, key=f"card_control_{row.variant}_{row.title}", gap="xsmall"):
            st.caption(literal(row.title))
            st.text(row.text or "(nothing)")


def _directions(result: Run, bench: Workbench) -> list[tuple[Direction, Source]]:
    """The recipe's directions with their sources; those that can no longer be made are left out."""
    found = []
    for step in steps_of(from_data(result.recipe)):
        for knob in step.setup.of(Vector)[:1] if step.on else []:
            assert isinstance(knob, Vector)
            try:
                found.append((bench.direction(step.source(knob)), step.source(knob)))
            except ValueError:
                continue
    return list({direction.fingerprint: (direction, source) for direction, source in found}.values())


def _groups(result: Run, bench: Workbench, label: str | None) -> dict[str, list[float]] | None:
    """Projections of the pair set behind the shown direction, and of neutral text; None while they are being read."""
    from ...engine.plan import direction_label

    for direction, source in _directions(result, bench):
        if direction_label(direction) == label:
            key = ("groups", direction.fingerprint, source.direction)
            read = lambda: bench.projections(direction, source.direction)  # noqa: B023, E731  called before the next
            groups = readings.value(bench, key, read, "Reading the pairs and neutral text")
            if groups is None:
                return None
            names = {"positive": "positive pairs", "negative": "negative pairs", "neutral": "neutral text"}
            return {names[name]: values for name, values in groups.items()}
    return {}


def _matrices(result: Run, bench: Workbench) -> dict[str, tuple[list[str], list[list[float]]]] | None:
    """Cosine matrices of the directions against each other, and of the first one's pairs across the layers.

    None while the pairs are being read.
    """
    from ...measurements.numbers import cosine_similarity

    found = _directions(result, bench)
    matrices = {}
    if len(found) > 1:
        labels = [direction.name for direction, _ in found]
        matrices["The directions against each other"] = (labels, cosine_similarity([d for d, _ in found]).tolist())
    for direction, source in found:
        if source.kind == "pairs" and direction.sae is None:
            key = ("similarity", source, direction.site.stream)
            read = lambda: bench.across_layers(source, direction.site.stream, source.read_at)  # noqa: B023, E731
            across = readings.value(bench, key, read, "Reading the pairs at every layer")
            if across is None:
                return None
            labels, made = across
            matrices[f"{direction.name}: the same pairs at every layer"] = (labels, cosine_similarity(made).tolist())
            break
    return matrices
