"""Measure / Evaluate: choose an experiment, run it as a job, show its report."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...checkpoints.forms import Form
from ...plots import figures
from ...plots.acceptance import acceptance
from ...plots.radar import radar
from ..shared import objects as services
from ..shared import readings, state
from ..widgets import theme
from ..widgets.basics import chart, literal, option
from . import seen
from . import separation as measure
from .evaluation_form import own

if TYPE_CHECKING:
    from ...experiments import Experiment, Result
    from ...experiments.first_look import FirstLook
    from ...jobs.jobs import Job
    from ...models.model import Model
    from ...saes.sae import Sae

KINDS = {"bundled": "Bundled experiments", "own": "Your own"}


def choose(lm: Model, sae: Sae | None) -> Experiment | None:
    """Draw the form; return the experiment that was chosen or composed, or None while something is missing."""
    from ... import experiments

    source = Form.parse(lm.name).source  # in any form: products in bfloat16 are of the same weights
    names = [name for name in experiments.bundled() if experiments.read(name).model == source]
    kinds = [kind for kind in KINDS if kind == "own" or names]
    kind = st.segmented_control(
        "What to run", kinds, default=kinds[0], format_func=KINDS.__getitem__, required=True, key="evaluate_kind",
        bind="query-params", wrap=True,
    )  # fmt: skip
    if kind == "own":
        return own(services.workbench(lm.name))
    titles = {name: experiments.read(name).title for name in names}
    name = st.radio(
        "Experiment", names, format_func=lambda n: literal(titles[n], 120), key="evaluate_name", bind="query-params"
    )
    found = experiments.read(str(name))
    st.caption(literal(str(found.data.get("question", "")), 900))
    with st.expander("Its settings, as a file"):
        st.code(found.text, language="toml")
        st.caption(f"The same without a browser: `python -m steering.evaluate {found.name}`")
    return found


def run(experiment: Experiment, lm: Model, sae: Sae | None) -> Job | None:
    """Draw the button and the progress; return the experiment's job, or None before it was started."""
    name = measure.name_of(literal(experiment.title, 40), lm.fingerprint, experiment.text)
    engine, place = services.engine(), measure.folder() / hashlib.sha256(name.encode()).hexdigest()[:12]
    # The visitor's SAE is loaded already; a bundled experiment may name another one.
    named, chosen = experiment.data.get("sae"), state.sae_choice(lm.name)
    before = measure.find(name)
    if before is None or before.state != "done":  # a finished report says it itself
        seen.draw(seen.of_experiment(experiment, services.workbench(lm.name)))
    same = not named or (named["release"], named.get("id", "")) == chosen
    own_sae = sae if same else None

    def work(job: Job) -> Result:
        from ... import experiments
        from ...evaluations import Checkpoint
        from ...experiments import report as reports
        from ...jobs.files import write_atomically

        checkpoint = Checkpoint(place / "outcomes.jsonl")
        result = experiments.perform(
            experiment, engine, own_sae, checkpoint=checkpoint, tick=job.tick, outcomes=job.partial
        )
        job.tick(note="writing the report")
        files = reports.files(result)
        for file, data in files.items():
            write_atomically(place / file, data)
        measure.keep(name, "Experiment", lm.name, files, experiment.title)
        return result

    job = measure.launch("evaluate", name, work, "Run the experiment")
    if job is None or not (job.active or job.state == "done"):
        with suppress(ValueError, KeyError):  # what is wrong with a set is said when the run begins
            trials, tokens = price(experiment.text, experiment.name, experiment.folder)
            if (times := readings.about(services.workbench(lm.name), tokens)) is not None:
                st.caption(f"{trials:,} answers: up to {times[0]} here. A stopped run goes on from where it was.")
        if experiment.products == "bfloat16" and lm.products == "float32" and str(lm.device) == "cpu":
            st.caption("Its file multiplies in bfloat16, faster and nearly the same: Multiply in, on the page Models.")
    return job


