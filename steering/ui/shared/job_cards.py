"""Cards of jobs in progress: how far a job is, about how long it takes, a button to stop it, and how it ended."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from ..widgets.basics import clear_errors, literal
from . import objects as services
from . import state

if TYPE_CHECKING:
    from ...jobs.jobs import Job


DOWNLOAD_STOPPED = "Cancelled. What has arrived is kept: the next download goes on from there."
_HASH = re.compile(r" [0-9a-f]{10}$")


def title(job: Job) -> str:
    """What a job does, as a label: its name without the hash of its settings."""
    return literal(_HASH.sub("", job.name), 60)


def says(job: Job) -> str:
    """A loading job's progress in words: bytes downloaded, then tensors read."""
    from ...checkpoints.memory import size
    from ...library.shelf import DOWNLOADING

    if job.state == "waiting":
        return "Waits for another download."
    if not job.total:
        return f"{job.note or 'Looking at the files'}{so_far(job)}"
    if job.note == DOWNLOADING:
        left = job.seconds / job.done * (job.total - job.done) if job.done else 0.0
        time = f", about {duration(left)} left" if left > 5 and job.seconds > 3 else ""
        return f"Downloading: {size(job.done)} of {size(job.total)}{time}"
    if job.done == job.total:
        return f"All {job.total} tensors are read; putting the model together{so_far(job)}"
    return f"{job.note}: {job.done} of {job.total} tensors"


def so_far(job: Job) -> str:
    """How long a job has taken until now, to go on a sentence: a step that has no count still moves."""
    return f", {job.seconds:.0f} s" if job.seconds >= 1 else "…"


def duration(seconds: float) -> str:
    """A duration for a reader: 40 s, 12 min, 3 h."""
    for unit, length in (("h", 5400), ("min", 100)):
        if seconds >= length:
            return f"{seconds / {'h': 3600, 'min': 60}[unit]:.0f} {unit}"
    return f"{max(1, seconds):.0f} s"


def stop_button(job: Job, label: str, key: str) -> None:
    """Draw the button that stops a job, or a note if the job is another visitor's."""
    if not job.may_stop(state.visitor()):
        st.caption("Started by another visitor.")
    elif job.stopping:
        st.button("Stopping…", key=key, disabled=True)
    else:
        st.button(label, key=key, on_click=services.cancel, args=(job.id,))


def show(job: Job, key: str) -> None:
    """Draw a running job's progress and its stop button; rerun the page when it has ended."""

    @st.fragment(run_every=0.5)
    def card() -> None:
        if not job.active:
            st.rerun()
        st.progress(job.fraction, text=says(job))
        with st.container(horizontal=True, vertical_alignment="center"):
            stop_button(job, "Cancel", f"{key}_cancel")
            st.caption("It goes on when you leave this page.", width="content")

    card()


def outcome(job: Job, cancelled: str = "Stopped.") -> None:
    """Draw how a job ended, if it was cancelled or failed.

    Args:
        cancelled: says what is left of one that was cancelled.
    """
    if job.state == "cancelled":
        st.info(cancelled)
    elif job.state == "failed":
        # A job's error is one sentence where the visitor can do something; anything else is ours.
        known = isinstance(job.error, ValueError)
        st.error(literal(str(job.error) if known else f"It stopped unexpectedly: {type(job.error).__name__}.", 900))


def left(job: Job) -> str:
    """A sentence on how long a job still takes at its pace so far, or has taken while it is too early to say."""
    if not 0.02 < job.fraction < 1 or job.seconds < 5:
        return f"{job.seconds:.0f} s so far. " if job.seconds >= 1 else ""
    return f"About {duration(job.seconds * (1 / job.fraction - 1))} left. "


def progress(job: Job, note: str = "What is done so far is kept when you stop it.", *, stage: bool = False) -> None:
    """Draw a running job's progress and its stop button; rerun the page when it has ended.

    Args:
        stage: say what the job is at, too, as it names it itself.
    """

    @st.fragment(run_every=0.5)
    def card() -> None:
        if not job.active:
            st.rerun()
        st.progress(job.fraction, text=title(job))
        at = f"{literal(job.note, 120)}. " if stage and job.note else ""
        st.caption(f"{at}{left(job)}It goes on when you leave this page. {note}")
        stop_button(job, "Stop", f"stop_{job.id}")

    card()


def on_demand(name: str, label: str, start: Callable[[], object], *, key: str, disabled: bool = False) -> Any | None:
    """Draw the button that starts a job, the job under way, or how it ended; return its value once it is done.

    Args:
        name: of the job; the newest of that name counts.
        start: begins it; a mistake of the visitor's (a ValueError) is shown as one sentence.
    """
    job = services.newest(name)
    if job is not None and job.active:
        progress(job, "Passes are short, so texts are written beside it.", stage=True)
        return None
    said = "Run again" if job is not None and job.state == "done" and label.startswith("Run") else label
    if st.button(said, type="primary", width="stretch", key=key, disabled=disabled):
        with clear_errors():
            start()
    if job is not None and job.state == "done":
        return job.value
    if job is not None:
        outcome(job)
    return None
