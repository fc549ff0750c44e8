"""Library / Models: a model or an SAE in a folder of this machine, and what was found there."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ..shared import objects as services
from ..shared import state
from ..widgets.basics import literal
from . import models_page, saes_page

FOLDER = "models_folder"


def show() -> None:
    """Draw the field for a folder, what was found in it, and the button for the next step."""
    from ...checkpoints.folders import look

    text = st.text_input(
        "Folder of a model or an SAE", key=FOLDER, bind="query-params", placeholder="~/models/my-model",
        help="A Hugging Face checkpoint (config.json and safetensors), a SAELens folder (cfg.json and "
        "sae_weights.safetensors), or a folder with several of them. It is the server's disk that is looked at.",
    )  # fmt: skip
    folder = (text or "").strip()
    if not folder:
        st.caption("A checkpoint of your own needs no hub. Nothing is read but settings and headers until you load it.")
        return
    path = Path(folder).expanduser()
    found = look(path)
    if found.kind == "nothing":
        st.error(literal(found.sentence, 600))
    elif found.kind == "several":
        st.info(literal(found.sentence, 300))
        _inside(path, found.inside)
    elif found.kind == "model":
        st.success(literal(found.sentence, 600))
        models_page.card(str(path))
    else:
        st.success(literal(found.sentence, 600))
        _sae(path)


def _open(folder: str) -> None:
    st.session_state[FOLDER] = folder


def _inside(path: Path, inside: tuple[Path, ...]) -> None:
    for number, folder in enumerate(inside):
        st.button(
            literal(str(folder.relative_to(path)), 90), key=f"models_inside_{number}", on_click=_open,
            args=(str(folder),), icon=":material/folder_open:", type="tertiary",
        )  # fmt: skip


def _sae(path: Path) -> None:
    with st.container(border=True, key="card_sae"):
        st.caption("It is tried on the model that you use now; one that does not fit is refused with the reason.")
        if services.shelf().has(state.model_name()):
            saes_page.next_step(state.model_name(), (str(path), ""), here=True)
        else:
            st.info("Choose a model first.")
