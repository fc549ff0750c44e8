"""Library / Models: a table of models, and a card of the selected one: memory, dtype, loading, use."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ..shared import job_cards, loading, state
from ..shared import objects as services
from ..widgets.basics import literal
from . import knowing, machine

if TYPE_CHECKING:
    from ...checkpoints.memory import Shape
    from ...library.catalogue import ModelEntry

PICKED = "models_picked"  # the selected model: a bundled name, a folder or a hub id
VIEW = "models_view"
VIEWS = {"models": "Models", "saes": "All SAEs", "folder": "A folder"}


@dataclass(frozen=True)
class ModelOption:
    """A model that can be chosen: where it is, and what is known of it before it is read."""

    source: str
    here: str = ""  # "bundled", "downloaded", "folder", "file" (GGUF), or empty
    shape: Shape | None = None
    stored: str = ""
    chat: bool | None = None  # whether it has a chat template, where that is known
    entry: ModelEntry | None = None
    about: dict[str, str] = field(default_factory=dict)  # what a GGUF file says: name, quantization, license


def candidate(source: str) -> ModelOption:
    """What is known of a model from its name and its files on this machine; makes no network request."""
    from ...library.catalogue import MODELS

    entry = next((one for one in MODELS if one.hub_id == source), None)
    here, folder = _place(source)
    if folder is None:
        return ModelOption(source, here, entry.shape if entry else None, "", entry and entry.chat, entry)
    from ...checkpoints.folders import look

    found = look(folder)
    chat = found.chat if found.kind == "model" else entry and entry.chat
    shape = found.shape or (entry.shape if entry else None)
    return ModelOption(source, here, shape, found.stored, chat, entry, found.about)


def _place(source: str) -> tuple[str, Path | None]:
    """Where a model is on this machine ("bundled", "downloaded", ...; empty if nowhere), and its folder."""
    from ...checkpoints.bundled import bundled_place
    from ...checkpoints.confined import may_open
    from ...checkpoints.downloads import kept
    from ...checkpoints.gguf_places import OLLAMA, ollama_file

    if (bundled := bundled_place(source)) is not None:
        return "bundled", bundled
    if source.startswith(OLLAMA):
        return "file", ollama_file(source)
    if may_open(source) and (path := Path(source).expanduser()).exists():
        return "file" if path.is_file() else "folder", path
    found = kept(source) if "/" in source else None
    return ("downloaded", found.folder) if found else ("", None)


def sources() -> list[str]:
    """The models of the table: bundled, in other programs' GGUF files, recommended, downloaded before."""
    from ...checkpoints.downloads import kept, kept_repositories
    from ...checkpoints.gguf_places import found_files
    from ...library.catalogue import MODELS

    known = [entry.hub_id for entry in MODELS]
    others = [repo for repo in kept_repositories() if repo not in known and kept(repo) is not None]
    files = [place.source for place in found_files()]
    return [*state.bundled_models(), *files, *known, *others]


# The table ------------------------------------------------------------------------------------------------------------


def choose() -> str:
    """Draw the table of models and the field for any other; return the selected model."""
    listed, room = sources(), services.shelf().room(machine.devices()[0])
    rows = [_row(candidate(source), room) for source in listed]
    key = "models_table"
    st.dataframe(
        rows, key=key, hide_index=True, on_select=lambda: _picked(key, listed), selection_mode="single-row", height=330,
        row_height=32, column_config={"Model": st.column_config.TextColumn(width=230)},
    )  # fmt: skip
    st.text_input(
        "Any other model of the hub", key="models_other", placeholder="owner/name", on_change=_other,
        help="Whatever TransformerLens has an adapter for. Nothing is asked until you press Download.",
    )  # fmt: skip
    return looked_at()


def looked_at() -> str:
    """The selected model; at first the one in use."""
    from ...checkpoints.forms import Form

    return state.shared(PICKED) or Form.parse(state.model_name()).source


def look_at(source: str) -> None:
    """Select a model (a callback)."""
    state.put(PICKED, source)
    st.session_state[VIEW] = "models"


def _picked(key: str, listed: list[str]) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    if rows and rows[0] < len(listed):
        state.put(PICKED, listed[rows[0]])
        st.session_state["models_other"] = ""


def _other() -> None:
    if name := st.session_state["models_other"].strip():
        state.put(PICKED, name)


