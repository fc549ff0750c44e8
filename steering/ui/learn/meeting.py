"""Where a class meets: the rooms of this machine, their links and QR codes, and the models that lessons can use."""

from __future__ import annotations

import io
from urllib.parse import urlsplit

import streamlit as st

from ...checkpoints.bundled import bundled_models
from ...jobs.files import home
from ...lessons.address import own_address
from ...lessons.lesson import Lesson
from ...lessons.rooms import Rooms


@st.cache_resource(show_spinner=False)
def rooms() -> Rooms:
    """The rooms of this machine (in TILLER_HOME)."""
    return Rooms(home())


def address(code: str) -> str:
    """The link that students open: of this machine in its network where Tiller is served to it, else of itself only."""
    url = urlsplit(st.context.url or "http://localhost:8501")
    host = url.hostname or "localhost"
    if served() and host in ("localhost", "127.0.0.1"):
        host = own_address()
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{host}{port}/lessons?room={code}"


def served() -> bool:
    """Whether other machines can reach this server."""
    return str(st.get_option("server.address") or "") not in ("", "localhost", "127.0.0.1")


def qr(link: str) -> str:
    """A link as a QR code, an SVG: black on white in both themes, or some phones cannot read it."""
    import segno

    out = io.BytesIO()
    segno.make(link, error="m").save(out, kind="svg", scale=6, border=3, xmldecl=False, dark="#000", light="#fff")
    return out.getvalue().decode()


def models_here(lesson: Lesson) -> list[str]:
    """The lesson's models that are on this machine; all of them where none is, for the results are shipped."""
    return [name for name in lesson.models if name in bundled_models()] or list(lesson.models)
