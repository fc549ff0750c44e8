"""Presentation mode: any page in large type, with its controls folded away, for a room full of people.

`?present=1` opens a page in it. Keys: next, back, and "guess first", which hides steered answers until they are asked
for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components import v2 as components

from ...showing.glossary import GLOSSARY
from ..widgets.basics import terms
from . import state

PRESENT, GUESS = "present", "guess"
_JS = (Path(__file__).parents[2] / "showing/presenter.js").read_text(encoding="utf-8")
_WRAPPER = """
export default function ({ data, parentElement, setTriggerValue }) {
  presenter(parentElement.querySelector(".presenter"), data, {
    leave: () => setTriggerValue("leave", true),
    guess: (on) => setTriggerValue("guess", on),
  })
}
"""
_component = components.component(
    "tiller_presenter",
    html='<div class="presenter" role="toolbar" aria-label="Presentation"></div>',
    css=""".presenter { display: flex; gap: 0.4rem; }
button { font: 400 0.8rem var(--st-font); color: var(--st-gray-text-color); background: var(--st-background-color);
  border: 1px solid var(--st-border-color); border-radius: 8px; padding: 0.2rem 0.6rem; cursor: pointer; }
button:hover, button:focus-visible { color: var(--st-primary-color); border-color: var(--st-primary-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }""",
    js=_JS + _WRAPPER,
)

# Type grows with the screen: on 1920 x 1080 a line of an answer is 40 pixels high.
_CSS = """<style>
html { font-size: clamp(15px, 1.15vw, 30px) !important; }
[data-testid="stSidebar"], [data-testid="stExpandSidebarButton"], [data-testid="stHeader"] { display: none; }
[data-testid="stMainBlockContainer"] { max-width: none; padding: 0.6rem 3vw 4rem; }
.st-key-first_tools { display: none; }
.st-key-first_sentence p { font-size: 1.25rem; } .st-key-first_question input { font-size: 1.3rem; }
.st-key-presenter { position: fixed; right: 1rem; bottom: 0.6rem; z-index: 1000; width: auto; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p { font-size: 1rem; }
[class*="st-key-stream_"] [data-testid="stText"], [class*="st-key-stream_"] [data-testid="stText"] * {
  font-size: 1.7rem; line-height: 1.5; }
[class*="st-key-chat_user_"] [data-testid="stText"], [class*="st-key-chat_user_"] [data-testid="stText"] * {
  font-size: 1.5rem; }
body.tiller-guess [class*="st-key-card_steered_"] [class*="st-key-stream_"] { position: relative; }
body.tiller-guess [class*="st-key-card_steered_"] [class*="st-key-stream_"] > * { visibility: hidden; }
body.tiller-guess [class*="st-key-card_steered_"] [class*="st-key-stream_"]::before {
  content: "Guess first: what will it say?"; position: absolute; font-size: 1.5rem; }
</style>"""


def on() -> bool:
    """Whether the visitor presents."""
    return state.shared(PRESENT) == "1"


def guessing() -> bool:
    """Whether steered answers are hidden until they are asked for."""
    return on() and state.shared(GUESS, "1") == "1"


def toggle(value: bool | None = None) -> None:
    """Begin or end presenting."""
    now = not on() if value is None else value
    state.put(PRESENT, "1" if now else "")


def choose() -> None:
    """Draw the button that begins presenting."""
    st.button(
        "Present", key="present_start", icon=":material/slideshow:", width="stretch", on_click=toggle,
        help="Large type, only the question, the answers and one slider; keys for next and back.",
    )  # fmt: skip


def frame(page: str) -> None:
    """Put the page into large type and draws the bar with next, back, guess first and leave; nothing otherwise."""
    state.publish(PRESENT)
    if not on():
        st.query_params.pop(GUESS, None)
        with st.sidebar, st.container(horizontal=True, gap="small"):
            choose()
            terms(*GLOSSARY, key="all_terms")
        return
    state.publish(GUESS, "1")
    st.html(_CSS)
    with st.container(key="presenter"):
        pressed = _component(
            key="presenter_bar",
            data={"guess": guessing(), "page": page},
            on_leave_change=lambda: None,
            on_guess_change=lambda: None,
        )
    if pressed.get("leave"):
        toggle(False)
        st.rerun()
    wanted = pressed.get("guess")
    if isinstance(wanted, bool) and wanted != guessing():
        state.put(GUESS, "1" if wanted else "0")
        st.rerun()


def columns(widths: Sequence[float], **how: Any) -> list[Any]:
    """Two columns, the controls and what is shown; in presentation mode the controls are folded above it."""
    if not on():
        return list(st.columns(widths, **how))
    return [st.expander("Controls", key="present_controls"), st.container()]
