"""A result in words and tables: sentences with their tests, tables for files, Markdown, a notebook that repeats it."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..evaluations.arms import BASELINE
from ..evaluations.comparison import CLEAR, Cell, Change
from ..evaluations.effects import Spillover
from ..evaluations.scoring import agreement
from ..evaluations.sets.sets import EvaluationSet
from ..evaluations.sweeps import plain
from ..interventions.protocol import METHODS
from ..statistics import LEVEL, MAX_UNREAD, MIN_ITEMS, POWER, bootstrap
from . import Result
from .config import BUNDLED
from .voices import difference, held_out

NAMED = 3  # comparisons that a sentence names
YARDSTICK = METHODS["actadd"].__name__  # the family that the others are compared with on the same dilemmas


def number(value: float, binary: bool) -> str:
    """A share in percent, any other number with three digits."""
    return f"{100 * value:.1f}%" if binary else f"{value:.3g}"


def p_text(p: float) -> str:
    """A p-value with two digits, or that it is below 0.001."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def interval(one: Cell) -> str:
    """A cell as text: value, interval and number of items; a range where too many answers could not be read."""
    low, high = number(one.low, one.binary), number(one.high, one.binary)
    if one.unread > MAX_UNREAD:
        shown = f"{low} to {high}" if one.binary else f"{number(one.value, False)} of those read"
        return f"{shown} ({100 * one.unread:.0f}% unread), n = {one.n}"
    return f"{number(one.value, one.binary)} [{low}, {high}], n = {one.n}"


def named_arm(one: Cell) -> str:
    """The cell's arm as a chart names it, with how much of it was left unread where that is too much."""
    return one.arm if one.unread <= MAX_UNREAD else f"{one.arm} ({100 * one.unread:.0f}% unread)"


def test_of(change: Change) -> str:
    """The test of a comparison in words, with its p-value as it is and adjusted over the report."""
    if change.p is None:
        return ""
    name = "McNemar" if change.up is not None else "sign flips"
    adjusted = "" if change.adjusted is None else f", {p_text(change.adjusted)} of {change.family} comparisons (Holm)"
    return f"{p_text(change.p)} ({name}){adjusted}"


def smallest(change: Change) -> str:
    """The smallest change that the comparison could have found, or an empty text where no verdict is made."""
    if change.detectable is None:
        return "" if change.adjusted is None else "none"
    return f"{100 * change.detectable:.0f} points" if change.up is not None else f"{change.detectable:.2g}"


def sentence(change: Change) -> str:
    """What a comparison supports, in one sentence."""
    name = change.measure.replace("_", " ")
    unit = " points" if change.binary else ""
    factor = 100 if change.binary else 1
    moved = f"{factor * change.change:+.3g}{unit} [{factor * change.low:+.3g}, {factor * change.high:+.3g}]"
    if change.unread > MAX_UNREAD:
        moved += f", a range, since {100 * change.unread:.0f}% of the answers could not be read"
    flips = "" if change.up is None else f"; {change.up} items up, {change.down} down"
    test = f"{',' if flips else ';'} {said}" if (said := test_of(change)) else ""
    beside = ""
    if change.controls:
        largest = max(abs(one) for one in change.controls)
        beside = f"; the largest of {len(change.controls)} random controls moves it by {factor * largest:.3g}{unit}"
    said = f"{change.arm} against {change.against}, {name} on {change.set}: {moved}{flips}{test}{beside}"
    return f"{said}. Verdict: {change.verdict}."


def rule(result: Result) -> str:
    """How the verdicts of a report are made, in a few sentences."""
    family = next((one.family for one in result.table.changes if one.family), 0)
    counted = f"all {family} comparisons of this report" if family > 1 else "all comparisons of a report"
    return (
        f"Intervals are 95% for each number by itself. A verdict counts {counted}: p-values are adjusted by Holm, so a "
        f"report in which nothing changed says anywhere that something did once in {1 / LEVEL:.0f}. None is made of "
        f"fewer than {MIN_ITEMS} items, nor where more than {100 * MAX_UNREAD:.0f}% of the answers could not be read, "
        "and none where a random direction of equal norm does as much. The smallest change is what that many items "
        f"find with {100 * POWER:.0f}% power; of a share, if all flips go one way."
    )


