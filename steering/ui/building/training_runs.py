"""Build / Dictionaries: trainings as jobs: started, watched live, stopped, gone on with, and what came of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...plots import training as plots
from ..explore.browsing import PAGE as FEATURES
from ..shared import job_cards, loading, state
from ..shared import objects as services
from ..widgets import theme
from ..widgets.basics import clear_errors, literal
from . import training_form
from .training_form import TrainingChoice

if TYPE_CHECKING:
    from ...jobs.jobs import Job
    from ...models.model import Model
    from ...recipes.workbench import Workbench
    from ...saes.making.cost import TrainingCost
    from ...saes.making.plan import TrainingPlan

JOB = "Train dictionary "
SHOWN = "dictionaries_shown"  # the training that this visitor looks at
PLAN, TEXTS = "plan.toml", "texts.jsonl"
INDEX_TEXTS = 300  # of a new dictionary's index
STEPS = 1000  # of the bar


def home() -> Path:
    """The folder of all trainings."""
    from ...jobs import files
    from ...saes.comparing.known import TRAINED

    return files.home() / TRAINED


def names() -> list[str]:
    """The names of the trainings on this machine, finished or not, the newest first."""
    found = sorted(home().glob(f"*/{PLAN}"), key=lambda file: -file.stat().st_mtime)
    return [file.parent.name for file in found]


def job_of(name: str) -> Job | None:
    """The job of a training, the newest."""
    return services.newest(JOB + name)


# Started ------------------------------------------------------------------------------------------------------------


def start_button(bench: Workbench, choice: TrainingChoice | None) -> None:
    """Draws what the training will cost and the button that starts it."""
    cost = training_form.time_of(bench, choice) if choice is not None else None
    busy = any(job.active and job.name.startswith(JOB) for job in services.jobs().all())
    if st.button(
        "Train", type="primary", width="stretch", key="dictionaries_train", disabled=choice is None or cost is None,
        help="It waits for the training under way." if busy else None,
    ):  # fmt: skip
        assert choice is not None
        with clear_errors():
            _begin(bench.lm, choice, cost)


def _begin(lm: Model, choice: TrainingChoice, cost: TrainingCost | None) -> None:
    from dataclasses import replace

    from ...jobs.files import write_atomically
    from ...library.space import make_room

    folder = home() / choice.name
    make_room(int(choice.plan.buffer_gb * 1e9))
    if (folder / PLAN).is_file():
        raise ValueError(f"There is a training called {choice.name} already. Give this one another name.")
    plan = choice.plan
    if choice.texts:
        write_atomically(folder / TEXTS, training_form.lines_of(choice.texts))
        plan = replace(plan, texts=(str(folder / TEXTS),))
    write_atomically(folder / PLAN, plan.toml().encode())
    if cost is not None:
        parts = {"harvest": cost.harvest, "training": dict(cost.training), "measuring": cost.measuring}
        write_atomically(folder / "cost.json", json.dumps(parts).encode())
    go_on(lm.name, choice.name)
    st.rerun()


def go_on(model: str, name: str) -> None:
    """Starts a training, or goes on with one that was stopped; for callbacks too."""
    folder = home() / name
    st.session_state[SHOWN] = name

    def work(job: Job) -> dict[str, dict[str, float]]:
        from ...saes.making.plan import TrainingPlan, make

        plan = TrainingPlan.parse((folder / PLAN).read_text(encoding="utf-8"))
        lm = services.shelf().model(model)
        progress = TrainingProgress(job, plan, _cost(folder))
        measured = make(plan, lm, folder, progress)
        _index(lm, plan, folder, measured, progress)
        return measured

    services.start(JOB + name, work)


def _cost(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "cost.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"harvest": 1.0, "training": {}, "measuring": 1.0}


def _index(
    lm: Model, plan: TrainingPlan, folder: Path, measured: Mapping[str, Any], progress: TrainingProgress
) -> None:
    """An index for each dictionary, beside its weights, from the first texts: for its examples."""
    from itertools import islice

    from ...features import build
    from ...saes.loading import load_sae
    from ...saes.texts import texts_of

    texts = [text for source in plan.texts for text in islice(texts_of(source, limit=INDEX_TEXTS), INDEX_TEXTS)]
    for place in measured:
        sae = load_sae(lm, folder, place)

        def tick(done: int, total: int, place: str = place) -> None:
            progress(f"Examples of {place}", done, total, {})

        build(lm, sae, texts, folder / place / "index", tick)


class TrainingProgress:
    """Turns what a training reports into the job's bar, weighted by what each part costs, and into its curves."""

    def __init__(self, job: Job, plan: TrainingPlan, cost: Mapping[str, Any]) -> None:
        from ...saes.making.plan import place_of

        self.job = job
        sites = len(plan.sites)
        trained = {place_of(site, variant): cost["training"].get(variant, 1.0) / sites
                   for variant in plan.recipes for site in plan.sites}  # fmt: skip
        self.weights = {"harvest": cost["harvest"], **trained, "measure": cost["measuring"]}
        self.whole = 1.1 * sum(self.weights.values()) or 1.0  # a tenth for the examples
        self.done: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int, shown: dict[str, float]) -> None:
        """Report where the work is; may end it."""
        part = "measure" if what.startswith("measure") else what
        if part in self.weights and total:
            # What comes before a part in the plan's order is over.
            for earlier in list(self.weights)[: list(self.weights).index(part)]:
                self.done[earlier] = self.weights[earlier]
            self.done[part] = self.weights[part] * done / total
        note = f"{_said(what)}: {done:,} of {total:,}" if total else f"{_said(what)}{f': {done:,}' if done else ''}"
        self.job.tick(int(STEPS * min(1.0, sum(self.done.values()) / self.whole)), STEPS, note)
        if shown:
            self.job.partial.append((what, done, shown))


