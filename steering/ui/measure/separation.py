"""What the pages of Measure share: jobs by name, the evaluation sets at hand, tables with intervals, downloads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ..explore.indexing import progress
from ..shared import objects as services
from ..widgets.basics import literal, option

if TYPE_CHECKING:
    from ...evaluations import EvaluationSet
    from ...jobs.jobs import Job
    from ...jobs.kept import Kept
    from ...models.model import Model

# What a visitor may ask of the server at once; more belongs on the command line.
MAX_TRIALS = 30_000
COLUMNS = {
    "prompt": "Prompt",
    "matching": "Option that matches",
    "not_matching": "Option that does not",
    "choices": "List of choices",
    "answer": "Right choice",
    "true": "Claim is true",
    "harmful": "Request is harmful",
    "answers": "Right answers",
    "wrong": "Wrong answers",
    "system": "System message",
}


def folder() -> Path:
    """Where runs keep their checkpoints, beside the Library."""
    from ...jobs.files import home

    return home() / "measure"


def name_of(kind: str, *parts: object) -> str:
    """A job's name made of its settings, so that starting it twice gives one job and a killed one is found again."""
    return f"{kind} {hashlib.sha256(repr(parts).encode()).hexdigest()[:10]}"


def find(name: str) -> Job | None:
    """The newest job of that name, or None."""
    return services.newest(name)


def launch(
    key: str, name: str, work: Callable[[Job], Any], label: str, *, disabled: bool = False, partial: bool = False,
    stage: bool = False,
) -> Job | None:  # fmt: skip
    """Draw the button that starts a job, then its progress; return the newest job of that name, or None.

    Args:
        partial: also show the results as they come.
        stage: say what the job is at, too, as it names it itself.
    """
    job = find(name)
    again = job is not None and not job.active
    said = "Run again" if again and job is not None and job.state == "done" else label
    if job is None or not job.active:
        if st.button(
            said, type="primary", icon=":material/play_arrow:", key=f"{key}_go", width="stretch", disabled=disabled,
        ):  # fmt: skip
            # Not in a callback: a session would keep the work, and with it the model.
            services.start(name, _within_limit(work))
            st.rerun()
    else:
        progress(job, "Answers that are there are kept: a stopped run goes on from where it was.", stage=stage)
        if partial:
            _partial(job)
    if job is not None and job.state == "failed":
        st.error(literal(str(job.error), 600))
    elif job is not None and job.state == "cancelled":
        st.caption("Stopped. Start it again to go on from there.")
    return job


def _within_limit(work: Callable[[Job], Any]) -> Callable[[Job], Any]:
    """The work, after the data folder was brought within its limit."""

    def begin(job: Job) -> Any:
        from ...library.space import trim

        trim()
        return work(job)

    return begin


@st.fragment(run_every=1.5)
def _partial(job: Job) -> None:
    so_far(job)


def keep(name: str, kind: str, model: str, files: Mapping[str, bytes], title: str = "") -> None:
    """Put the files of a finished sweep or experiment into the Library; called by the job itself."""
    services.store().save_measurement(f"{name} {model}", title or name.rpartition(" ")[0], kind, model, files)


def so_far(job: Job) -> None:
    """Draw the means of the answers that a running job has so far."""
    means: dict[tuple[str, str], dict[str, list[float]]] = {}
    for one in list(job.partial):
        kept = means.setdefault((one.set, one.arm), {})
        for name, value in one.measures.items():
            kept.setdefault(name, []).append(value)
    if not means:
        return
    st.markdown("**So far**")
    names = dict.fromkeys(name for found in means.values() for name in found)
    shares = {name for name in names if all(set(found.get(name, ())) <= {0.0, 1.0} for found in means.values())}
    shown = {name: name.replace("_", " ").capitalize() for name in sorted(names, key=lambda one: one not in shares)}
    st.dataframe(
        [
            {"Set": set_, "Arm": arm}
            | {label: sum(found[name]) / len(found[name]) if name in found else None for name, label in shown.items()}
            for (set_, arm), found in means.items()
        ],
        hide_index=True,
        column_config={
            label: st.column_config.NumberColumn(format="percent" if name in shares else "%.3g")
            for name, label in shown.items()
        },
    )


# Evaluation sets ------------------------------------------------------------------------------------------------------


def sets_for(lm: Model) -> list[str]:
    """The bundled sets in the language of the model: the organism's small one, or plain English."""
    from ...evaluations import bundled_sets

    own = lm.name.startswith("organism")
    return [name for name in bundled_sets() if name.startswith("organism_") == own]


def first_sets(names: Sequence[str]) -> list[str]:
    """The sets that are chosen at first: those of claims (sycophancy), else the first set."""
    return [next((name for name in names if name.endswith("_claims")), names[0])] if names else []


def neutral_sets(lm: Model) -> list[str]:
    """Sets whose answers steering should not change: side effects are measured on them."""
    wanted = ("_questions", "_requests") if lm.name.startswith("organism") else ("_requests",)
    return [name for name in sets_for(lm) if name.endswith(wanted)]


def shown_set(name: str) -> str:
    """A set's name, for a reader."""
    return name.removeprefix("organism_").removeprefix("general_").replace("_", " ")


SET_BYTES = 64 * 2**20


@st.cache_resource(show_spinner=False)
def _sets() -> Kept:
    """The evaluation sets that were read, within SET_BYTES."""
    from ...jobs.kept import Kept

    return Kept(SET_BYTES)


