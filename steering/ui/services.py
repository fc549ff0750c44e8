"""The objects that all visitors share: models, SAEs, engines and jobs, each loaded once and handed out by name.

Cached functions live in this importable module, never on a page: page files are executed anew in every run.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from . import state

if TYPE_CHECKING:
    from ..engine import Engine
    from ..jobs import Jobs
    from ..models import Model
    from ..saes import Sae
    from ..store import Store


@st.cache_resource(show_spinner="Starting Tiller: reading in torch and the model libraries, once per server")
def warm() -> bool:
    """True once the heavy libraries are imported.

    What they leave in memory is then taken out of the garbage collector's sight: walking it costs a third of a second
    per collection. Only imports are frozen; a frozen model's reference cycles would never be collected.
    """
    from .. import engine, models, saes  # noqa: F401

    gc.collect()
    gc.freeze()
    return True


def _released(_: object) -> None:
    gc.collect()


@st.cache_resource(max_entries=3, on_release=_released, show_spinner="Loading the model {name}")
def _model(name: str) -> Model:
    from ..models import load_model

    return load_model(name)


@st.cache_resource(max_entries=6, on_release=_released, show_spinner="Loading the SAE {sae_id}")
def _sae(model_name: str, release: str, sae_id: str) -> Sae:
    from ..saes import load_sae

    return load_sae(_model(model_name), release, sae_id or None)


def _close(engine: Engine) -> None:
    engine.close()
    gc.collect()


@st.cache_resource(max_entries=3, on_release=_close, show_spinner=False)
def _engine(model_name: str) -> Engine:
    from ..engine import Engine

    return Engine(_model(model_name))


def model(name: str | None = None) -> Model:
    """The model of that name (by default the visitor's choice), loaded once for all visitors.

    Raises:
        ValueError: it cannot be loaded; the message is one sentence to show.
    """
    warm()
    try:
        return _model(name or state.model_name())
    except OSError as error:  # a hub that does not answer
        raise ValueError((str(error).strip().splitlines() or ["The model could not be loaded."])[0]) from error


def engine(name: str | None = None) -> Engine:
    """The engine of that model: the one thread that runs it, shared by all visitors."""
    model(name)
    return _engine(name or state.model_name())


def sae(name: str | None = None, choice: tuple[str, str] | None = None) -> Sae | None:
    """The SAE that the visitor chose (or the one named) for that model, or None where there is none.

    Raises:
        ValueError: it cannot be loaded or does not fit the model.
    """
    name = name or state.model_name()
    model(name)
    choice = choice or state.sae_choice(name)
    return None if choice is None else _sae(name, *choice)


@st.cache_resource(show_spinner=False)
def jobs() -> Jobs:
    """The background jobs of this server."""
    from ..jobs import Jobs

    return Jobs()


@st.cache_resource(show_spinner=False)
def store() -> Store:
    """The saved directions and runs (TILLER_HOME, by default in the user's data directory)."""
    from ..store import Store

    return Store()


def require_model() -> Model:
    """The visitor's model; where it cannot be loaded, one clear sentence and the end of the page."""
    try:
        return model()
    except ValueError as error:
        st.error(str(error))
        st.caption("Choose another model in the sidebar.")
        st.stop()


def require_sae() -> Sae:
    """The visitor's SAE; where there is none, what to do about it and the end of the page."""
    try:
        found = sae()
    except ValueError as error:
        st.error(str(error))
        st.stop()
    if found is None:
        st.info(
            f"This page needs a sparse autoencoder (SAE), and none is loaded for {state.model_name()}. "
            "Choose one in the sidebar: a SAELens folder, or a release and id of SAELens' registry."
        )
        st.stop()
    return found


def maybe_sae() -> Sae | None:
    """The visitor's SAE or None; an SAE that cannot be loaded counts as none (the sidebar says why)."""
    try:
        return sae()
    except ValueError:
        return None


@st.cache_data(max_entries=256, show_spinner=False)
def _typical_norm(model_name: str, layer: int, stream: str) -> float:
    from ..sites import Site

    lm = _model(model_name)
    site = Site(layer, stream)
    prompts = [lm.tokens(text) for text in neutral_texts(model_name)[:16]]
    found, mask = lm.activations([p[: lm.n_ctx - 1] for p in prompts], [site])
    mask[range(len(prompts)), mask.long().argmax(-1)] = False  # the first token's norm is far off in most models
    return float(found[site].norm(dim=-1)[mask].median())


def typical_norm(site: object, model_name: str | None = None) -> float:
    """The median norm of the activations at a site on neutral text: the unit in which alpha is chosen."""
    name = model_name or state.model_name()
    model(name)
    return _typical_norm(name, site.layer, site.stream)  # type: ignore[attr-defined]


NEUTRAL = Path(__file__).parent.parent.parent / "assets" / "neutral"


@st.cache_data(show_spinner=False)
def neutral_texts(model_name: str) -> list[str]:
    """Plain texts with nothing to steer in them: written for a bundled model, or general ones."""
    own = NEUTRAL / f"{Path(model_name).name}.txt"
    file = own if own.is_file() else NEUTRAL / "general.txt"
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
