"""A report as one HTML file that needs nothing else.

Whatever a model or a visitor wrote is escaped; the only script in the page is plotly's own, inline.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from ..evaluations.comparison import Change
from ..evaluations.sets.sets import EvaluationSet
from ..plots import charts as plots
from ..plots import figures
from ..plots.acceptance import acceptance
from ..plots.base import Palette
from ..plots.radar import radar
from . import Calibrated, Result
from .first_look import first_look, foundations
from .report_words import (
    chance,
    command,
    costs,
    findings,
    how_read,
    inattentive,
    interval,
    kind_of,
    measures_of,
    named_arm,
    number,
    rows,
    rule,
    sets_of,
    smallest,
    spans,
    tally,
    test_of,
    unreadable,
    with_values,
)
from .voices import held_out

# For paper: the light theme, with opaque bands.
PAPER = Palette(
    ink="#24221f", muted="#68645d", rule="#e3dfd5", surface="#ffffff", baseline="#8a857b", accent="#0b7285",
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
tr.baseline td, tr.control td { color: #68645d; } .muted { color: #68645d; }
pre { background: #f4f2ec; padding: .8rem; overflow-x: auto; font-size: 13px; } .scroll { overflow-x: auto; }
blockquote { margin: .2rem 0 .7rem; padding-left: .8rem; border-left: 3px solid #e3dfd5; white-space: pre-wrap; }
summary { cursor: pointer; } figure { margin: 1rem 0; background: #fff; padding: .6rem; border-radius: 6px; }
figcaption { padding: 0 .6rem; }
@media (prefers-color-scheme: dark) {
  body { background: #141517; color: #e9e6df; } th, td { border-color: #33353a; } pre { background: #1d1f22; }
  .muted, tr.baseline td, tr.control td { color: #a6a199; } blockquote { border-color: #33353a; }
  figcaption.muted { color: #68645d; }
}
@media print { details > * { display: block; } pre { white-space: pre-wrap; } }
"""


def esc(text: object) -> str:
    """Text as HTML shows it literally."""
    return html.escape(str(text), quote=True)


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
        f"{result.took} · again with <code>{esc(command(result))}</code></p>"
    )
    if result.warnings:
        page.add("<h2>Seen before</h2><ul>", *(f"<li>{esc(line)}</li>" for line in result.warnings), "</ul>")
        _seen(page, result)
    page.add("<h2>What it supports</h2>")
    look = first_look(result)
    if look is not None:
        page.add(f"<p>{esc(look.sentence)}</p>")
        page.figure(
            acceptance(look.spots, PAPER, best=look.best),
            "False claims accepted against true claims denied: the nearer to the lower left corner, the better. Small "
            "dots are random directions of equal norm, diamonds other controls, the open circle is the baseline.",
        )
    page.add(*(f"<p><b>{esc(line)}</b></p>" for line in [*unreadable(result), *inattentive(result)]))
    lines = findings(result)
    if look is None:
        page.add(f"<p>{esc(tally(result))}</p>")
    page.add(f"<details{'' if look else ' open'}><summary>Every comparison in words ({len(lines)})</summary><ul>")
    page.add(*(f"<li>{esc(line)}</li>" for line in lines), "</ul>")
    page.add(f"<p class='muted'>{esc(rule(result))} {esc(chance(result))}</p></details>")
    for one in sets_of(result):
        _set(page, result, one)
    _spillovers(page, result)
    _side_effects(page, result)
    for calibrated in result.calibrated:
        _calibration(page, calibrated)
    page.add("<h2>Settings</h2>", f"<pre>{esc(result.experiment.text)}</pre>")
    versions = esc(json.dumps(about, indent=1, default=str))
    page.add(f"<details><summary>Versions and hashes</summary><pre>{versions}</pre></details>")
    _texts(page, result)
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
    head += "<meta name='color-scheme' content='light dark'>"
    head += f"<title>{esc(result.experiment.title)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(page.parts)}</body></html>"


def _seen(page: _Page, result: Result) -> None:
    body = [("", [one.set, item, text]) for one in result.overlaps for item, text in one.examples]
    if body:
        page.add("<details><summary>Examples</summary>")
        page.table(["set", "item", "text of the pairs"], body)
        page.add("</details>")


