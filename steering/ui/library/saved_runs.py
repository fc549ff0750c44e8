"""What the Library page does with saved runs and chats: show, replay, open again, import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ...recipes.steps import from_data
from ..chat import chatting
from ..chat import files as chat_files
from ..chat.conversation import Conversation, checked_chat, is_chat, to_data
from ..shared import objects as services
from ..shared import state
from ..steer import comparing, editor, export, running
from ..steer.bundles import MAX_BYTES, checked_run
from ..steer.results import Run, RunRow, about_run, fill, stream
from ..widgets.basics import clear_errors, literal
from .saved import COMPARE, name_and_delete, pick, when

if TYPE_CHECKING:
    from ...engine.completion import Completion
    from ...library.store import SavedRun
    from ...models.model import Model
    from ...saes.sae import Sae


def runs(search: str) -> list[SavedRun]:
    """Draw the table of runs; those that were chosen."""
    rows = services.store().runs(search)
    if not rows:
        st.info("Nothing saved matches." if search else "No run yet. Save one on Compare or Chat, or import one.")
        return []
    table = [{"Name": r.name, "Prompt": r.prompt, "Model": r.model, "Saved": when(r.created)} for r in rows]
    return [rows[i] for i in pick(table, "library_runs", several=True)]


def run_details(chosen: list[SavedRun]) -> None:
    """Draw a saved run: its texts, replay, opening it in Compare, downloads."""
    row = chosen[0]
    with clear_errors():
        data = services.store().run(row.id)
        if is_chat(data):
            _chat_details(chosen, checked_chat(data, row.name))
        else:
            _run_details(chosen, checked_run(data, row.name))


def _run_details(chosen: list[SavedRun], result: Run) -> None:
    row = chosen[0]
    st.subheader(literal(row.name), anchor=False)
    name_and_delete("runs", [one.id for one in chosen], row.id, row.name)
    with st.container(horizontal=True):
        st.button("Open in Compare", key="library_open", on_click=_open, args=(result,), icon=":material/open_in_new:")
        replay = st.button("Replay", key="library_replay", type="primary", icon=":material/replay:")
        with st.popover("Export", icon=":material/download:"):
            comparing.downloads(result, "library")
    if replay:
        bar = st.empty()

        def watch(done: int, total: int) -> None:
            bar.progress(done / total, text=f"Writing the run again: {done} of {total} texts")

        with clear_errors():
            drifts = replayed(result, watch)
            bar.empty()
            _say(drifts, other_than(result, services.model(result.settings.model), services.sae(result.settings.model)))
    for one in result.rows:
        with st.container(border=True, gap="xsmall", key=f"card_{one.kind}_{one.variant}_{one.prompt}_{one.title}"):
            st.caption(literal(one.title))
            st.text(one.text or "(nothing)")


def _open(result: Run) -> None:
    s = result.settings
    state.put(state.MODEL, s.model)
    comparing.choose_again(s)
    editor.load(comparing.RECIPE, from_data(result.recipe))
    comparing.go()
    st.session_state["library_goto"] = COMPARE


def _chat_details(chosen: list[SavedRun], talk: Conversation) -> None:
    row = chosen[0]
    st.subheader(literal(row.name), anchor=False)
    name_and_delete("runs", [one.id for one in chosen], row.id, row.name)
    with st.container(horizontal=True):
        st.button("Open in Chat", key="library_chat", on_click=_resume, args=(talk,), icon=":material/open_in_new:")
        with st.popover("Export", icon=":material/download:"):
            chat_files.downloads(talk, "library")
    for number, turn in enumerate(talk.turns):
        chatting.draw(number, turn)


def _resume(talk: Conversation) -> None:
    chatting.resume(talk)
    st.session_state["library_goto"] = chatting.PAGE


@dataclass(frozen=True)
class Drift:
    """Where a replayed row left the saved one: the first token that differs, or the first number."""

    title: str
    token: int | None
    saved: str
    now: str
    logprob: float


def replayed(result: Run, watch: Callable[[int, int], None] | None = None) -> list[Drift]:
    """The rows that came out differently now; an empty list says that the run is equal, token by token.

    Args:
        watch: told how many texts of how many are written again; without it nothing is told.

    Raises:
        ValueError: the model, an SAE or a direction of the run cannot be had any more.
    """
    from ...engine.scoring import tolerance

    s = result.settings
    services.sae(s.model)  # one that cannot be loaded is said, not left out
    _, _, jobs = running.jobs_of(s, from_data(result.recipe), services.workbench(s.model))
    engine = services.engine(s.model)
    handles: list[Completion] = engine.submit_all([job.request for job in jobs])
    if watch is not None:
        told = lambda *_: watch(sum(handle.done for handle in handles), len(handles))  # noqa: E731
        stream(handles, told, told)
    handles = [handle.result() for handle in handles]
    fresh = [fill(job.row, handle, engine) for job, handle in zip(jobs, handles, strict=True)]
    if len(fresh) != len(result.rows):
        raise ValueError(f"The saved run has {len(result.rows)} rows, the replay {len(fresh)}: its recipe was changed.")
    drifts = [
        drift(old, new, tolerance(engine.model.rounds_to, 0.0)) for old, new in zip(result.rows, fresh, strict=True)
    ]
    return [one for one in drifts if one is not None]


def drift(old: RunRow, new: RunRow, tolerated: float = 1e-3) -> Drift | None:
    """Where two rows part, or None when the tokens are the same and the log-probabilities differ by rounding."""
    worst = max((abs(a - b) for a, b in zip(old.logprobs, new.logprobs, strict=False)), default=0.0)
    for place in range(max(len(old.tokens), len(new.tokens))):
        mine, theirs = old.tokens[place : place + 1], new.tokens[place : place + 1]
        if mine != theirs:
            pieces = [row.pieces[len(row.prompt_tokens) + place :][:1] or ["(end)"] for row in (old, new)]
            return Drift(old.title, place, pieces[0][0], pieces[1][0], worst)
    return Drift(old.title, None, "", "", worst) if worst > tolerated else None


def other_than(result: Run, lm: Model, sae: Sae | None) -> list[str]:
    """What is not what a saved run was made with, a sentence each: the model's weights, the SAE, the packages.

    Of a run that an earlier version saved nothing is known, so nothing is said.
    """
    now, then = about_run(lm, sae), result.about
    found = []
    for kind in ("model", "sae"):
        old, new = then.get(kind) or {}, now.get(kind) or {}
        if old and old.get("fingerprint") != new.get("fingerprint"):
            names = [f"{one.get(kind, 'none')}{f' at {r}' if (r := one.get('revision')) else ''}" for one in (old, new)]
            what = "model" if kind == "model" else "SAE"
            same = " (same name, other weights)" if names[0] == names[1] else ""
            found.append(f"It was made with the {what} {names[0]}; this is another one, {names[1]}{same}.")
    if then and then.get("draws") != now["draws"] and any(row.kind == "control" for row in result.rows):
        found.append("Its random controls were drawn in an earlier way, so other ones are drawn now.")
    old, new = then.get("versions") or {}, now["versions"]
    changed = [f"{name} {old[name]}, now {new[name]}" for name in old if name in new and old[name] != new[name]]
    return [*found, f"Packages have changed: {'; '.join(changed)}."] if changed else found


def _say(drifts: list[Drift], other: list[str]) -> None:
    for sentence in other:
        st.warning(literal(sentence, 300))
    if not drifts:
        st.success("Equal: every row came out the same, token by token.")
        return
    if any("this is another one" in sentence for sentence in other):
        st.info(f"{len(drifts)} of the rows came out differently, as is to be expected of another model or SAE.")
    else:
        st.warning(f"Drifted: {len(drifts)} of the rows came out differently.")
    for one in drifts:
        where = "the same tokens" if one.token is None else f"token {one.token}: “{one.saved}”, now “{one.now}”"
        st.text(f"{one.title}: {where}; log-probabilities differ by up to {one.logprob:.3g}")


def import_run() -> None:
    """Draw the import of a run's JSON bundle."""
    upload = st.file_uploader("Import a run or a chat", ["json"], key="library_import_run", max_upload_size=20)
    if upload is None or st.session_state.get("library_imported_run") == upload.file_id:
        return
    with clear_errors():
        from ...jobs.reading import read_json

        name, data = Path(upload.name).stem, read_json(upload.getvalue(), upload.name, MAX_BYTES)
        if is_chat(data):
            talk = checked_chat(data, upload.name)
            services.store().save_run(to_data(talk), name, model=talk.model, prompt=talk.turns[0].user)
        else:
            result = checked_run(data, upload.name)
            bundle = export.bundle_data(result)
            services.store().save_run(bundle, name, model=result.settings.model, prompt=result.settings.prompts[0])
        st.session_state["library_imported_run"] = upload.file_id
        st.rerun()
