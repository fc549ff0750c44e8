"""Downloading and loading in the background: the job, how it is shown, and using what has come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ..widgets.basics import literal
from . import objects as services
from . import state
from .first_look import forget_example
from .job_cards import DOWNLOAD_STOPPED, outcome, says, stop_button

if TYPE_CHECKING:
    from ...jobs.jobs import Job

ASKED = "loading_asked"  # names of jobs that load what this visitor asked for, until it is used or dismissed
Choice = tuple[str, str]


def use_model(name: str) -> None:
    """Make a model the visitor's choice, with its own SAE and its own example on Compare."""
    if name and name != state.model_name():
        forget_example()
        state.put(state.MODEL, name)
        st.session_state[state.SAE] = ""
    leave(job_name(name))


def use_sae(model: str, release: str, sae_id: str) -> None:
    """Make an SAE, and the model that it was loaded for, the visitor's choice."""
    use_model(model)
    state.put(state.SAE, f"{release}::{sae_id}")
    leave(job_name(model, (release, sae_id)))


def is_used(model: str, choice: Choice | None = None) -> bool:
    """Whether a model, or an SAE on it, is what the visitor works with now."""
    return model == state.model_name() and (choice is None or state.sae_choice(model) == choice)


def sae_is_here(choice: Choice) -> bool:
    """Whether an SAE needs no download; true also for an SAE that does not exist, which loading reports."""
    from ...checkpoints.confined import may_open
    from ...saes.loading import bundled_saes, kept_files, registry

    release, sae_id = choice
    about = registry().get(release)
    local = release in bundled_saes() or (may_open(release) and Path(release).expanduser().is_dir())
    return local or about is None or sae_id not in about.saes_map or bool(kept_files(release, sae_id))


# Jobs -----------------------------------------------------------------------------------------------------------------


def job_name(model: str, choice: Choice | None = None) -> str:
    """The name of the job that loads a model, or an SAE for it: one at a time, for all visitors."""
    return f"Load {model}" if choice is None else f"Load {'/'.join(part for part in choice if part)} for {model}"


def find(name: str) -> Job | None:
    """The newest job of that name, or None."""
    return services.newest(name, services.transfers())


def start(model: str, choice: Choice | None = None) -> None:
    """Start downloading (if needed) and loading in the background; a job already running is returned."""
    shelf, name = services.shelf(), job_name(model, choice)

    def work(job: Job) -> tuple[str, Choice | None]:
        def tick(done: int, total: int, note: str) -> None:
            job.tick(done, total, note)

        if choice is None:
            shelf.model(model, download=True, tick=tick)
        else:
            shelf.sae(model, *choice, download=True, tick=tick)
        return model, choice

    asked = st.session_state.setdefault(ASKED, {})
    asked[name] = (model, choice)
    services.begin(services.transfers(), name, work)


def use_what_came(model: str, choice: Choice | None = None) -> None:
    """Use what this visitor asked to load here and has watched arrive; on other pages a button in the sidebar asks."""
    name = job_name(model, choice)
    job = find(name)
    if job is not None and job.state == "done" and name in st.session_state.get(ASKED, {}):
        use_model(model) if choice is None else use_sae(model, *choice)
        st.rerun()


def leave(name: str) -> None:
    """Dismiss a loading job from this visitor's sidebar."""
    st.session_state.get(ASKED, {}).pop(name, None)


def asked() -> dict[str, tuple[str, Choice | None]]:
    """What this visitor has asked to load and neither used nor dismissed yet: job name -> model and SAE."""
    return dict(st.session_state.get(ASKED, {}))


# Shown ----------------------------------------------------------------------------------------------------------------


@st.fragment(run_every=1.0)
def sidebar() -> None:
    """Draw, on every page, what this visitor has asked to load: its progress, then the button that uses it."""
    for number, (name, (model, choice)) in enumerate(asked().items()):
        job = find(name)
        if job is None:
            leave(name)
            continue
        if job.state == "done" and is_used(model, choice):  # a link named it, and it is loaded now
            leave(name)
            st.rerun()
        what = literal(choice[1] or choice[0] if choice else Path(model).name or model, 60)
        with st.container(border=True, gap="xsmall", key=f"loading_card_{number}"):
            if job.active:
                st.progress(job.fraction, text=what)
                st.caption(says(job))
                stop_button(job, "Cancel", f"loading_cancel_{job.id}")
            elif job.state == "done":
                st.markdown(f"**{what}** is loaded.")
                if st.button("Use it", key=f"loading_use_{job.id}", type="primary"):
                    use_model(model) if choice is None else use_sae(model, *choice)
                    st.rerun()
            else:
                outcome(job, DOWNLOAD_STOPPED)
                st.button("Close", key=f"loading_close_{job.id}", on_click=leave, args=(name,))
