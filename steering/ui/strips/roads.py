"""The roads not taken: both models are made to say each other's word where their texts part, and go on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...showing.visible import visible
from ..shared import objects as services

if TYPE_CHECKING:
    from ...engine.requests import Variant
    from ...jobs.jobs import Job
    from ...measurements.parting import Parting
    from ...models.model import Prompt
    from ...recipes.workbench import Workbench

Road = dict[str, list[str]]  # "baseline" and "steered": what was written before, the forced token, what followed
KEPT = 4  # jobs of a page that are watched


def find(bench: Workbench, key: Hashable) -> Road | None:
    """The road of a key if it was taken before."""
    return bench.find(("road", key))


def take(
    bench: Workbench,
    key: Hashable,
    prompt: Prompt,
    variant: Callable[[], Variant],
    before: Sequence[int],
    parted: Parting,
    how: dict[str, Any],
    *,
    page: str,
) -> None:
    """Begin to write the roads of a place where two texts part; the page is drawn again when it sees them.

    Args:
        key: names the place: the question, its settings, and the variant.
        variant: gives the interventions; called in the background.
        before: the tokens of the baseline.
        page: what the key of session state that holds the jobs under way begins with.
    """

    def make() -> Road:
        from ...measurements.dose_strip import written_pieces
        from ...measurements.parting import roads

        assert bench.engine is not None, "the shelf's workbenches have an engine"
        both = roads(bench.engine, prompt, variant(), before, parted, **how)
        found: Road = {}
        for name, one in zip(("baseline", "steered"), both, strict=True):
            text = written_pieces(bench.lm, one)
            parts = text[: parted.at], text[parted.at : parted.at + 1], text[parted.at + 1 :]
            found[name] = [visible("".join(part), "\n") for part in parts]
        return found

    named = ("road", key)
    if bench.find(named) is not None:
        return
    short = hashlib.sha256(repr((bench.lm.fingerprint, named)).encode()).hexdigest()[:10]
    job = services.start(
        f"Writing the road not taken {short}", lambda job: bench.kept(named, make), services.readings()
    )
    st.session_state[f"{page}_roads"] = [*st.session_state.get(f"{page}_roads", [])[1 - KEPT :], job.id]


def under_way(page: str) -> list[Job]:
    """The roads of a page that are being written."""
    jobs = [services.job_of(one) for one in st.session_state.get(f"{page}_roads", ())]
    return [job for job in jobs if job is not None and job.active]