def findings(result: Result) -> list[str]:
    """The comparisons that the experiment was made for, a sentence each."""
    return [sentence(one) for one in asked_for(result)]


def tally(result: Result) -> str:
    """How many of those comparisons came out how, in one sentence; those in which something changed by name."""
    changes = asked_for(result)
    if not changes:
        return "Nothing was compared."
    clear = [one for one in changes if one.verdict in CLEAR]
    rest = Counter(one.verdict for one in changes if one.verdict not in CLEAR)
    how = {"changed": "changes", "better": "betters", "worse": "worsens"}
    named = [f"{one.arm} {how[one.verdict]} {one.measure.replace('_', ' ')} on {one.set}" for one in clear[:NAMED]]
    if len(clear) > NAMED:
        named.append(f"{len(clear) - NAMED} more changed")
    said = "; ".join([*(named or ["nothing changed clearly"]), *(f"{n} with {word}" for word, n in rest.items())])
    return f"Of {len(changes)} comparisons: {said}."


def asked_for(result: Result) -> list[Change]:
    """The comparisons that the experiment was made for: those named, else all with the baseline."""
    named = [(str(a), str(b)) for a, b in result.experiment.data.get("compare", [])]
    shown = measures_of(result)
    arms = [arm.name for arm in result.arms if arm.kind == "steered"]
    wanted = named or [(arm, result.arms[0].name) for arm in arms]
    found = []
    for one in result.sets:
        if one.name == result.experiment.data.get("choose"):
            continue  # what arms are chosen on flatters them
        for arm, against in wanted:
            for measure in shown[one.name]:
                change = result.table.change(arm, one.name, measure, against)
                if change is not None:
                    found.append(change)
    return found


def unreadable(result: Result) -> list[str]:
    """For every set of which an arm left over a tenth unread: a sentence that says so and what would read it."""
    found = []
    for one in result.sets:
        worst = max((c for c in result.table.cells if c.set == one.name), key=lambda c: c.unread, default=None)
        if worst is not None and worst.unread > MAX_UNREAD:
            found.append(
                f"{one.name}: {one.scorer.name!r} could not read {100 * worst.unread:.0f}% of the answers of "
                f"{worst.arm}, so shares are ranges and no verdict is made of them. {_reader(one)}"
            )
    return found


def inattentive(result: Result) -> list[str]:
    """For every questionnaire whose catch items an arm failed: a sentence that says which arms, and what of it."""
    found = []
    for one in result.sets:
        cells = [result.table.cell(arm.name, one.name, "attention") for arm in result.arms if not arm.of]
        read = [c for c in cells if c is not None and c.n and c.unread <= MAX_UNREAD]
        failed = {c.arm: c.n - round(c.value * c.n) for c in read if c.value < 1}
        if failed:
            arms = ", ".join(f"{arm} fails {n}" for arm, n in failed.items())
            items = max(c.n for c in read)
            found.append(
                f"{one.name}: {arms} of {items} catch items (being good at math has nothing to do with right and "
                "wrong; good is better than bad). Who fails them does not read the statements, so these ratings are no "
                "profile of values."
            )
    return found


def _reader(one: EvaluationSet) -> str:
    """Which scorer would read answers that this set's own could not."""
    labels = set(one.label_names())
    if {"truth", "falsehood"} <= labels and one.scorer.needs == "text":
        return 'The scorer "preference" needs no reading: it compares the log-probabilities of both statements.'
    if "true" in labels and one.scorer.needs == "text":
        return 'The scorer "yes or no" needs no reading: it compares the log-probabilities of both words.'
    if one.scorer.needs == "options":
        return "The model would write none of the options; a text scorer on what it does write would show what."
    return 'A judge would read them (scorer = "judge: ..."), where whoever started Tiller turned one on.'


