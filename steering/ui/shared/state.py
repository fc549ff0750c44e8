"""Names of what pages share in session state and in the URL, and the functions that read and write them.

Session state holds ids and plain data only; objects come from `services` by these names. A choice that matters is also
in the URL, so that a copied link gives the same screen. Streamlit drops hand-set query parameters on a page switch;
`publish` puts them back in every run.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import secrets
from pathlib import Path

import streamlit as st

from ...checkpoints.bundled import bundled_models, default_model
from ...checkpoints.forms import Form
from ...checkpoints.gguf_places import OLLAMA

DEFAULT_MODEL = default_model()
MODEL = "model"
SAE = "sae"  # "release::id", "folder::" or "none"
NO_SAE = "none"

ASSETS = Path(__file__).parents[3] / "assets"


def shared(name: str, default: str = "") -> str:
    """The value of a shared choice: this session's, else the link's, else the default."""
    if name not in st.session_state:
        st.session_state[name] = st.query_params.get(name, default)
    return st.session_state[name]


def put(name: str, value: str) -> None:
    """Set a shared choice in the session and the URL."""
    st.session_state[name] = value
    if st.query_params.get(name) != value:
        st.query_params[name] = value


def publish(name: str, default: str = "") -> None:
    """Write a shared choice to the URL, or remove it there if it is the default."""
    value = shared(name, default)
    if value == default:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value


VISITOR = "visitor"


def visitor() -> str:
    """An id of the visitor's browser, kept when a page is reloaded; without a cookie, an id of the session.

    It is made of the cookie that Streamlit sets against forged requests: nothing else is stored in the browser.
    """
    if VISITOR not in st.session_state:
        try:
            _, mask, masked, _ = st.context.cookies.get("_streamlit_xsrf", "").split("|")
            secret = bytes(a ^ b for a, b in zip(bytes.fromhex(masked), itertools.cycle(bytes.fromhex(mask))))
        except ValueError:
            secret = secrets.token_bytes(16)
        st.session_state[VISITOR] = hashlib.sha256(secret).hexdigest()[:16]
    return st.session_state[VISITOR]


def model_name() -> str:
    """The name of the model that this visitor works with."""
    return shared(MODEL, DEFAULT_MODEL) or DEFAULT_MODEL


_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MODELS_PAGE = "pages/library/models.py"


def must_be_asked(model: str) -> bool:
    """Whether a model would have to be downloaded, which only a button does, never a link."""
    source = Form.parse(model).source
    looks_local = source.startswith((".", "/", "~", OLLAMA)) or Path(source).is_dir()
    if source in bundled_models() or looks_local or not _HUB_ID.fullmatch(source):
        return False
    from ...checkpoints.downloads import kept

    return kept(source) is None


def bundled_saes(model: str) -> list[tuple[str, str]]:
    """The SAEs that ship with Tiller for a model, as (release, id)."""
    name = Form.parse(model).source
    return [(name, config.parent.name) for config in sorted((ASSETS / "saes" / name).glob("*/cfg.json"))]


def trained_saes(model: str) -> list[tuple[str, str]]:
    """The dictionaries that were trained on a model on this machine, as (folder, id)."""
    from ...jobs.files import home
    from ...saes.comparing.known import known_dictionaries

    return [(one.release, one.id) for one in known_dictionaries(model, home()) if Path(one.release).is_absolute()]


def sae_choice(model: str | None = None) -> tuple[str, str] | None:
    """The chosen SAE as (release or folder, id), by default the bundled one of the middle layer, or None."""
    chosen = shared(SAE)
    if chosen == NO_SAE:
        return None
    if chosen:
        release, _, sae_id = chosen.partition("::")
        return release, sae_id
    bundled = bundled_saes(model or model_name())
    plain = [one for one in bundled if one[1].count(".") == 2] or bundled  # other dictionaries have a suffix
    return plain[len(plain) // 2] if plain else None
