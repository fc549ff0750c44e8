"""What is known of a loaded model: its memory, the precision of its products, and what was read of it once for all."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import streamlit as st

from ..shared import job_cards
from ..shared import objects as services
from ..shared.directions import pair_sets
from ..widgets.basics import literal

if TYPE_CHECKING:
    from ...jobs.jobs import Job
    from ...measurements.known import Known
    from ...models.model import Model


def card(name: str) -> None:
    """Draws memory and precision of a loaded model, and the button, the bar or the outcome of getting to know it."""
    from ...directions.pairs import PairSet

    bench = services.shelf().workbench(name, None, services.store())
    known, lm = bench.known, bench.lm
    st.caption(f"{_memory(lm)} {_precision(known)}")
    sets = [PairSet.load(one) for one in pair_sets(lm.name)]
    title = f"Getting to know {name} {hashlib.sha256(repr((name, lm.fingerprint)).encode()).hexdigest()[:10]}"
    job = services.newest(title, services.jobs())
    if known.surveyed(sets):
        for problem in job.value or () if job is not None else ():
            st.caption(literal(problem, 300))
        st.caption(
            f"Known at all {lm.n_layers} layers, kept on disk: typical norms, neutral text and {len(sets)} pair sets. "
            "A direction at any layer costs no pass of the model."
        )
        return
    if job is not None and job.active:
        job_cards.progress(job)
        return
    if job is not None and job.state != "done":
        job_cards.outcome(job, "Stopped. What was read is kept.")
    texts = sum(2 * len(pairs) for pairs in sets)
    st.button(
        "Get to know this model", key="models_know", icon=":material/neurology:", on_click=_start, args=(title, name),
        help=f"Reads neutral text and the {texts:,} texts of {len(sets)} pair sets once, at all layers: minutes on a "
        "small model. It is kept on disk; Direction, Tokens and Compare read nothing of it again.",
    )  # fmt: skip


def _memory(lm: Model) -> str:
    from ...checkpoints.memory import size

    return f"Its weights take {size(sum(weight.nbytes for weight in lm.hf.parameters()))}."


def _precision(known: Known) -> str:
    if known.lm.products == "float32":
        return "Matrices are multiplied in float32." if str(known.lm.dtype) == "torch.float32" else ""
    found = known.rounding(measured=False)
    said = "what that changes is measured when the model is got to know" if found is None else str(found)
    return f"Matrices are multiplied in bfloat16: {literal(said, 200)}."


def _start(title: str, name: str) -> None:
    from ...directions.pairs import PairSet

    def work(job: Job) -> list[str]:
        bench = services.shelf().workbench(name, None, services.store())
        return bench.known.survey([PairSet.load(one) for one in pair_sets(bench.lm.name)], job.tick)

    job = services.begin(services.jobs(), title, work)
    services.shelf().use(name, lambda: job.active)