@lru_cache(maxsize=32)
def price(text: str, name: str, folder: Path) -> tuple[int, int]:
    """How many answers the experiment of a file asks for at most, and about how many tokens they cost in all."""
    from ...evaluations.scoring.measure import options_of
    from ...evaluations.sets import readers
    from ...experiments.config import half, near, parse, points

    experiment = parse(text, name, folder)
    controls = experiment.data.get("controls", {})
    arms = [str(arm["name"]).format(**{**arm, **at}) for arm in experiment.data["arms"] for at in points(arm)]
    random = int(controls.get("random", 0)) * len(controls.get("of", arms))
    each = 1 + len(arms) + random + bool(controls.get("reconstruction")) + bool(controls.get("prompting"))
    items = tokens = 0
    for spec in experiment.data["sets"]:
        found = readers.load(
            near(experiment, str(spec.get("source", spec.get("name")))), format_name=spec.get("format"),
            mapping=spec.get("mapping"),
        )  # fmt: skip
        found = found.where(**spec["where"]) if spec.get("where") else found
        found = half(found, spec["part"]) if spec.get("part") else found
        found = found.distinct().limit(spec.get("limit"))
        items += len(found)
        written = int(experiment.data.get("settings", {}).get("max_new_tokens", 64))
        scored = found.scorer.needs == "options" and not spec.get("scorer")
        # An item's options are read after one pass of its prompt; a token is about four letters of English.
        tokens += sum(
            20
            + len(item.text) // 4
            + (sum(len(one) // 4 + 1 for one in options_of(found.scorer, item)) if scored else written)
            for item in found
        )
    return items * each, tokens * each


def show(job: Job | None, experiment: Experiment | None = None) -> None:
    """Draw a finished job's report, a running job's answers so far, or what to expect before it is started."""
    if job is None or (not job.active and job.state != "done" and not job.partial):
        st.info(
            "An experiment asks every question of every set under the baseline, each recipe, and the controls: random "
            "directions of equal norm, the SAE's reconstruction alone, and a sentence in the prompt that asks for the "
            "same. All of it is decoded in full batches and compared item by item."
        )
        preview(experiment)
    elif job.state == "done":
        report(job.value)
    elif job.active:
        live(job)
    else:
        measure.so_far(job)


def preview(experiment: Experiment | None) -> None:
    """Draw what a bundled experiment gave when it was shipped, until it is run here."""
    from ...experiments.first_look import shipped

    look = shipped(experiment.name) if experiment is not None else None
    if look is not None:
        st.subheader("Measured when this was shipped", anchor=False)
        picture(look)


@st.fragment(run_every=1.5)
def live(job: Job) -> None:
    """Draw the answers of a running job, refreshed while it runs."""
    measure.so_far(job)


# The result -----------------------------------------------------------------------------------------------------------


def report(result: Result) -> None:
    """Draw a result: what it supports, tables, charts and downloads."""
    from ...experiments import report as reports
    from ...experiments.first_look import first_look

    seen.draw(result.warnings)
    st.subheader("What it supports", anchor=False)
    look = first_look(result)
    if look is not None:
        picture(look)
        st.caption(literal(reports.how_read(next(one for one in result.sets if one.name == look.set)), 400))
    for line in [*reports.unreadable(result), *reports.inattentive(result)]:
        st.warning(literal(line, 900), icon=":material/visibility_off:")
    lines = reports.findings(result)
    if look is None:
        st.text(reports.tally(result))
    with st.expander(f"Every comparison that was asked for, in words ({len(lines)})"):
        for line in lines:
            st.text(line)
        st.caption(f"{reports.rule(result)} {reports.chance(result)}")
    tabs = st.tabs(
        [literal(one.name) for one in reports.sets_of(result)]
        + (["Spillover"] if result.spillovers else [])
        + ["Side effects"]
    )
    for tab, one in zip(tabs, reports.sets_of(result), strict=False):
        with tab:
            _set(result, one.name, noted=look is not None and look.set == one.name)
    if result.spillovers:
        with tabs[-2]:
            _spillover(result)
    with tabs[-1]:
        _side_effects(result)
    measure.download_all("evaluate", reports.files(result))


def picture(look: FirstLook) -> None:
    """Draws the first look at a result: a dot an arm, and a sentence."""
    st.text(look.sentence)
    chart(
        acceptance(look.spots, theme.palette(), best=look.best), key="evaluate_first",
        title="False claims accepted against true claims denied",
        caption="The nearer to the lower left corner, the better. Filled: steered. Open circle: baseline. Diamonds: "
        "controls. Small dots: random directions of equal norm. Bars: 95% intervals. On the dotted line are answers "
        "that do not depend on whether the claim is true.",
    )  # fmt: skip


def _set(result: Result, name: str, *, noted: bool = False) -> None:
    from ...experiments import report as reports
    from ...experiments.first_look import foundations

    shown = reports.measures_of(result)[name]
    one = next(one for one in result.sets if one.name == name)
    if not noted:  # under the picture it is said already
        st.caption(literal(reports.how_read(one), 400))
    st.dataframe(table(result, name, [*shown, "repetition", "surprise"]), hide_index=True)
    st.caption("Value, 95% interval, number of items. Random directions of several seeds are one row.")
    picked = st.segmented_control(
        "Chart", shown, default=shown[0], required=True, key=f"evaluate_measure_{name}", wrap=True,
        format_func=lambda m: m.replace("_", " "),
    )  # fmt: skip
    points = []
    for arm in reports.rows(result):
        cell = result.table.cell(arm, name, str(picked))
        if cell is not None:
            points.append(
                figures.Point(reports.named_arm(cell), cell.value, cell.low, cell.high, reports.kind_of(result, arm))
            )
    said = str(picked).replace("_", " ")
    if points:
        figure = figures.forest(points, theme.palette(), x=said, share=all(0 <= p.value <= 1 for p in points))
        chart(
            figure, title=f"{said.capitalize()}, every arm with its 95% interval", key=f"evaluate_forest_{name}",
            caption="Open circle and dotted line: baseline. Filled: steered. Diamonds: controls.",
        )  # fmt: skip
    names, rated = foundations(result, name)
    if rated:
        base = next(arm.name for arm in result.arms if arm.kind == "baseline")
        chart(
            radar(names, rated, theme.palette(), dotted=[base]), title="Moral foundations before and after",
            key=f"evaluate_radar_{name}", caption="Mean rating on the questionnaire's scale. Bands: 95% intervals. "
            "Arms of which over a tenth could not be read are left out.",
        )  # fmt: skip
    changes = [c for c in result.table.changes if c.set == name and c.measure == picked]
    with st.expander("Changes, item by item"):
        st.dataframe([_change(c) for c in changes], hide_index=True)
        st.caption(
            "McNemar's exact test counts the items that flipped; numbers are tested by random signs of their "
            "differences. Rank: how many random directions do as much."
        )


def table(result: Result, set_: str, names: list[str]) -> list[dict[str, Any]]:
    """Rows of arms, columns of measures, each as value, interval and number of items."""
    from ...experiments import report as reports

    found, names = [], reports.with_values(result, set_, names)
    for arm in reports.rows(result):
        cells = {name: result.table.cell(arm, set_, name) for name in names}
        if any(cells.values()):
            row = {name.replace("_", " "): reports.interval(c) if c else "" for name, c in cells.items()}
            found.append({"arm": arm, **row})
    return found


def _change(c: Any) -> dict[str, Any]:
    from ...experiments import report as reports

    return {
        "arm": c.arm,
        "against": c.against,
        "change": f"{c.change:+.3f} [{c.low:+.3f}, {c.high:+.3f}]",
        "flips": None if c.up is None else f"{c.up} up, {c.down} down",
        "test": reports.test_of(c),
        "smallest to be found": reports.smallest(c),
        "rank p": None if c.rank_p is None else f"{c.rank_p:.2f} of {len(c.controls)} seeds",
        "verdict": c.verdict,
    }


def _spillover(result: Result) -> None:
    rows = []
    for name, one in result.spillovers.items():
        row = {"arm": name, "target": one.target}
        for part in ("effect", "spill", "selectivity", "broken"):
            e = getattr(one, part)
            row[part] = f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]"
        rows.append(row)
    st.dataframe(rows, hide_index=True)
    st.caption(
        "Effect: growth of the target's share. Spill: growth of all others, on the same dilemmas; it cannot be below "
        "zero, so chance makes some. Broken: growth of answers that cannot be read."
    )


def _side_effects(result: Result) -> None:
    if not result.side_effects:
        st.caption("This experiment has no [side_effects] table.")
        return
    from ...experiments.report import costs

    head, body = costs(result)
    st.dataframe([{"arm": arm} | dict(zip(head, cells, strict=True)) for arm, cells in body], hide_index=True)
    st.caption(
        "On neutral prompts and given texts, where steering should change nothing. Nats with 95% intervals; surprise "
        "beside the baseline's, text by text; lower is better."
    )


def earlier() -> None:
    """Draw earlier reports of this machine."""
    import json

    found: list[tuple[str, Path]] = []
    for file in sorted(measure.folder().glob("*/numbers.json"), key=lambda f: -f.stat().st_mtime)[:20]:
        about = json.loads(file.read_text(encoding="utf-8")).get("about", {})
        title = (file.parent / "experiment.toml").read_text(encoding="utf-8").partition("title = ")[2].split("\n")[0]
        found.append((f"{title.strip(chr(34))} · {about.get('time', '')}", file.parent))
    if not found:
        return
    with st.expander("Earlier reports"):
        index = st.selectbox(
            "Report", range(len(found)), format_func=lambda k: option(found[k][0], 120), key="evaluate_earlier"
        )
        names = ("report.html", "table.csv", "trials.csv", "again.ipynb")
        place = found[int(index or 0)][1]
        measure.download_all("evaluate_earlier", {n: (place / n).read_bytes() for n in names if (place / n).is_file()})
