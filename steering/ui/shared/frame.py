"""The sidebar: which model and SAE are loaded, where, how large, what the engine does, and the picker for others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ..widgets import prompt_notes, theme
from ..widgets.basics import literal
from . import loading, state
from . import objects as services
from .job_cards import stop_button, title

if TYPE_CHECKING:
    from ...jobs.jobs import Job
    from ...models.model import Model

SOURCES = {"bundled": "Bundled", "folder": "Folder", "hub": "Hub"}


def logo(assets: Path) -> None:
    """Draw the wordmark of the visitor's theme and adds the styles."""
    name = "logo-dark.svg" if theme.is_dark() else "logo-light.svg"
    st.logo(str(assets / name), size="large", icon_image=str(assets / "icon.svg"))
    theme.style()


def sidebar() -> None:
    """Draw the model card. A model that cannot be loaded is reported here in one sentence, and the page still runs."""
    state.publish(state.MODEL, state.DEFAULT_MODEL)
    state.publish(state.SAE)
    services.warm()
    # The page itself says how far a model is that is still being loaded: without it there is nothing to draw.
    shown = None if services.is_loaded() else st.empty()
    with st.sidebar, st.container(border=True, key="model_card", gap="xsmall"):
        problem = None
        try:
            lm = services.model(shown=shown)
            _card(lm)
        except ValueError as error:
            problem = str(error)
            st.markdown("**No model**")
            st.error(literal(problem, 600))
        _pickers()
        st.page_link(state.MODELS_PAGE, label="All models and SAEs", icon=":material/deployed_code:")
    if loading.asked():
        with st.sidebar:
            loading.sidebar()
    jobs_line()


def _card(lm: Model) -> None:
    st.text(short_name(lm.name), help=lm.name if lm.name != short_name(lm.name) else None)
    chat = "chat template" if lm.has_chat_template else "no chat template"
    place = f"{str(lm.device).upper()}, {str(lm.dtype).removeprefix('torch.')}"
    place += ", products in bfloat16" if lm.products == "bfloat16" else ""
    st.caption(
        f"{lm.n_layers} layers · {lm.d_model} wide · {count(lm.n_parameters)} parameters · "
        f"{lm.n_ctx} tokens · {chat} · {place} · {megabytes(lm)}"
    )
    prompt_notes.show(lm, ["a"])  # what is left out of every text
    try:
        sae = services.sae()
        st.caption(
            "No SAE loaded" if sae is None else f"SAE: layer {sae.site.layer} {sae.site.stream} · {sae.d_sae} features"
        )
    except ValueError as error:
        st.error(literal(str(error), 600))
    _status()


def _status() -> None:
    """Draw the engine's load, refreshed every two seconds while it works."""
    name = state.model_name()

    @st.fragment(run_every=2.0 if any(services.shelf().work(name)) else None)
    def badge() -> None:
        running, waiting = services.shelf().work(name)
        if not running and not waiting:
            st.badge("Ready", icon=":material/check:", color="green")
        else:
            st.badge(f"{running} running · {waiting} waiting", icon=":material/hourglass_top:", color="gray")

    badge()


def short_name(name: str) -> str:
    """The last part of a folder's path or of a hub id."""
    return Path(name).name or name


def count(number: int) -> str:
    """A count with about three digits: 812, 3.1 M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def megabytes(lm: Model) -> str:
    """The memory that the weights take."""
    size = sum(p.numel() * p.element_size() for p in lm.hf.parameters())
    return f"{size / 2**30:.2g} GB" if size >= 2**30 else f"{size / 2**20:.3g} MB"


def _pickers() -> None:
    with st.popover("Change", width="stretch", icon=":material/swap_horiz:"):
        _pick_model()
        _pick_sae()


def _load_model(name: str) -> None:
    """Use a model if it is on this machine, else download it in the background."""
    if not name:
        return
    if state.must_be_asked(name):
        loading.start(name)
    else:
        loading.use_model(name)


def _pick_model() -> None:
    st.markdown("**Model**")
    bundled, now = state.bundled_models(), state.model_name()
    guess = "bundled" if now in bundled else "folder" if "/" in now and Path(now).expanduser().is_dir() else "hub"
    where = st.segmented_control(
        "Where from", SOURCES, format_func=SOURCES.__getitem__, default=guess, key="frame_source", required=True
    )
    if where == "bundled":
        name = st.selectbox(
            "Bundled model", bundled, index=bundled.index(now) if now in bundled else 0, key="frame_bundled"
        )
    elif where == "folder":
        name = st.text_input("Folder of a Hugging Face checkpoint", key="frame_folder", placeholder="~/models/my-model")
    else:
        name = st.text_input("Hub id (downloads the model)", key="frame_hub", placeholder="openai-community/gpt2")
    st.button("Load model", key="frame_load", on_click=_load_model, args=((name or "").strip(),), disabled=not name)


def _use_sae(choice: str) -> None:
    """Use an SAE (or none) if it is on this machine, else download it in the background."""
    release, _, sae_id = choice.partition("::")
    if choice == state.NO_SAE or loading.sae_is_here((release, sae_id)):
        state.put(state.SAE, choice)
    else:
        loading.start(state.model_name(), (release, sae_id))


def _pick_sae() -> None:
    st.markdown("**Sparse autoencoder (SAE)**")
    bundled = state.bundled_saes(state.model_name())
    chosen = state.sae_choice()
    others = state.trained_saes(state.model_name())
    options = ["::".join(choice) for choice in [*bundled, *others]] + [state.NO_SAE, "other"]
    labels = {state.NO_SAE: "None", "other": "A folder or a release"}
    labels |= {"::".join(choice): f"{Path(choice[0]).name}: {choice[1]}" for choice in others}
    now = state.NO_SAE if chosen is None else "::".join(chosen)
    picked = st.selectbox(
        "Dictionary",
        options,
        index=options.index(now) if now in options else len(options) - 1,
        format_func=lambda option: labels.get(option) or str(option).partition("::")[2],
        key=f"frame_sae_{state.model_name()}",
    )
    if picked == "other":
        release = st.text_input("SAELens folder, or a release of its registry", key="frame_release")
        sae_id = st.text_input("Id in the release (empty for a folder)", key="frame_sae_id")
        picked = f"{release.strip()}::{sae_id.strip()}" if release.strip() else now
    st.button("Load SAE", key="frame_load_sae", on_click=_use_sae, args=(picked,), disabled=picked == now)


def jobs_line() -> None:
    """Draw the running jobs in the sidebar, so that a job can be found again from another page."""
    place = st.sidebar.container()  # always there, so that what stands below does not move when a job ends
    if _under_way():
        with place:
            _job_cards()


def _under_way() -> list[Job]:
    """The running jobs that the sidebar shows: the visitor's own first, then other visitors'."""
    active = [job for where in (services.readings(), services.jobs()) for job in where.all() if job.active]
    return sorted(active, key=lambda job: job.owner != state.visitor())[:3]


@st.fragment(run_every=1.0)
def _job_cards() -> None:
    if not (active := _under_way()):
        return  # an empty place; asking for a new run here would end what the page is writing
    with st.container(border=True, gap="xsmall"):
        for job in active:
            st.progress(job.fraction, text=title(job))
            stop_button(job, "Cancel", f"frame_cancel_{job.id}")