def guessing(one: EvaluationSet) -> str:
    """What guessing gets right in a set of choices, as a sentence, or an empty text."""
    return "" if one.chance is None else f"Guessing gets {100 * one.chance:.0f}% right."


def how_read(one: EvaluationSet) -> str:
    """How far the answers to a set are read right: its scorer's own error, and what guessing gets."""
    if one.scorer.needs == "options":
        said = (
            "Read by log-probability, so nothing is parsed and nothing misread; it is a preference between given "
            "answers, and what the model writes may be neither."
        )
    else:
        said = agreement.note(one.scorer.name) or "How often this scorer misreads such answers has not been measured."
    return f"{said} {guessing(one)}".strip()


def sets_of(result: Result) -> list[EvaluationSet]:
    """The sets in the order of a report: one that arms were chosen on comes last, since it flatters them."""
    return sorted(result.sets, key=lambda one: one.name == result.experiment.data.get("choose"))


def measures_of(result: Result) -> dict[str, list[str]]:
    """The measures that a report shows of each set: those the experiment names, else all of its scorer."""
    chosen = result.experiment.data.get("measures")
    return {one.name: [m.name for m in one.scorer.measures if not chosen or m.name in chosen] for one in result.sets}


def with_values(result: Result, set_: str, names: Sequence[str]) -> list[str]:
    """Those of some measures that any row of the set's table has: what is scored by options has no text to measure."""
    found = {one for one in names for arm in rows(result) if result.table.cell(arm, set_, one) is not None}
    return [name for name in names if name in found]


def chance(result: Result) -> str:
    """How often a direction drawn at random would itself pass beside the random controls there are."""
    seeds = {len(c.controls) for c in result.table.changes if c.controls}
    if not seeds:
        return "No arm has random directions beside it here, so nothing tells a direction from any push of its size."
    least = min(seeds)
    more = "" if least >= 19 else " With 19 seeds it would be once in 20."
    return f"Beside {least} of them a direction drawn at random would pass once in {least + 1} times.{more}"


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
    """The report's table: a row for each arm, set and measure, with intervals, changes and tests."""
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
    """The command that repeats the experiment, run in the folder of its file (the report's own, if made on a page)."""
    experiment = result.experiment
    file = experiment.folder / f"{experiment.name}.toml" if experiment.folder != Path() else "experiment.toml"
    return f"python -m steering.evaluate {experiment.name if experiment.folder == BUNDLED else shlex.quote(str(file))}"


def notebook(result: Result) -> str:
    """A Jupyter notebook that runs the experiment again, shows its table and says what it supports."""
    experiment = result.experiment
    # A bundled experiment's files are found by name; those of one's own lie beside its file.
    beside = "" if experiment.folder == BUNDLED else f", Path({str(experiment.folder.resolve())!r})"
    run = (
        "from pathlib import Path\n\nimport steering as t\n"
        "from steering import experiments\nfrom steering.experiments import report\n\n"
        f"experiment = experiments.parse({experiment.text!r}, {experiment.name!r}{beside})\n"
        "with t.Engine(t.load_model(experiment.model)) as engine:\n"
        "    result = experiments.perform(experiment, engine)\n"
        "report.summary(result)"
    )
    title = {"cell_type": "markdown", "metadata": {}, "source": f"# {plain_line(experiment.title)}\n\nMade by Tiller."}
    cells = [title] + [
        {"cell_type": "code", "metadata": {}, "source": code, "outputs": [], "execution_count": None}
        for code in (run, "for line in report.findings(result):\n    print(line)", "report.trials(result)")
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}, indent=1)