def _row(one: ModelOption, room: int) -> dict[str, Any]:
    entry = one.entry
    sizes = {name: machine.fits(one.shape, name, room) if one.shape else "unknown" for name in _columns()}
    return {
        "Model": one.source,
        "Here": one.here or "to download",
        "Parameters": _count(one.shape.parameters) if one.shape else "",
        **sizes,
        "Access": "gated" if entry and entry.gated else "open",
        "Chat": {None: "", True: "chat", False: "text"}[one.chat],
        "License": one.about.get("license") or (entry.license if entry else ""),
        "Note": _note(one),
    }


def _note(one: ModelOption) -> str:
    if one.about:
        return f"{one.about['name']}, {one.about['quantization']}, in a GGUF file"
    return one.entry.note if one.entry else "Comes with Tiller" if one.here == "bundled" else ""


def _columns() -> list[str]:
    return ["float32", "bfloat16", *(["8-bit", "4-bit"] if machine.quantizes() else [])]


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} B" if number >= 995e6 else f"{number / 1e6:.3g} M"


# The selected one -----------------------------------------------------------------------------------------------------


def card(source: str) -> None:
    """Draw everything about one model: what it is, what it needs, and the button for the next step."""
    one = candidate(source)
    with st.container(border=True, key="card_model"):
        st.text(source)
        st.caption(_about(one))
        form = machine.choose_form(source, one.stored)
        name = str(form)
        problem = _problem(one, form)
        _next_step(one, name, problem)


def _about(one: ModelOption) -> str:
    parts = []
    if one.shape:
        parts.append(f"{_count(one.shape.parameters)} parameters in {one.shape.n_layers} layers")
    if one.chat is not None:
        parts.append("with a chat template" if one.chat else "a base model, no chat template")
    if one.about:
        parts.append(f"{literal(one.about['name'])}, stored as {literal(one.about['quantization'])}")
    if license_ := one.about.get("license") or (one.entry.license if one.entry else ""):
        parts.append(f"license {literal(license_)}")
    places = {
        "bundled": "comes with Tiller",
        "file": "a file of this machine",
        "folder": "a folder of this machine",
        "downloaded": "downloaded before",
    }
    parts.append(places.get(one.here, "not on this machine yet"))
    return " · ".join(parts)


def _problem(one: ModelOption, form: Any) -> str:
    """Draw what a model needs; return why it cannot be loaded, or an empty text."""
    from ...checkpoints.memory import check_fits, size

    place = form.device or machine.devices()[0]
    room = services.shelf().room(place)
    if one.shape is None:
        if one.here:
            return _sentence(one.source)
        st.caption(f"How much memory it needs is known when its files are; a model may take {size(room)} here.")
        return ""
    counted = machine.counted(form, one.stored)
    try:
        needed = check_fits(one.source, one.shape, counted, place, free=room)
    except ValueError as error:
        return str(error)
    st.caption(f"Needs about {size(needed)} of memory as {counted}; it may take {size(room)} here, so it fits.")
    return ""


def _sentence(source: str) -> str:
    from ...checkpoints.folders import look

    _, folder = _place(source)
    return look(folder).sentence if folder else ""


def _next_step(one: ModelOption, name: str, problem: str) -> None:
    loading.use_what_came(name)
    job = loading.find(loading.job_name(name))
    if job is not None and job.active:
        job_cards.show(job, "models_job")
        return
    if job is not None:
        job_cards.outcome(job, job_cards.DOWNLOAD_STOPPED)
    if problem:
        st.error(literal(problem, 600))
    blocked = bool(problem) or (not one.here and _says_why_not(one))
    if loading.is_used(name):
        st.badge("You are using this model", icon=":material/check:", color="green")
    elif services.shelf().has(name):
        st.button(
            "Use this model", type="primary", key="models_use", on_click=loading.use_model, args=(name,),
            icon=":material/check:",
        )  # fmt: skip
    if services.shelf().has(name):
        knowing.card(name)
    elif not loading.is_used(name):
        st.button(
            "Load and use" if one.here else "Download and use", type="primary", key="models_load", disabled=blocked,
            icon=":material/memory:" if one.here else ":material/download:", on_click=loading.start, args=(name,),
        )  # fmt: skip


def _says_why_not(one: ModelOption) -> bool:
    """Draw what a download lacks (an accepted license, a token, the network); return whether it cannot be tried."""
    from huggingface_hub import constants, get_token

    if constants.is_offline_mode():
        st.info("Offline mode is on (HF_HUB_OFFLINE), so nothing can be downloaded. Unset it and start Tiller again.")
        return True
    if one.entry is not None and one.entry.gated and not get_token():
        st.info(
            f"This model is gated. Accept its license on its page at the hub ({literal(one.source)}), make a token "
            "with read access in your account's settings, and start Tiller with HF_TOKEN set, or run: hf auth login."
        )
    return False
