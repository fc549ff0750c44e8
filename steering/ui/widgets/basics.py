"""Small parts that many pages use: literal labels, charts with title and caption, the link button, friendly errors."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import plotly.graph_objects as go
import streamlit as st
from streamlit.components import v2 as components

from ...plots.words import in_words
from ...showing.glossary import explain

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~>:$<&\"'])")


def literal(text: str, length: int = 80) -> str:
    """The text as a label or caption shows it literally: Streamlit reads both as Markdown."""
    return _SPECIAL.sub(r"\\\1", option(text, length))


def option(text: str, length: int = 80) -> str:
    """The text as one line for the options of a selectbox or multiselect, which are shown as they are."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def file_stem(*parts: str) -> str:
    """The name of a download without its ending: "tiller-", the first words of each part, and the time of day."""
    words = [re.sub(r"[^a-z0-9]+", "-", part.lower())[:40].strip("-") for part in parts]
    return f"tiller-{'-'.join(word for word in words if word) or 'run'}-{time.strftime('%H%M')}"


@contextmanager
def clear_errors() -> Iterator[None]:
    """Show a user's mistake (a ValueError) as one sentence instead of a traceback, and continue after the block."""
    try:
        yield
    except ValueError as error:
        st.error(literal(str(error), 600))


def chart(
    figure: go.Figure,
    *,
    title: str,
    caption: str = "",
    key: str,
    select: bool | Callable[[], None] = False,
    says: str = "",
) -> dict | None:
    """Draw a chart under a title that says what to see; return the clicked point (a dict) or None.

    Args:
        caption: for a newcomer.
        says: what the figure shows, in words, for who cannot see it; by default `in_words` of the figure.
        select: whether points can be clicked; a function is called before the page is drawn again.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{title}**")
    event = st.plotly_chart(
        figure,
        key=key,
        theme=None,
        config={"displayModeBar": False, "responsive": True},
        on_select=select if callable(select) else "rerun" if select else "ignore",
        selection_mode="points",
        alt=says or f"{title}. {in_words(figure)}",
    )
    if caption:
        st.caption(caption)
    points = event["selection"]["points"] if select and event else []  # type: ignore[index]
    return dict(points[0]) if points else None


_LINK = components.component(
    "tiller_copy_link",
    html='<button type="button"><span></span></button>',
    css="""button { font: 400 0.93rem var(--st-font); color: var(--st-text-color); cursor: pointer; width: 100%;
  background: transparent; border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius, 8px);
  padding: 0.42rem 0.75rem; min-height: 2.5rem; }
button:hover, button:focus-visible { border-color: var(--st-primary-color); color: var(--st-primary-color);
  outline: none; }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
""",
    js="""export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button")
  const label = button.querySelector("span")
  label.textContent = data.label
  button.onclick = async () => {
    const link = window.location.href
    try { await navigator.clipboard.writeText(link) } catch {
      const box = document.createElement("textarea")
      box.value = link
      document.body.append(box)
      box.select()
      document.execCommand("copy")
      box.remove()
    }
    label.textContent = "Link copied"
    setTimeout(() => { label.textContent = data.label }, 1500)
  }
}
""",
)


def copy_link(key: str, label: str = "Copy link") -> None:
    """A button that puts the address of the page, which holds every choice, on the clipboard."""
    _LINK(key=key, data={"label": label}, width="content")


def terms(*words: str, key: str) -> None:
    """A button that opens what the words on the page mean, each in a sentence or two."""
    with st.popover("Words", icon=":material/help:", help="What the words here mean", key=key):
        for word in words:
            st.markdown(f"**{literal(word[:1].upper() + word[1:])}**: {literal(explain(word), 400)}")
