"""Activations and scores that a page needs: computed in the background when the visitor asks, kept on the workbench.

Opening a page computes nothing. What takes longer than QUICK has a progress bar and a stop button, and goes on when
the visitor leaves the page; meanwhile the rest of the page is drawn without it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from ..widgets.basics import literal
from . import job_cards, state
from . import objects as services

if TYPE_CHECKING:
    from ...jobs.jobs import Job
    from ...recipes.workbench import Workbench

T = TypeVar("T")
QUICK = 0.5  # seconds that a page waits before it draws a progress bar


TEXT = 50  # tokens of a text of a pair with what a chat template adds, about


def asked(bench: Workbench, page: str, label: str, cost: str, texts: int) -> bool:
    """Draw the button that lets this page read texts with the model; return whether it was pressed.

    Once pressed, other choices on the page are read without asking again; the link of the page keeps it.

    Args:
        cost: what will be read, in a sentence; about how long it takes here is added.
        texts: how many texts that is.
    """
    key = f"{page}_asked"
    if key not in st.session_state:
        st.session_state[key] = state.model_name() if st.query_params.get(key) == "1" else ""
    here = st.session_state[key] == state.model_name()
    if not here:
        with st.container(border=True, key=f"{page}_ask"):
            st.button(label, type="primary", icon=":material/play_arrow:", key=f"{page}_go", on_click=_ask, args=(key,))
            times = about(bench, TEXT * texts)
            st.caption(literal(cost, 400) + (f" About {times[0]} here." if times else ""))
    elif st.query_params.get(key) != "1":
        st.query_params[key] = "1"
    return here


def _ask(key: str) -> None:
    st.session_state[key] = state.model_name()


def value(bench: Workbench, key: Hashable, make: Callable[[], T], what: str) -> T | None:
    """The result of `make`, kept on the workbench under a key; while it is computed, draw the progress and return None.

    Args:
        make: reads the model; it is called in a thread and draws nothing.
        what: what is done, for a reader: "Reading 40 pairs".

    Raises:
        ValueError: it cannot be made; the message is one sentence.
    """
    found = bench.find(key)
    if found is not None:
        return found
    name = f"{what} {hashlib.sha256(repr((bench.lm.fingerprint, key)).encode()).hexdigest()[:10]}"
    job = services.newest(name, services.readings())
    if job is None or _again(job):
        job = services.start(name, _work(bench, key, make), services.readings())
    end = time.monotonic() + QUICK
    while job.active and time.monotonic() < end:
        st.session_state.get("_")  # lets Streamlit end this run here when the visitor has changed something
        time.sleep(0.01)
    if job.state == "failed" and isinstance(job.error, ValueError):
        raise ValueError(str(job.error))
    if job.state in ("failed", "cancelled"):
        _over(job)
        return None
    if job.state == "done":
        return bench.kept(key, make)
    job_cards.progress(job, "What is read is kept.")
    return None


def about(bench: Workbench, *tokens: float) -> list[str] | None:
    """About how long the model takes here to read so many tokens, each in words; None while it is being timed.

    Every long measurement says so before it starts.
    """
    from ...measurements.pace import seconds_per_token

    pace = value(bench, ("pace",), lambda: seconds_per_token(bench.lm), "Timing the model")
    return None if pace is None else [job_cards.duration(pace * count) for count in tokens]


def ahead(bench: Workbench) -> None:
    """Read the typical norms in the background before they are asked for: every strength is in units of them."""
    key = ("norms read",)
    if bench.find(("norms",)) is not None:
        return
    name = f"Measuring the layers {hashlib.sha256(repr((bench.lm.fingerprint, key)).encode()).hexdigest()[:10]}"
    if services.newest(name, services.readings()) is None:
        site = bench.site_of(None, bench.lm.streams[-1])
        services.start(name, _work(bench, key, lambda: bench.typical_norm(site)), services.readings())


def _work(bench: Workbench, key: Hashable, make: Callable[[], Any]) -> Callable[[Job], None]:
    def work(job: Job) -> None:
        from ...jobs.watching import watched

        def watch(done: int, total: int) -> None:
            job.tick(done, total)

        with watched(watch):
            bench.kept(key, make)

    return work


AGAIN = "readings_again"


def _again(job: Job) -> bool:
    """Whether a finished reading has to be repeated: its result is no longer kept, or the visitor asks for it."""
    return job.state == "done" or (not job.active and st.session_state.pop(AGAIN, None) == job.id)


def _ask_again(job_id: str) -> None:
    st.session_state[AGAIN] = job_id


def _over(job: Job) -> None:
    with st.container(border=True):
        if job.state == "cancelled":
            st.caption("Stopped. Nothing was kept of it.")
        else:
            st.error(f"It stopped unexpectedly: {literal(type(job.error).__name__)}.")
        st.button("Read it", key=f"again_{job.id}", icon=":material/replay:", on_click=_ask_again, args=(job.id,))