def _set(page: _Page, result: Result, one: EvaluationSet) -> None:
    shown = measures_of(result)[one.name]
    page.add(
        f"<h2>{esc(one.name)}</h2><p class='muted'>{len(one)} items, scored by {esc(one.scorer.name)}. "
        f"{esc(how_read(one))}</p>"
    )
    body, names = [], with_values(result, one.name, (*shown, "repetition", "surprise"))
    for name in rows(result):
        cells = [result.table.cell(name, one.name, measure) for measure in names]
        if any(cells):
            body.append((kind_of(result, name), [name, *(interval(c) if c else "" for c in cells)]))
    page.table(["arm", *(m.replace("_", " ") + (" (nats)" if m == "surprise" else "") for m in names)], body)
    for measure in shown[:2]:
        points = []
        for name in rows(result):
            cell = result.table.cell(name, one.name, measure)
            if cell is not None:
                points.append(figures.Point(named_arm(cell), cell.value, cell.low, cell.high, kind_of(result, name)))
        if points:
            figure = figures.forest(points, PAPER, x=measure.replace("_", " "), share=points[0].high <= 1)
            page.figure(figure, f"{measure.replace('_', ' ')} on {one.name}: value and 95% interval of every arm.")
    names, rated = foundations(result, one.name)
    if rated:
        base_name = next(arm.name for arm in result.arms if arm.kind == "baseline")
        page.figure(
            radar(names, rated, PAPER, dotted=[base_name]),
            "Moral foundations, with 95% intervals over items. Arms of which over a tenth was unread are left out.",
        )
    changes = [c for c in result.table.changes if c.set == one.name and c.measure in shown]
    body = [(kind_of(result, c.arm), _change(c)) for c in changes if kind_of(result, c.arm) != "control"]
    page.add("<details><summary>Changes, paired over items</summary>")
    page.table(
        ["arm", "against", "measure", "change", "up / down", "test", "smallest to be found", "rank", "verdict"],
        body,
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
        test_of(c),
        smallest(c),
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
        body.append((kind_of(result, name), [name, one.target, *spans(one)]))
    page.table(["arm", "target", "effect", "spillover", "selectivity", "growth of unreadable answers"], body)
    head = ["family", "target", "chosen of", "setting", "effect", "spillover", "selectivity", "broken"]
    found = held_out(result.outcomes, result.sets, result.arms)
    page.add("<h3>Chosen on one half of the dilemmas, judged on the other</h3>")
    page.table(head, [("", [h.family, h.target, str(h.tried), h.arm, *spans(h.judged)]) for h in found])
    _by_layer(page, result)
    steered = [name for name in result.spillovers if kind_of(result, name) == "steered"]
    points = [figures.Point(name, *result.spillovers[name].effect) for name in steered]
    page.figure(figures.forest(points, PAPER, x="effect on the target's share"), "Effect of every arm on its target.")


def _by_layer(page: _Page, result: Result) -> None:
    """Effect and spillover of each family over the layers, where a family was tried at several."""
    for part, said in (("effect", "effect on the target's share"), ("spill", "spillover")):
        series: dict[str, dict[float, tuple[float, float, float]]] = {}
        for arm in result.arms:
            if "layer" in arm.settings and arm.name in result.spillovers:
                rest = {k: v for k, v in arm.settings.items() if k not in ("layer", "family", "target")}
                more = "".join(f", {k.rstrip('_')} {v:g}" for k, v in rest.items() if isinstance(v, int | float))
                name = f"{arm.settings.get('family', 'arm')}{more} to {arm.settings.get('target')}"
                series.setdefault(name, {})[float(arm.settings["layer"])] = tuple(
                    getattr(result.spillovers[arm.name], part)
                )
        for target in dict.fromkeys(str(arm.settings.get("target")) for arm in result.arms if "layer" in arm.settings):
            some = {n.removesuffix(f" to {target}"): v for n, v in series.items() if n.endswith(f" to {target}")}
            layers = sorted({layer for values in some.values() for layer in values})
            whole = {n: [v[layer] for layer in layers] for n, v in some.items() if len(v) == len(layers) > 1}
            if whole:
                figure = figures.bands(layers, whole, PAPER, x="layer", y=said, height=420)
                page.figure(figure, f"{said.capitalize()} by layer, target {target}, with 95% intervals.")


def _side_effects(page: _Page, result: Result) -> None:
    if not result.side_effects:
        return
    page.add("<h2>Side effects where nothing should happen</h2>")
    head, body = costs(result)
    page.add("<p class='muted'>Surprise beside the baseline's, text by text, with 95% intervals.</p>")
    page.table(["arm", *head], [(kind_of(result, arm), [arm, *cells]) for arm, cells in body])


def _calibration(page: _Page, one: Calibrated) -> None:
    page.add(f"<h2>Threshold {esc(one.name)} for {esc(one.direction)}: {one.tau:.4g}</h2>")
    groups = {"concept": list(one.concept), "to be left alone": list(one.other)}
    figure = plots.histogram(groups, PAPER, tau=one.tau, x="largest projection in a text")
    page.figure(figure, "Peaks of the projection, a text each; the regulator acts on texts beyond the line.")
    body = []
    for c in one.candidates:
        rates = [f"{100 * e.value:.0f}% [{100 * e.low:.0f}, {100 * e.high:.0f}]" for e in (c.caught, c.disturbed)]
        body.append(("", [c.name, f"{c.tau:.4g}", *rates, f"{c.f1:.2f}", f"{c.youden:.2f}"]))
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
