"""The result of what is chosen on Compare: remembered, or generated now while its texts stream into their cards."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import streamlit as st

from ...recipes.building import Built, build
from ...recipes.controls import controllable, controls
from ...recipes.steps import Recipe, Variant, from_data, to_data
from ..shared import objects as services
from ..shared import readings, state
from ..shared.directions import shown_name
from ..widgets.basics import literal
from .results import PlannedRow, Run, RunRow, RunSettings, about_run, fill, plan, stream
from .step_form import without_strengths

if TYPE_CHECKING:
    from ...engine.engine import Engine
    from ...recipes.workbench import Workbench

RESULTS = "compare_results"
KEPT = 12  # results of a session that are remembered


class Slots:
    """The cards of the texts, claimed before anything streams, so that nothing on the page moves.

    A card shows what was written; the prompt is one gray line above it. Until new numbers are known `meanwhile` draws
    what stands below a text (-1 is the baseline): so nothing goes and comes back while a slider is dragged.
    """

    def __init__(
        self, variants: list[str], prompt: str, which: int, tokens: int,
        meanwhile: Callable[[int], bool] = lambda number: False,
    ) -> None:  # fmt: skip
        self.prompt, self.which, self.meanwhile = prompt, which, meanwhile
        self.note = st.empty()
        self.head, self.text, self.below = {}, {}, {}
        # Room for the text that is asked for, so that the cards keep their height while it grows.
        height = min(420, 64 + round(2.4 * tokens))
        st.html(f"<style>[class*='st-key-stream_'] {{ min-height: {height}px; }}</style>")
        grid = st.grid("auto", min_column_width=215, gap="small")
        for number, title in enumerate(["Baseline", *variants], start=-1):
            with grid.cell():
                self._card(number, title)

    def _card(self, number: int, title: str) -> None:
        kind = "baseline" if number < 0 else "steered"
        with st.container(border=True, key=f"card_{kind}_{number}", gap="small", height="stretch"):
            st.markdown(f"**{literal(title, 44)}**")
            with st.container(key=f"stream_{number}", gap="xsmall"):
                self.head[number], self.text[number] = st.empty(), st.empty()
                self.head[number].caption(literal(self.prompt, 60))
            with st.container(key=f"below_{number}", gap="xsmall"):
                self.below[number] = st.empty()
                with self.below[number].container(horizontal=True, gap="small", wrap=False, key=f"earlier_{number}"):
                    if not self.meanwhile(number):
                        st.space(80)  # a container with nothing in it would take no room

    def show(self, row: RunRow, text: str) -> None:
        """Draw a growing text in its card."""
        if row.prompt == self.which and row.kind != "control":
            self.note.empty()
            self.text[row.variant].text(text.lstrip())

    def waiting(self, seconds: float, busy: tuple[int, int]) -> None:
        """Draw what the engine is doing while this run waits for its turn."""
        if seconds > 0.4:
            running, waiting = busy
            others = (
                f"{running} texts are being written, {waiting} wait" if running or waiting else "reading the prompt"
            )
            self.note.caption(f"Waiting for the engine, {seconds:.0f} s: {others}.")


def key_of(settings: RunSettings, recipe: Recipe) -> str:
    """A key for remembering a result: settings, recipe and the loaded SAE."""
    active = to_data(tuple(variant for variant in recipe if variant.on))
    text = json.dumps([asdict(settings), active, state.sae_choice(settings.model)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def latest() -> Run | None:
    """This session's latest result, or None."""
    kept = list(st.session_state.get(RESULTS, {}).values())
    return kept[-1] if kept else None


def remembered(settings: RunSettings, recipe: Recipe) -> Run | None:
    """This session's remembered result of what is chosen, or None."""
    return st.session_state.get(RESULTS, {}).get(key_of(settings, recipe))


def jobs_of(
    settings: RunSettings, recipe: Recipe, bench: Workbench
) -> tuple[list[Variant], list[Built], list[PlannedRow]]:
    """The variants that are on, their interventions, and the rows to run.

    Raises:
        ValueError: something chosen does not fit; the message is one sentence.
    """
    active = [variant for variant in recipe if variant.on]
    built = [build(bench, variant) for variant in active]
    beside = [
        [
            Built(f"Random {seed + 1}: {one.title}", controls(bench, one.interventions, seed))
            for seed in range(settings.controls if controllable(variant) else 0)
        ]
        for variant, one in zip(active, built, strict=True)
    ]
    return active, built, plan(settings, built, beside)


def cache_checks(result: Run, bench: Workbench, prompt: int) -> list[tuple[str, float, bool]]:
    """For baseline and variants: the largest difference to decoding without a cache, and whether it is negligible."""
    _, _, jobs = jobs_of(result.settings, from_data(result.recipe), bench)
    wanted = [job for job in jobs if job.row.prompt == prompt and job.row.kind != "control"]
    engine = services.engine(result.settings.model)
    handles = [handle.result() for handle in engine.submit_all([job.request for job in wanted])]
    found = []
    for job, handle in zip(wanted, handles, strict=True):
        check = engine.check(handle)
        found.append((job.row.title, check.max_difference, check.agrees))
    return found


def ready(bench: Workbench, recipe: Recipe, controls: int, build_all: Callable[[], object]) -> bool:
    """Whether everything that a recipe needs of the model is read; else it is being read, and how far is drawn."""
    steps = [step for variant in recipe if variant.on for step in variant.active]
    key = ("ready", controls > 0, *(without_strengths(step).key for step in steps))
    names = [shown_name(source.name) for step in steps for source in step.sources
             if source.kind == "pairs"]  # fmt: skip
    what = f"Reading the pairs of {', '.join(dict.fromkeys(names))}" if names else "Reading the layers"
    return readings.value(bench, key, lambda: bool(build_all()), what) is not None


def run(settings: RunSettings, recipe: Recipe, bench: Workbench, slots: Slots) -> Run | None:
    """A new result; its texts stream into the slots while it is made. None while its directions are still being read.

    Raises:
        ValueError: something chosen does not fit; the message is one sentence.
    """
    with slots.note.container():
        if not ready(bench, recipe, settings.controls, lambda: jobs_of(settings, recipe, bench)):
            return None
    slots.note.empty()
    active, built, jobs = jobs_of(settings, recipe, bench)
    engine, began = services.engine(settings.model), time.perf_counter()
    handles = engine.submit_all([job.request for job in jobs])
    stream(handles, lambda n, text: slots.show(jobs[n].row, text), lambda waited: slots.waiting(waited, engine.busy))
    rows = [fill(job.row, handle, engine) for job, handle in zip(jobs, handles, strict=True)]
    _surprise(engine, rows)
    labels = list(dict.fromkeys(label for row in rows for label in row.projections))
    data = to_data(tuple(active))
    result = Run(settings, data, labels, rows, time.perf_counter() - began, [list(one.numbers) for one in built])
    result.about = about_run(bench.lm, bench.sae)
    kept = st.session_state.setdefault(RESULTS, {})
    kept[key_of(settings, recipe)] = result
    while len(kept) > KEPT:
        kept.pop(next(iter(kept)))
    return result


def _surprise(engine: Engine, rows: list[RunRow]) -> None:
    """Give every row the mean surprise of its text under the unsteered model; high is where text breaks."""
    written = [row for row in rows if row.tokens]
    scored = engine.score_all([(row.prompt_tokens, row.tokens, ()) for row in written])
    for row, values in zip(written, scored, strict=True):
        row.surprise = -sum(values) / len(values)