def _said(what: str) -> str:
    """What is done, for a reader."""
    if what == "harvest":
        return "Reading the text"
    return f"Training {_short(what)}" if what.startswith("blocks.") else _short(what[0].upper() + what[1:])


def _short(place: str) -> str:
    """A dictionary's place for a reader: "layer 3.gated"."""
    return place.replace(".hook_resid_post", "").replace("blocks.", "layer ")


# Shown --------------------------------------------------------------------------------------------------------------


def show(lm: Model) -> None:
    """Draws the training that is looked at: live, stopped, or its result; and the others of this model."""
    mine = [name for name in names() if _model_of(name) == lm.name]
    active = [name for name in mine if (job := job_of(name)) is not None and job.active]
    name = st.session_state.get(SHOWN)
    if name not in mine:
        name = (active or mine or [""])[0]
    if not name:
        st.info(
            "Nothing was trained on this model yet. These settings give a small example; what it takes is "
            "written above the button."
        )
        return
    if len(mine) > 1:
        name = st.selectbox("Training", mine, mine.index(name), key=f"dictionaries_pick_{len(mine)}_{mine[0]}")
        st.session_state[SHOWN] = name
    job = job_of(name)
    if job is not None and job.active:
        _live(job)
    elif (home() / name / "work").is_dir():
        _unfinished(lm, name, job)
    else:
        _result(lm, name, job)


def _model_of(name: str) -> str:
    from ...saes.making.plan import TrainingPlan

    try:
        return TrainingPlan.parse((home() / name / PLAN).read_text(encoding="utf-8")).model
    except (OSError, ValueError):
        return ""


def _live(job: Job) -> None:
    @st.fragment(run_every=1.0)
    def card() -> None:
        if not job.active:
            st.rerun()
        st.progress(job.fraction, text=literal(job.note or "Waiting for the job before it", 120))
        st.caption(f"{job_cards.left(job)}It goes on when you leave this page. What is done is kept when you stop it.")
        job_cards.stop_button(job, "Stop", f"dictionaries_stop_{job.id}")
        _curves(list(job.partial))

    card()


def _curves(partial: list[tuple[str, int, dict[str, float]]]) -> None:
    curves: dict[str, list[tuple[int, dict[str, float]]]] = {}
    for what, done, shown in partial:
        curves.setdefault(_short(what), []).append((done, shown))
    if curves:
        st.plotly_chart(
            plots.curves(curves, theme.palette()), key="dictionaries_curves", theme=None,
            config={"displayModeBar": False}, alt="Loss, explained variance, L0 and dead features by samples seen",
        )  # fmt: skip


def _unfinished(lm: Model, name: str, job: Job | None) -> None:
    if job is not None and job.state == "failed":
        job_cards.outcome(job)
    with st.container(border=True):
        st.markdown(f"**{literal(name)} is not finished.** It goes on from its last checkpoint.")
        with st.container(horizontal=True, gap="small"):
            st.button("Go on", type="primary", key="dictionaries_go_on", on_click=go_on, args=(lm.name, name))
            st.button("Delete", key="dictionaries_delete", on_click=_delete, args=(name,))
    if job is not None:
        _curves(list(job.partial))


def _delete(name: str) -> None:
    if name in names():
        shutil.rmtree(home() / name, ignore_errors=True)
    st.session_state.pop(SHOWN, None)


def _result(lm: Model, name: str, job: Job | None) -> None:
    from ...jobs import files
    from ...saes.comparing.known import known_dictionaries
    from . import dictionary_table

    folder = home() / name
    made = [one for one in known_dictionaries(lm.name, files.home()) if one.folder.parent == folder]
    took = f" in {job_cards.duration(job.seconds)}" if job is not None and job.state == "done" else ""
    st.markdown(f"**{literal(name)}**: {len(made)} {'dictionary' if len(made) == 1 else 'dictionaries'}{took}")
    dictionary_table.draw(made, key=f"dictionaries_result_{name}")
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        for one in made[:6]:
            if st.button(
                f"Browse {literal(_short(one.id), 40)}",
                key=f"dictionaries_browse_{one.id}", icon=":material/grid_view:",
            ):  # fmt: skip
                loading.use_sae(lm.name, one.release, one.id)
                st.switch_page(FEATURES, query_params={state.SAE: f"{one.release}::{one.id}"})
        st.button("Delete", key="dictionaries_delete", on_click=_delete, args=(name,), type="tertiary")
    if job is not None:
        _curves(list(job.partial))
    with st.expander("The same in a terminal", key="dictionaries_plan"):
        st.caption("Save as plan.toml, then: python -m steering.saes train plan.toml")
        st.code((folder / PLAN).read_text(encoding="utf-8"), language="toml")
