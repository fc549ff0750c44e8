"""Reports: an experiment's result as one HTML file that needs nothing else, as CSV, and as a notebook to do it again.

Whatever a model or a visitor wrote is escaped; the only script in the page is plotly's own, inline.
"""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from . import figures, plots
from .evaluations.comparison import Cell, Change
from .evaluations.items import EvaluationSet
from .experiments import Calibrated, Result
from .plots import Palette
from .sweeps import plain, to_csv

# For paper: the light theme, with opaque bands.
PAPER = Palette(
    ink="#24221f", muted="#6f6b64", rule="#e3dfd5", surface="#ffffff", baseline="#8a857b", accent="#0b7285",
    negative="#c2570c", band="rgba(138,133,123,0.16)",
    series=("#0b7285", "#6b4ea0", "#3f7d3a", "#a83266", "#8c6d1f", "#2f5aa8", "#c2570c"),
    sequential=("#f2f7f8", "#a5ccd4", "#0f5f70"), diverging=("#b8601f", "#f7e4d3", "#1f7587"),
)  # fmt: skip
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #24221f; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { font-family: Georgia, serif; line-height: 1.2; } h2 { margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .6rem 0 1rem; font-size: 14px; }
th, td { text-align: left; padding: .28rem .7rem; border-bottom: 1px solid #e3dfd5; vertical-align: top; }
th { border-bottom: 2px solid #8a857b; font-weight: 600; } td.n { text-align: right; white-space: nowrap; }
tr.baseline td, tr.control td { color: #6f6b64; } .muted { color: #6f6b64; }
pre { background: #f4f2ec; padding: .8rem; overflow-x: auto; font-size: 13px; } .scroll { overflow-x: auto; }
blockquote { margin: .2rem 0 .7rem; padding-left: .8rem; border-left: 3px solid #e3dfd5; white-space: pre-wrap; }
a.file { display: inline-block; margin-right: 1rem; } summary { cursor: pointer; }
"""


def esc(text: object) -> str:
    """Text as HTML shows it literally."""
    return html.escape(str(text), quote=True)


def number(value: float, binary: bool) -> str:
    """A share in percent, any other number with three digits."""
    return f"{100 * value:.1f}%" if binary else f"{value:.3g}"


def p_text(p: float) -> str:
    """A p-value with two digits, or that it is below 0.001."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def interval(one: Cell) -> str:
    """A cell as text: value, interval and number of items."""
    low, high = number(one.low, one.binary), number(one.high, one.binary)
    return f"{number(one.value, one.binary)} [{low}, {high}], n = {one.n}"


def sentence(change: Change) -> str:
    """What a comparison supports, in one sentence."""
    name = change.measure.replace("_", " ")
    unit = " points" if change.binary else ""
    factor = 100 if change.binary else 1
    moved = f"{factor * change.change:+.3g}{unit} [{factor * change.low:+.3g}, {factor * change.high:+.3g}]"
    test = f"; {change.up} items up, {change.down} down, {p_text(change.p)} (McNemar)" if change.p is not None else ""
    beside = ""
    if change.controls:
        largest = max(abs(one) for one in change.controls)
        beside = f"; the largest of {len(change.controls)} random controls moves it by {factor * largest:.3g}{unit}"
    said = f"{change.arm} against {change.against}, {name} on {change.set}: {moved}{test}{beside}"
    return f"{said}. Verdict: {change.verdict}."


def findings(result: Result) -> list[str]:
    """The comparisons that the experiment was made for, a sentence each: those named, else all with the baseline."""
    named = [(str(a), str(b)) for a, b in result.experiment.data.get("compare", [])]
    shown = measures_of(result)
    arms = [arm.name for arm in result.arms if arm.kind == "steered"]
    wanted = named or [(arm, result.arms[0].name) for arm in arms]
    found = []
    for one in result.sets:
        for arm, against in wanted:
            for measure in shown[one.name]:
                change = result.table.change(arm, one.name, measure, against)
                if change is not None:
                    found.append(sentence(change))
    return found


def measures_of(result: Result) -> dict[str, list[str]]:
    """The measures that a report shows of each set: those the experiment names, else all of its scorer."""
    chosen = result.experiment.data.get("measures")
    return {one.name: [m.name for m in one.scorer.measures if not chosen or m.name in chosen] for one in result.sets}


def rows(result: Result) -> list[str]:
    """The arms in the order of the tables: baseline, steered, controls, with random seeds of one arm as one."""
    pooled = {c.arm for c in result.table.cells} - {arm.name for arm in result.arms}
    found = [arm.name for arm in result.arms if arm.kind != "control"]
    found += [arm.name for arm in result.arms if arm.kind == "control" and arm.group not in pooled]
    return found + sorted(pooled)


def kind_of(result: Result, name: str) -> str:
    """Whether an arm of the tables is the baseline, steered or a control (pooled controls are controls)."""
    return next((arm.kind for arm in result.arms if arm.name == name), "control")


def summary(result: Result) -> pd.DataFrame:
    """The table behind the report: a row an arm, set and measure, with intervals, changes and tests."""
    return pd.DataFrame(result.table.rows())


def trials(result: Result) -> pd.DataFrame:
    """Every answer: arm, settings, set, item, prompt, text and measures."""
    items = {one.name: one.items for one in result.sets}
    settings = {arm.name: {"kind": arm.kind, **plain(arm.settings)} for arm in result.arms}
    return pd.DataFrame(
        [
            {"arm": one.arm, **settings[one.arm], "set": one.set, "item": one.item, "sample": one.sample}
            | {"prompt": items[one.set][one.item].text, "text": one.text, "finish": one.finish, **one.measures}
            for one in result.outcomes
        ]
    )


def command(result: Result) -> str:
    """The command that does the experiment again."""
    return f"python -m steering.evaluate {shlex.quote(result.experiment.name)}"


def notebook(result: Result) -> str:
    """A Jupyter notebook that runs the experiment anew and shows its table."""
    code = (
        "import steering as t\nfrom steering import experiments, reports\n\n"
        f"experiment = experiments.parse({result.experiment.text!r}, {result.experiment.name!r})\n"
        "lm = t.load_model(experiment.model)\n"
        "result = experiments.perform(experiment, t.Engine(lm))\n"
        "reports.summary(result)"
    )
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": f"# {result.experiment.title}\n\nMade by Tiller."},
        {"cell_type": "code", "metadata": {}, "source": code, "outputs": [], "execution_count": None},
        {
            "cell_type": "code",
            "metadata": {},
            "source": "for line in reports.findings(result):\n    print(line)",
            "outputs": [],
            "execution_count": None,
        },
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}, indent=1)


# HTML -----------------------------------------------------------------------------------------------------------------


class _Page:
    """Parts of an HTML page; plotly's script is put in once, with the first figure."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.drawn = 0

    def add(self, *parts: str) -> None:
        self.parts.extend(parts)

    def figure(self, figure: Any, caption: str) -> None:
        self.drawn += 1
        made = figure.to_html(
            full_html=False, include_plotlyjs=self.drawn == 1, div_id=f"figure-{self.drawn}",
            config={"displayModeBar": False, "responsive": True},
        )  # fmt: skip
        self.add(f"<figure>{made}<figcaption class='muted'>{esc(caption)}</figcaption></figure>")

    def table(self, head: Sequence[str], body: Sequence[tuple[str, Sequence[str]]]) -> None:
        cells = "".join(f"<th>{esc(name)}</th>" for name in head)
        lines = "".join(
            f"<tr class='{esc(kind)}'>" + "".join(f"<td>{esc(value)}</td>" for value in row) + "</tr>"
            for kind, row in body
        )
        self.add(f"<div class='scroll'><table><tr>{cells}</tr>{lines}</table></div>")


def to_html(result: Result) -> str:
    """The report as one page, in the order question, answer, tables, figures, settings, texts."""
    page, about = _Page(), result.about
    page.add(f"<h1>{esc(result.experiment.title)}</h1>")
    if question := result.experiment.data.get("question"):
        page.add(f"<p>{esc(question)}</p>")
    page.add(
        f"<p class='muted'>{esc(about.get('time', ''))} · model {esc(result.experiment.model)} · "
        f"{len(result.outcomes)} answers in {result.seconds:.0f} s · again with <code>{esc(command(result))}</code></p>"
    )
    page.add("<h2>What it supports</h2><ul>", *(f"<li>{esc(line)}</li>" for line in findings(result)), "</ul>")
    page.add(
        "<p class='muted'>Intervals are 95%: Wilson's for shares, bootstrap over items for means and changes. An "
        "effect counts only where a paired test over items is clear and no random direction of equal norm does as "
        "much.</p>"
    )
    for one in result.sets:
        _set(page, result, one)
    _spillovers(page, result)
    _side_effects(page, result)
    for calibrated in result.calibrated:
        _calibration(page, calibrated)
    page.add("<h2>Settings</h2>", f"<pre>{esc(result.experiment.text)}</pre>")
    versions = esc(json.dumps(about, indent=1, default=str))
    page.add(f"<details><summary>Versions and hashes</summary><pre>{versions}</pre></details>")
    _texts(page, result)
    head = f"<meta charset='utf-8'><title>{esc(result.experiment.title)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(page.parts)}</body></html>"


def _set(page: _Page, result: Result, one: EvaluationSet) -> None:
    shown = measures_of(result)[one.name]
    page.add(f"<h2>{esc(one.name)}</h2><p class='muted'>{len(one)} items, scored by {esc(one.scorer.name)}.</p>")
    body = []
    for name in rows(result):
        cells = [result.table.cell(name, one.name, measure) for measure in (*shown, "repetition", "surprise")]
        if any(cells):
            body.append((kind_of(result, name), [name, *(interval(c) if c else "" for c in cells)]))
    page.table(["arm", *(m.replace("_", " ") for m in shown), "repetition", "surprise (nats)"], body)
    for measure in shown[:2]:
        points = []
        for name in rows(result):
            cell = result.table.cell(name, one.name, measure)
            if cell is not None:
                points.append(figures.Point(name, cell.value, cell.low, cell.high, kind_of(result, name)))
        if points:
            figure = figures.forest(points, PAPER, x=measure.replace("_", " "), share=points[0].high <= 1)
            page.figure(figure, f"{measure.replace('_', ' ')} on {one.name}: value and 95% interval of every arm.")
    changes = [c for c in result.table.changes if c.set == one.name and c.measure in shown]
    body = [(kind_of(result, c.arm), _change(c)) for c in changes if kind_of(result, c.arm) != "control"]
    page.add("<details><summary>Changes, paired over items</summary>")
    page.table(
        ["arm", "against", "measure", "change", "up / down", "McNemar p", "rank among controls", "verdict"], body
    )
    page.add("</details>")


def _change(c: Change) -> list[str]:
    moved = f"{number(c.change, c.binary)} [{number(c.low, c.binary)}, {number(c.high, c.binary)}]"
    flips = "" if c.up is None else f"{c.up} / {c.down}"
    rank = "" if c.rank_p is None else f"p = {c.rank_p:.2g} of {len(c.controls)} seeds"
    return [
        c.arm,
        c.against,
        c.measure.replace("_", " "),
        moved,
        flips,
        "" if c.p is None else f"{c.p:.2g}",
        rank,
        c.verdict,
    ]


def _spillovers(page: _Page, result: Result) -> None:
    if not result.spillovers:
        return
    page.add("<h2>Effect and spillover</h2>")
    page.add(
        "<p class='muted'>Effect: growth of the target's share on the same dilemmas. Spillover: growth of all other "
        "groups together; falls do not count. Spillover cannot be below zero, so chance alone makes some: compare it "
        "with the controls. Intervals: bootstrap over dilemmas.</p>"
    )
    body = []
    for name, one in result.spillovers.items():
        spans = [
            f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]" for e in (one.effect, one.spill, one.selectivity, one.broken)
        ]
        body.append((kind_of(result, name), [name, one.target, *spans]))
    page.table(["arm", "target", "effect", "spillover", "selectivity", "growth of unreadable answers"], body)
    steered = [name for name in result.spillovers if kind_of(result, name) == "steered"]
    points = [figures.Point(name, *result.spillovers[name].effect) for name in steered]
    page.figure(figures.forest(points, PAPER, x="effect on the target's share"), "Effect of every arm on its target.")


def _side_effects(page: _Page, result: Result) -> None:
    if not result.side_effects:
        return
    page.add("<h2>Side effects where nothing should happen</h2>")
    kinds = list(result.side_effects[0].cross_entropy)
    body = []
    for one in result.side_effects:
        kl = f"{sum(one.kl) / len(one.kl):.4g}" if one.kl else ""
        costs = [f"{sum(v) / len(v):.4g}" for v in (one.cross_entropy[k] for k in kinds)]
        body.append((kind_of(result, one.arm), [one.arm, kl, *costs]))
    page.table(["arm", "KL of the next token (nats)", *(f"cross-entropy, {kind}" for kind in kinds)], body)


def _calibration(page: _Page, one: Calibrated) -> None:
    page.add(f"<h2>Threshold {esc(one.name)} for {esc(one.direction)}: {one.tau:.4g}</h2>")
    groups = {"concept": list(one.concept), "to be left alone": list(one.other)}
    figure = plots.histogram(groups, PAPER, tau=one.tau, x="largest projection in a text")
    page.figure(figure, "Peaks of the projection, a text each; the regulator acts on texts beyond the line.")
    body = []
    for c in one.candidates:
        spans = [f"{100 * e.value:.0f}% [{100 * e.low:.0f}, {100 * e.high:.0f}]" for e in (c.caught, c.disturbed)]
        body.append(("", [c.name, f"{c.tau:.4g}", *spans, f"{c.f1:.2f}", f"{c.youden:.2f}"]))
    page.table(["candidate", "tau", "concept texts caught", "others disturbed", "F1", "Youden"], body)


def _texts(page: _Page, result: Result, shown: int = 5) -> None:
    page.add("<h2>What was written</h2>")
    for one in result.sets:
        if one.scorer.needs != "text":
            continue
        page.add(f"<details><summary>{esc(one.name)}: the first {min(shown, len(one))} items</summary>")
        for index in range(min(shown, len(one))):
            page.add(f"<p><b>{esc(one.items[index].text)}</b></p>")
            for outcome in result.outcomes:
                if (outcome.set, outcome.item, outcome.sample) == (one.name, index, 0):
                    page.add(f"<p class='muted'>{esc(outcome.arm)}</p><blockquote>{esc(outcome.text)}</blockquote>")
        page.add("</details>")


def files(result: Result) -> dict[str, bytes]:
    """Everything of a report by file name: the page, both tables, the notebook, and the numbers as JSON."""
    numbers = {
        "about": dict(result.about),
        "table": result.table.rows(),
        "spillovers": {name: asdict(one) for name, one in result.spillovers.items()},
        "side_effects": [asdict(one) for one in result.side_effects],
        "calibration": [asdict(one) | {"tau": one.tau} for one in result.calibrated],
        "seconds": result.seconds,
    }
    return {
        "report.html": to_html(result).encode("utf-8", "replace"),
        "table.csv": to_csv(summary(result)),
        "trials.csv": to_csv(trials(result)),
        "experiment.toml": result.experiment.text.encode(),
        "again.ipynb": notebook(result).encode(),
        "numbers.json": json.dumps(numbers, indent=1, default=str).encode(),
    }
