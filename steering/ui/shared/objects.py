"""The objects that all visitors share, each loaded once: the shelf of models, the workbench, the jobs, the Library.

A page asks for its workbench once and hands it on: it holds the model, the SAE, the engine, and what was made of them.
Cached functions live in this importable module, never on a page: page files are executed again in every run.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from ..widgets.basics import literal
from . import state

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from ...engine.engine import Engine
    from ...jobs.jobs import Job, Jobs
    from ...library.shelf import Shelf
    from ...library.store import Store
    from ...models.model import Model
    from ...recipes.workbench import Workbench
    from ...saes.sae import Sae


@st.cache_resource(show_spinner="Starting Tiller: reading in torch and the model libraries, once per server")
def warm() -> bool:
    """True once the heavy libraries are imported.

    What they leave in memory is then exempt from garbage collection, which would take a third of a second to walk it.
    Only imports are frozen: a frozen model's reference cycles would never be collected.
    """
    from ...library import shelf  # noqa: F401

    gc.collect()
    gc.freeze()
    return True


def _close(shelf: Shelf) -> None:
    shelf.close()


@st.cache_resource(on_release=_close, show_spinner=False)
def shelf() -> Shelf:
    """The loaded models, engines and SAEs of this server, within its memory (or within TILLER_MEMORY_GB)."""
    from ...library.shelf import Shelf

    limit = os.environ.get("TILLER_MEMORY_GB", "")
    try:
        return Shelf(int(float(limit) * 2**30) if limit else None)
    except ValueError as error:
        raise ValueError(f"TILLER_MEMORY_GB is a number of gigabytes; got {limit!r}.") from error


def model(name: str | None = None, shown: DeltaGenerator | None = None) -> Model:
    """The model of that name (by default the visitor's choice), loaded once for all visitors; never downloaded here.

    Args:
        shown: a place that says how far the loading is.

    Raises:
        ValueError: it cannot be loaded; the message is one sentence to show.
    """
    warm()
    name = name or state.model_name()
    if state.must_be_asked(name):
        raise ValueError(f"{name} is not on this machine. Download it on the page Models.")
    if shelf().has(name):
        return shelf().model(name)
    what = f"Loading the model {literal(name)}"
    if shown is None:
        with st.spinner(what):
            return shelf().model(name)
    bar = shown.progress(0.0, text=what)

    def tick(done: int, total: int, note: str) -> None:
        bar.progress(min(1.0, done / total) if total else 0.0, text=f"{what}. {note}: {done} of {total}")

    try:
        return shelf().model(name, tick=tick)
    finally:
        shown.empty()


def is_loaded() -> bool:
    """Whether the visitor's model is loaded."""
    try:
        return shelf().has(state.model_name())
    except ValueError:  # the shelf cannot be made; whoever needs it says so
        return False


def engine(name: str | None = None) -> Engine:
    """The engine of that model: the one thread that runs it, shared by all visitors."""
    model(name)
    return shelf().engine(name or state.model_name())


def sae(name: str | None = None, choice: tuple[str, str] | None = None) -> Sae | None:
    """The SAE that the visitor chose (or the one named) for that model, or None where there is none.

    Raises:
        ValueError: it is not on this machine, cannot be read or does not fit the model.
    """
    name = name or state.model_name()
    model(name)
    choice = choice or state.sae_choice(name)
    return None if choice is None else shelf().sae(name, *choice)


def workbench(name: str | None = None) -> Workbench:
    """The workbench of that model (by default the visitor's) and the visitor's SAE, if that can be loaded.

    Raises:
        ValueError: the model cannot be loaded.
    """
    name = name or state.model_name()
    model(name)
    found = maybe_sae(name)
    return shelf().workbench(name, None if found is None else state.sae_choice(name), store())


@st.cache_resource(show_spinner=False)
def jobs() -> Jobs:
    """The background jobs of this server."""
    from ...jobs.jobs import Jobs

    return Jobs()


@st.cache_resource(show_spinner=False)
def readings() -> Jobs:
    """The jobs that read what a page is about to show, in threads of their own so that none waits for a measurement."""
    from ...jobs.jobs import Jobs

    return Jobs(workers=8)  # they wait for the model more than they work, and a class asks all at once


@st.cache_resource(show_spinner=False)
def transfers() -> Jobs:
    """The jobs that download and load, in threads of their own so that none waits for a long measurement."""
    from ...jobs.jobs import Jobs

    return Jobs(workers=2)


def begin(where: Jobs, name: str, work: Callable[[Job], Any]) -> Job:
    """Start a background job of this visitor, or return a running one of that name, whoever started it."""
    job = newest(name, where)
    return job if job is not None and job.active else where.start(name, work, owner=state.visitor())


def start(name: str, work: Callable[[Job], Any], where: Jobs | None = None) -> Job:
    """Begin a job on the visitor's model, which is not unloaded while the job is under way."""
    job = begin(where or jobs(), name, work)
    shelf().use(state.model_name(), lambda: job.active)
    return job


def newest(name: str, where: Jobs | None = None) -> Job | None:
    """The newest job of that name, or None."""
    return next((job for job in (where or jobs()).all() if job.name == name), None)


def job_of(job_id: str) -> Job | None:
    """The job with that id among all that this server does."""
    return jobs().get(job_id) or readings().get(job_id) or transfers().get(job_id)


def cancel(job_id: str) -> None:
    """Stop a job, if it is the visitor's own (a callback; buttons carry ids, never objects)."""
    job = job_of(job_id)
    if job is not None and job.may_stop(state.visitor()):
        job.cancel()


@st.cache_resource(show_spinner=False)
def store() -> Store:
    """The saved directions and runs (TILLER_HOME, by default in the user's data directory)."""
    from ...library.store import Store

    return Store()


def require_model() -> Model:
    """The visitor's model; if it cannot be loaded, draw one sentence and stop the page."""
    try:
        return model()
    except ValueError as error:
        st.error(literal(str(error), 600))
        st.page_link(state.MODELS_PAGE, label="Choose or download a model", icon=":material/deployed_code:")
        st.stop()


def require_workbench() -> Workbench:
    """The visitor's workbench; if the model cannot be loaded, draw one sentence and stop the page."""
    require_model()
    return workbench()


def require_sae() -> Sae:
    """The visitor's SAE; if there is none, draw what to do about it and stop the page."""
    try:
        found = sae()
    except ValueError as error:
        st.error(literal(str(error), 600))
        st.stop()
    if found is None:
        st.info(
            f"This page needs a sparse autoencoder (SAE), and none is loaded for {state.model_name()}. "
            "Choose one in the sidebar, or find one among all that are published."
        )
        st.page_link(state.MODELS_PAGE, label="Find an SAE", icon=":material/deployed_code:")
        st.stop()
    return found


def maybe_sae(name: str | None = None) -> Sae | None:
    """The visitor's SAE or None; an SAE that cannot be loaded counts as none (the sidebar says why)."""
    try:
        return sae(name)
    except ValueError:
        return None