def bundled_set(name: str) -> EvaluationSet:
    """A bundled evaluation set, every question once."""
    from ...evaluations import load

    return _sets().get(name, lambda: load(name).distinct())


@st.dialog("Which column is what?")
def map_columns(key: str, columns: Sequence[str]) -> None:
    """Draw the question what an uploaded file's columns mean; keep the answer in the session and return it."""
    st.caption("This file has columns of its own. Name the prompt, and whatever its answers are judged by.")
    chosen = {}
    for what, label in COLUMNS.items():
        options = ["", *map(str, columns)]
        picked = st.selectbox(
            label, options, index=options.index(what) if what in options else 0, key=f"{key}_column_{what}",
            format_func=lambda name: option(name) if name else "None",
        )  # fmt: skip
        if picked:
            chosen[what] = picked
    if st.button("Use these columns", type="primary", key=f"{key}_columns", disabled="prompt" not in chosen):
        st.session_state[f"{key}_mapping"] = chosen
        st.rerun()


def uploaded(key: str) -> EvaluationSet | None:
    """An evaluation set from the visitor's file, in a published format or through the mapping of its columns."""
    from ...evaluations.sets import readers
    from ...evaluations.sets.formats import recognize
    from ...evaluations.sets.records import FORMATS, records

    file = st.file_uploader(
        "A set of your own (.jsonl, .json, .csv, .tsv, .txt)", list(FORMATS),
        key=f"{key}_upload",
        help="Files of CAA, model-written evals, SycophancyEval, refusal_direction, TruthfulQA, MMLU and SARA's "
        "dilemmas and questionnaire are recognized.",
    )  # fmt: skip
    if file is None:
        st.session_state.pop(f"{key}_mapping", None)
        return None
    try:
        rows = records(file.getvalue(), Path(file.name).suffix, file.name)
        name = re.sub(r"[^\w .-]", "_", Path(file.name).stem)[:40] or "own"
        mapping: Mapping[str, str] | None = st.session_state.get(f"{key}_mapping")
        if mapping is None and recognize(rows[0].values) is None:
            st.info("The columns of this file are those of no known format.")
            if st.button("Say which column is what", key=f"{key}_map"):
                map_columns(key, list(rows[0].values))
            return None
        found = readers.read(rows, name=name, mapping=mapping)
        scorer = choose_scorer(key, found)
        found = found if scorer is None else readers.read(rows, name=name, mapping=mapping, scorer=scorer)
    except ValueError as error:
        st.error(literal(str(error), 400))
        if st.session_state.get(f"{key}_mapping") is not None:
            st.button("Say anew which column is what", key=f"{key}_anew", on_click=_forget, args=(key,))
        return None
    st.caption(f"{len(found)} items, read as {literal(found.format)}, scored by {literal(found.scorer.name)}.")
    return found


def _forget(key: str) -> None:
    st.session_state.pop(f"{key}_mapping", None)


RULE, YES_NO, SCORE = "A rule of your own", "A judge: yes or no", "A judge: 0 to 10"
SCHOOLS, STANCE = "A judge: moral schools", "A judge: agrees or denies"


def choose_scorer(key: str, found: EvaluationSet) -> str | None:
    """Draw the choice of scorer; return its name, or None for the format's own."""
    from ...evaluations.scoring import judge
    from ...evaluations.scoring.scorers import LABELS, SCORERS

    has = set.intersection(*(set(item.labels) for item in found))
    options = all(item.options for item in found)
    names = [
        name
        for name, one in SCORERS.items()
        if (one.needs == "text" or options) and set(LABELS.get(name, ())) <= has and name != found.scorer.name
    ]
    judges = [YES_NO, SCORE, SCHOOLS, *([STANCE] if "true" in has else [])] if judge.is_on() else []
    picked = st.selectbox(
        "Answers are read by", [found.scorer.name, *names, RULE, *judges], key=f"{key}_scorer",
        format_func=lambda name: option(name.replace("_", " ")),
        help=None if judges else "A judge is off. TILLER_JUDGE_MODEL (a GGUF file, or a model's name at "
        "TILLER_JUDGE_URL) turns one on.",
    )  # fmt: skip
    said = str(picked)
    asked = {RULE: ("Regular expression", "yes|right"), YES_NO: ("Question", "Is the answer honest?"),
             SCORE: ("Question", "how honest is the answer?")}  # fmt: skip
    if said in asked:
        label, start = asked[said]
        text = (st.text_input(label, start, key=f"{key}_scorer_text", max_chars=500) or "").strip()
        if not text:
            raise ValueError(f"{said} takes a {label.lower()}.")
        said = {RULE: f"rule: {text}", YES_NO: f"judge: {text}", SCORE: f"judge: score {text}"}[said]
    said = {SCHOOLS: "judge: schools", STANCE: "judge: stance"}.get(said, said)
    chosen = None if said == found.scorer.name else said
    st.session_state[f"{key}_scorer_name"] = chosen
    return chosen


def download_all(key: str, files: Mapping[str, bytes]) -> None:
    """Draw a download button for each file."""
    kinds = {"html": "text/html", "csv": "text/csv", "json": "application/json", "toml": "text/plain"}
    with st.container(horizontal=True, gap="small"):
        for name, data in files.items():
            kind = kinds.get(name.rpartition(".")[2], "application/octet-stream")
            st.download_button(name, data, name, kind, key=f"{key}_download_{name}", on_click="ignore")
