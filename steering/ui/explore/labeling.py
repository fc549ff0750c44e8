"""Labels of features from Neuronpedia on the Features page: shown if downloaded before, fetched by a button only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ..shared import job_cards, loading
from ..shared import objects as services
from ..widgets.basics import literal

if TYPE_CHECKING:
    from ...jobs.jobs import Job
    from ...jobs.kept import Kept
    from ...saes.sae import Sae


def _folder() -> Path:
    from ...jobs.files import home

    return home() / "labels"


LABEL_BYTES = 64 * 2**20  # of the labels of some hundred thousand features


@st.cache_resource(show_spinner=False)
def _read() -> Kept:
    """The labels that were read, within LABEL_BYTES."""
    from ...jobs.kept import Kept

    return Kept(LABEL_BYTES)


def _kept(neuronpedia_id: str, files: tuple[tuple[str, float], ...]) -> dict[int, str] | None:
    from ...features.labels import kept_labels

    return _read().get((neuronpedia_id, files), lambda: kept_labels(neuronpedia_id, _folder()))


def kept(neuronpedia_id: str) -> dict[int, str] | None:
    """The labels that were fetched before, feature -> label, or None."""
    return _kept(neuronpedia_id, tuple((file.name, file.stat().st_mtime) for file in sorted(_folder().glob("*.json"))))


def name_of(sae: Sae) -> str:
    """The name of an SAE at Neuronpedia, or an empty text."""
    return str(sae.metadata.get("neuronpedia_id") or "")


def show(sae: Sae, feature: int) -> None:
    """Draw a feature's label, or the button that fetches its SAE's labels; draw nothing for an SAE without labels."""
    neuronpedia_id = name_of(sae)
    if not neuronpedia_id:
        return
    try:
        labels = kept(neuronpedia_id)
    except ValueError:  # a name that Neuronpedia cannot have
        return
    if labels is not None:
        label = labels.get(feature)
        st.text(f"Neuronpedia: {label}" if label else "Neuronpedia has no label for this feature.")
        st.caption("What a language model said of its examples: a hint, not a fact.")
        return
    name = f"Labels of {neuronpedia_id}"
    job = loading.find(name)
    if job is not None and job.active:
        job_cards.show(job, "features_labels_job")
        return
    if job is not None:
        job_cards.outcome(job)
    st.button(
        "Fetch labels from Neuronpedia", key="features_labels", on_click=_start, args=(name, neuronpedia_id),
        type="tertiary", icon=":material/cloud_download:",
        help="Asks neuronpedia.org once, and keeps the answer on this machine.",
    )  # fmt: skip


def _start(name: str, neuronpedia_id: str) -> None:
    from ...features import labels
    from ...library.space import trim

    folder = _folder()

    def work(job: Job) -> int:
        job.tick(0, 0, f"Asking Neuronpedia for {literal(neuronpedia_id)}")
        trim()
        return len(labels.fetch_labels(neuronpedia_id, folder, endpoint=labels.ENDPOINT))

    services.begin(services.transfers(), name, work)
