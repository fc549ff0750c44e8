"""Build / Direction, refusal: a candidate fitted further by gradient descent, and what that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from ..shared import job_cards
from ..shared import objects as services
from ..shared.frame import short_name

if TYPE_CHECKING:
    from ...directions.direction import Direction
    from ...evaluations.refusal.optimized import OptimizedRefusal
    from ...evaluations.refusal.search import RefusalDirection
    from ...experiments.programs.refusal_sets import RefusalData
    from ...jobs.jobs import Job
    from ...recipes.workbench import Workbench


def instructions(data: RefusalData, harmful: str, harmless: str) -> tuple[list[str], list[str]]:
    """The instructions typed, one a line; where none were, the bundled ones."""
    return harmful.strip().splitlines() or list(data.harmful), harmless.strip().splitlines() or list(data.harmless)


def choose(bench: Workbench, found: RefusalDirection, start: Direction) -> Direction:
    """Draws the fit of a candidate, if one was asked for; the direction to go on with: the candidate or the fitted."""
    name = f"Refusal fit of {short_name(bench.lm.name)} {start.fingerprint[:10]}"
    with st.expander("Fit it further", key="refusal_fit"):
        st.caption(
            "A difference of means also carries what else the two kinds of instructions differ in. Gradient descent "
            "looks, from there, for a direction whose ablation ends refusals and leaves other answers alone, and whose "
            "addition brings refusals about. 100 steps: seconds to minutes on a small model, an hour and more on a "
            "real one without a GPU."
        )
        fitted: OptimizedRefusal | None = job_cards.on_demand(
            name, "Fit", lambda: _start(bench.lm.name, found, start, name), key="refusal_fit_go"
        )
        if fitted is None:
            return start
        st.dataframe(_rows(fitted), hide_index=True, key="refusal_fit_table")
        st.caption(
            f"On instructions and prompts that it was not fitted to. Cosine with its start {fitted.cosine:.2f}; "
            f"{len(fitted.losses)} steps, {fitted.seconds:.0f} s. KL in nats, of the first token."
        )
        use = st.toggle("Use the fitted direction below", value=True, key="refusal_fit_use")
    return fitted.direction if use else start


def _rows(fitted: OptimizedRefusal) -> list[dict[str, Any]]:
    titles = {
        "bypass": "Harmful, ablated (low is good)", "induce": "Harmless, added (high is good)",
        "kl": "KL, harmless requests", "others": "KL, other prompts",
    }  # fmt: skip
    return [
        {"": said} | {title: round(getattr(scores, key), 3) for key, title in titles.items()}
        for said, scores in (("Difference of means", fitted.start), ("Fitted", fitted.scores))
    ]


def _start(model: str, found: RefusalDirection, start: Direction, name: str) -> None:
    from ...evaluations.refusal.optimized import optimize_refusal
    from ...experiments.programs.refusal_sets import refusal_data

    data = refusal_data(model)
    sides = instructions(data, *(st.session_state.get(f"refusal_{side}", "") for side in ("harmful", "harmless")))

    def work(job: Job) -> OptimizedRefusal:
        lm = services.shelf().model(model)
        return optimize_refusal(lm, found, *sides, data.others, start=start, alpha=found.alpha, tick=job.tick)

    services.start(name, work)
    st.rerun()
