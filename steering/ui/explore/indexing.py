"""Building a feature index from the dashboard: texts, a job with progress, cancel, and going on after a stop."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ...jobs.reading import decoded
from ...jobs.tables import kind_of, table_rows
from ..shared import objects as services
from ..shared.indexes import home_of_index
from ..shared.job_cards import progress
from ..widgets.basics import clear_errors, literal
from .texts import bundled_texts

if TYPE_CHECKING:
    from ...jobs.jobs import Job
    from ...models.model import Model
    from ...saes.sae import Sae

SOURCES = {
    "bundled": "Bundled texts",
    "paste": "Paste texts",
    "upload": "Upload a file",
    "place": "A file, folder or data set",
}
TEXTS = "texts.jsonl"
BUNDLED_TEXTS = 400  # enough for examples, few enough for a minute
HUB_TEXTS = 10_000  # of a data set on the hub, which may be endless


def job_name(sae: Sae) -> str:
    """The name of the job that indexes an SAE: one at a time, for all visitors."""
    return f"Feature index of {sae.name}"


def offer(lm: Model, sae: Sae, problem: str | None = None) -> None:
    """Draw what a page shows without an index: the reason, and the running job or the form that starts one."""
    if problem:
        st.error(literal(problem, 300))
    job = next((job for job in services.jobs().all() if job.name == job_name(sae)), None)
    if job is not None and job.active:
        progress(job)
        return
    st.info(
        f"There is no feature index for {literal(sae.name)} yet. It is built from texts, once: what each feature fires "
        "on, how often, what it promotes and resembles. The longer the texts, the better the examples."
    )
    if job is not None and job.error is not None:
        st.error(literal(f"The last build stopped: {job.error}", 400))
    _form(lm, sae)


def _form(lm: Model, sae: Sae) -> None:
    folder = home_of_index(lm, sae)
    kept = folder / TEXTS
    if (folder / "partial" / "tally.safetensors").is_file() and kept.is_file():
        st.markdown("**An unfinished index is here.** It goes on where it stopped.")
        if st.button("Continue", type="primary", key="indexing_continue"):
            start(lm, sae, _kept_texts(kept), folder, restart=False)
    source = st.segmented_control(
        "Texts", list(SOURCES), default="bundled", format_func=SOURCES.__getitem__, key="indexing_source", required=True
    )
    if source == "place":
        _form_of_place(lm, sae, folder)
        return
    texts = _texts(lm, str(source))
    count = sum(len(text) for text in texts)
    st.caption(f"{len(texts)} texts, {count} characters" if texts else "Blank lines stand between texts.")
    if st.button("Build the index", key="indexing_build", disabled=not texts):
        start(lm, sae, texts, folder, restart=True)


def _form_of_place(lm: Model, sae: Sae, folder: Path) -> None:
    """Draw the form for texts that are too many to keep: they are streamed, again when a stopped build continues."""
    place = (st.text_input(
        "File, folder or data set", key="indexing_place", placeholder="~/texts, ~/texts.jsonl or hub:owner/name:column",
        help=f"Text files of the server's disk, or the first {HUB_TEXTS:,} texts of a data set on the hub, which is "
        "asked when you build.",
    ) or "").strip()  # fmt: skip
    st.caption("Read in a stream, so it may be larger than the memory. Blank lines stand between the texts of a file.")
    if st.button("Build the index", key="indexing_build", disabled=not place):
        with clear_errors():
            start(lm, sae, _texts_at(place), folder, restart=True, place=place)


def _texts_at(place: str) -> Iterable[str]:
    from ...saes.texts import texts_of

    return texts_of(place, limit=HUB_TEXTS)


def _texts(lm: Model, source: str) -> list[str]:
    """The texts as chosen."""
    if source == "bundled":
        return bundled_texts(lm)[:BUNDLED_TEXTS]
    if source == "paste":
        return split(st.text_area("Texts, with blank lines between them", key="indexing_paste", height=160) or "")
    file = st.file_uploader("A .txt (blank lines between texts) or .jsonl (a text field)", ["txt", "jsonl"])
    if file is None:
        return []
    try:
        content = decoded(file.getvalue(), file.name)
        return json_texts(content, file.name) if file.name.lower().endswith(".jsonl") else split(content)
    except ValueError as error:
        st.error(literal(str(error), 400))
        return []


def split(content: str) -> list[str]:
    """The texts between blank lines."""
    return [
        part.strip("\n") for part in content.replace("\r\n", "\n").replace("\r", "\n").split("\n\n") if part.strip()
    ]


def json_texts(content: str, name: str) -> list[str]:
    """The texts of JSON lines with a field "text".

    Raises:
        ValueError: a line that is no such object, by its number.
    """
    found = []
    for where, row in table_rows(content, "jsonl", name=name):
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise ValueError(f'{name}, {where}: expected {{"text": "..."}}, got {kind_of(row)} without a text.')
        found.append(row["text"])
    return found


def _kept_texts(file: Path) -> Iterable[str]:
    """The texts of an unfinished build: those that were kept, or a stream of those at the place that was named."""
    content = file.read_text(encoding="utf-8")
    first = json.loads(content.partition("\n")[0] or "{}")
    return _texts_at(first["place"]) if "place" in first else json_texts(content, file.name)


def start(lm: Model, sae: Sae, texts: Iterable[str], folder: Path, *, restart: bool, place: str = "") -> None:
    """Start the job (or find the running one) and show it; the texts, or their place, are kept for continuing it."""
    from ...features import build
    from ...jobs.files import write_atomically

    folder.mkdir(parents=True, exist_ok=True)
    if restart:
        kept = [{"place": place}] if place else [{"text": text} for text in texts]
        lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in kept)
        write_atomically(folder / TEXTS, lines.encode())

    def work(job: Job) -> Path:
        from ...library.space import trim

        trim()
        return build(lm, sae, texts, folder, job.tick, restart=restart)

    services.start(job_name(sae), work)
    st.rerun()