def plain_line(text: str) -> str:
    """A text as one line of Markdown that shows it literally."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def to_markdown(result: Result) -> str:
    """The tables of a report as Markdown, for a README: what it supports, every set, effect and spillover."""
    lines = [
        f"### {result.experiment.title}",
        "",
        f"`{command(result)}`: {result.took}.",
        *(f"\nSeen before: {plain_line(line)}" for line in result.warnings),
        *(f"\n{plain_line(line)}" for line in [*unreadable(result), *inattentive(result)]),
    ]
    for one in sets_of(result):
        shown = measures_of(result)[one.name]
        lines += [
            "",
            f"**{one.name}** ({len(one)} items)",
            "",
            f"| arm | {' | '.join(m.replace('_', ' ') for m in shown)} |",
        ]
        lines.append("| --- |" + " --- |" * len(shown))
        for name in rows(result):
            cells = [result.table.cell(name, one.name, measure) for measure in shown]
            if any(cells):
                lines.append(f"| {name} | " + " | ".join(interval(c) if c else "" for c in cells) + " |")
    if result.spillovers:
        lines += ["", "| arm | target | effect | spillover | selectivity | broken |", "| --- |" + " --- |" * 5]
        for name, one in result.spillovers.items():
            lines.append(f"| {name} | {one.target} | " + " | ".join(spans(one)) + " |")
        lines += ["", *_held_out_lines(result)]
    lines += _cost_lines(result)
    named = findings(result) if result.experiment.data.get("compare") else []
    return "\n".join([*lines, "", *(f"- {line}" for line in named)]) + "\n"


def costs(result: Result) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """What every arm costs where nothing should happen: the columns' names, and an arm's cells with their intervals.

    The Kullback-Leibler divergence of the next token on neutral prompts, and how much more every kind of text surprises
    the arm than the baseline, text by text.
    """
    if not result.side_effects:
        return [], []
    base = next(one for one in result.side_effects if one.arm == BASELINE.name)
    kinds = list(base.cross_entropy)
    body = []
    for one in result.side_effects:
        cells = []
        if one.kl:
            cells.append(_spread(one.kl, "") if one.arm != base.arm else "0")
        for kind in kinds:
            mine, theirs = one.cross_entropy[kind], base.cross_entropy[kind]
            more = [a - b for a, b in zip(mine, theirs, strict=True)]
            cells.append(f"{sum(mine) / len(mine):.3g}" if one.arm == base.arm else _spread(more, "+"))
        body.append((one.arm, cells))
    head = ["KL of the next token, nats"] if base.kl else []
    head += [f"surprise, {kind}, nats a token (n = {len(base.cross_entropy[kind])})" for kind in kinds]
    return head, body


def _spread(values: Sequence[float], sign: str) -> str:
    if len(values) < 2:
        return f"{values[0]:{sign}.2g}"
    e = bootstrap(values)
    return f"{e.value:{sign}.2g} [{e.low:{sign}.2g}, {e.high:{sign}.2g}]"


def _cost_lines(result: Result) -> list[str]:
    head, body = costs(result)
    if not head:
        return []
    lines = ["", "Where nothing should happen; surprise beside the baseline's:", ""]
    lines += [f"| arm | {' | '.join(head)} |", "| --- |" + " --- |" * len(head)]
    return lines + [f"| {arm} | {' | '.join(cells)} |" for arm, cells in body]


def spans(one: Spillover) -> list[str]:
    return [f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]" for e in (one.effect, one.spill, one.selectivity, one.broken)]


def _held_out_lines(result: Result) -> list[str]:
    """Settings chosen on one half of the dilemmas, judged on the other, and the families compared pair by pair."""
    found = held_out(result.outcomes, result.sets, result.arms)
    lines = ["Chosen on one half of the dilemmas, judged on the other:", ""]
    lines += [
        "| family | target | chosen of | setting | effect | spillover | selectivity | broken |",
        "| --- |" + " --- |" * 7,
    ]
    for one in found:
        lines.append(
            f"| {one.family} | {one.target} | {one.tried} | {one.arm} | " + " | ".join(spans(one.judged)) + " |"
        )
    lines.append("")
    for one in found:
        for other in found:
            if one.target == other.target and other.family == YARDSTICK and one.family != YARDSTICK:
                d = difference(one, other)
                lines.append(
                    f"- {one.arm} against {other.arm}: {100 * d.value:+.0f} points of the target's share "
                    f"[{100 * d.low:+.0f}, {100 * d.high:+.0f}], same dilemmas."
                )
    return lines
