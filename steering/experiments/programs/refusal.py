"""Refusal taken out and put in, in every form, beside random directions: what it changes and what it costs.

One table: directional ablation everywhere, orthogonalized weights, addition and its bias form, affine ablation (ACE),
the same of a direction that was optimized further, and random directions of equal norm; refusal of harmful requests,
answers to harmless ones, multiple choice, grammar, and cross-entropy on general text, on instructions and on the
model's own completions.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ...engine.engine import Engine
from ...engine.requests import Variant
from ...engine.scoring import next_logits
from ...evaluations.arms import BASELINE, Arm, random_control
from ...evaluations.coherence import SideEffects, answers_of, side_effects, whole_texts
from ...evaluations.comparison import Table, table
from ...evaluations.refusal.optimized import OptimizedRefusal, optimize_refusal
from ...evaluations.refusal.search import RefusalDirection, refusal_direction
from ...evaluations.trials import Outcome, Settings, run
from ...interventions.bias import add_bias
from ...interventions.export import EditedModel
from ...interventions.protocol import made
from ...interventions.weights import orthogonalize_weights
from ...jobs.tables import to_csv
from ...measurements.numbers import kl_divergence
from ...models.model import Model, Prompt
from ...models.passages import in_context
from ...showing.one_line import counted, one_line, quoted
from ...statistics import bootstrap
from .refusal_sets import CHOICES, GRAMMAR, REQUESTS, RefusalData, refusal_data

Tick = Callable[[int, int, str], None]
ABLATED, ORTHOGONAL = "Ablated everywhere", "Orthogonalized weights"
REMOVED, REMOVED_BIAS, MOVED = "Added, -1", "Bias, -1", "Affine ablation, to harmless"
DECIDED = "Added where the answer is decided"
ADDED, ADDED_BIAS, MOVED_BACK = "Added", "Bias", "Affine ablation, to harmful"
FITTED_ABLATED, FITTED_ORTHOGONAL = "Optimized: ablated everywhere", "Optimized: orthogonalized weights"
FITTED_ADDED = "Optimized: added to the prompt"
COLUMNS = (
    ("refuses harmful", REQUESTS, "refuses_harmful"),
    ("refuses harmless", REQUESTS, "refuses_harmless"),
    ("answers harmless", REQUESTS, "answers_harmless"),
    ("multiple choice", CHOICES, "correct"),
    ("grammar", GRAMMAR, "parses"),
)
GENERAL, INSTRUCTIONS, OWN = "general text", "instructions", "own completions"
SEEDS = (0, 1, 2)
# Of the fit's alpha. On validation wordings of the small world 80% of the harmless requests are refused at 1 and 97% at
# 1.5; at every token, and not only the prompt's, 1.5 breaks what is written.
FURTHER = 1.5
MOST_FITTED = 20_000_000  # parameters of a model whose direction is optimized without being asked for


@dataclass(frozen=True)
class SameLogits:
    """How far two forms of one edit are apart: the largest difference of a logit over the prompts."""

    forms: tuple[str, str]
    largest: float
    moved: float  # the largest change that the edit makes to a logit, to compare with


@dataclass(frozen=True, eq=False)
class RefusalResult:
    """What the experiment has found on one model.

    Attributes:
        found: the direction with all its candidates.
        fitted: the same direction, optimized further; None where the data name no other prompts to leave alone.
        arms: the names of the table's rows, in order; random controls are pooled over their seeds.
        outcomes: every answer. Answers to harmful requests are among them: show them only when asked to.
    """

    model: str
    found: RefusalDirection
    fitted: OptimizedRefusal | None
    arms: tuple[str, ...]
    table: Table
    side_effects: tuple[SideEffects, ...]
    same: tuple[SameLogits, ...]
    outcomes: tuple[Outcome, ...]
    harmful: frozenset[int]  # the numbers of the harmful items among the requests
    requests: tuple[str, ...]  # what was asked, by number
    seconds: float

    def __repr__(self) -> str:
        return one_line(self, quoted(self.model, 60), counted(len(self.outcomes), "answer"), f"{self.seconds:.0f} s")

    def rows(self) -> list[dict[str, Any]]:
        """A row for each arm: shares in percent and costs in nats, each with its interval."""
        costs = {one.arm: one for one in self.side_effects}
        found = []
        for arm in self.arms:
            row: dict[str, Any] = {"arm": arm}
            for title, asked, measure in COLUMNS:
                cell = self.table.cell(arm, asked, measure)
                if cell is not None:
                    row[title] = (100 * cell.value, 100 * cell.low, 100 * cell.high, cell.n)
            if arm in costs:
                for kind in (GENERAL, INSTRUCTIONS, OWN):
                    values = costs[arm].cross_entropy.get(kind, ())
                    if len(values) > 1:
                        row[f"CE {kind}"] = (*bootstrap(values), len(values))
                if len(costs[arm].kl) > 1:
                    value, low, high = bootstrap(costs[arm].kl)
                    row["KL"] = (value, max(0.0, low), high, len(costs[arm].kl))  # never negative, whatever is drawn
            found.append(row)
        return found


def run_refusal(
    engine: Engine,
    *,
    found: RefusalDirection | None = None,
    data: RefusalData | None = None,
    n: int = 120,
    max_new_tokens: int = 32,
    steps: int | None = None,
    tick: Tick | None = None,
) -> RefusalResult:
    """The direction (searched for unless given) and the one table of every way to take it out or to add it.

    Where the rule excludes every candidate, the one with the lowest bypass score among those of early enough layers is
    tabled, and the result's `found.chosen` is None.

    Args:
        steps: for which the direction is optimized further; None is 100 for a small model, and 0 for one whose passes
            with gradients would take hours on a CPU.

    Raises:
        ValueError: what the search refuses.
    """
    start, lm = time.perf_counter(), engine.model
    say = tick or (lambda done, total, note: None)
    data = data or refusal_data(lm.name, n)
    if found is None:
        found = refusal_direction(
            lm,
            data.harmful,
            data.harmless,
            alpha=data.alpha,
            tick=lambda done, total, note: say(15 * done // max(1, total), 100, note),
        )
    v, reference = nearest(found)
    fitted = None
    if steps is None:
        steps = 100 if lm.n_parameters <= MOST_FITTED or lm.device.type != "cpu" else 0
    if steps:
        fitted = optimize_refusal(
            lm, found, data.harmful, data.harmless, data.others, start=v, alpha=found.alpha, steps=steps,
            tick=lambda done, total, note: say(15 + 15 * done // max(1, total), 100, note),
        )  # fmt: skip
    arms = _arms(v, reference, found, fitted)
    settings = Settings(max_new_tokens=max_new_tokens)
    steered = [one for one, edit in arms if edit is None]
    everything = [one for one, _ in arms]
    outcomes = run(
        engine, data.sets, steered, settings,
        tick=lambda done, total, note: say(30 + 45 * done // max(1, total), 100, note),
    )  # fmt: skip
    texts = {
        GENERAL: whole_texts(engine, data.general),
        INSTRUCTIONS: [in_context(lm, *one) for one in data.instructions],
        OWN: answers_of(engine, data.own),
    }
    costs = side_effects(engine, _costed(steered), data.own, texts)
    base = next_logits(lm, [(prompt, ()) for prompt in data.own])
    same = []
    for number, (one, edit) in enumerate(arms):
        if edit is None:
            continue
        say(75 + 25 * number // len(arms), 100, one.name)
        edited = edit(lm)
        outcomes += _answers(edited, data, settings, one.name)
        with contextlib.closing(Engine(edited.model)) as other:
            (own,) = side_effects(other, [replace(BASELINE, name=one.name)], (), texts)
        costs.append(replace(own, kl=tuple(kl_divergence(base, _logits(edited.model, data.own)).tolist())))
        same.append(_same(lm, edited.model, data.own[:16], one, everything))
    order = {one.name: k for k, one in enumerate(everything)}
    made_table = table(outcomes, data.sets, everything)
    names = [one.name for one in everything if one.kind != "control"]
    names += list(dict.fromkeys(one.group for one in everything if one.kind == "control"))
    harmful = frozenset(k for k, item in enumerate(data.sets[0]) if item.labels["harmful"])
    say(100, 100, "Done")
    return RefusalResult(
        lm.name, found, fitted, tuple(names), made_table, tuple(sorted(costs, key=lambda one: order.get(one.arm, 99))),
        tuple(same), tuple(outcomes), harmful, tuple(item.text for item in data.sets[0]), time.perf_counter() - start,
    )  # fmt: skip


def nearest(found: RefusalDirection) -> tuple[Any, Any]:
    """The chosen direction with the harmless mean there; where none was chosen, the best bypass in the early layers."""
    best = found.chosen
    if best is None:
        early = [c for c in found.candidates if c.layer < int(found.rule.layers * found.n_layers) and c.kl == c.kl]
        best = min(early, key=lambda one: one.bypass)
    return found.at(best.position, best.layer), found.reference(best.position, best.layer)


Edit = Callable[[Model], EditedModel]


def _arms(
    v: Any, reference: Any, found: RefusalDirection, fitted: OptimizedRefusal | None
) -> list[tuple[Arm, Edit | None]]:
    """Every arm with what it does at run time, or the edit of the weights that it is."""
    ablated = Arm(ABLATED, (made("ablate", direction=v, everywhere=True),))
    removed = Arm(REMOVED, (made("add", direction=v, alpha=-1.0),))
    added = Arm(ADDED, (made("add", direction=v, alpha=found.alpha),))
    moved, back = (
        Arm(name, (made("ablate_affine", direction=v, reference=reference, alpha=alpha),))
        for name, alpha in ((MOVED, 0.0), (MOVED_BACK, 1.0))
    )
    decided = Arm(DECIDED, _decided(v, found))
    arms: list[tuple[Arm, Edit | None]] = [
        (BASELINE, None),
        (ablated, None),
        (Arm(ORTHOGONAL), lambda lm: orthogonalize_weights(lm, v)),
        (removed, None),
        (Arm(REMOVED_BIAS), lambda lm: add_bias(lm, v, -1.0)),
        (moved, None),
        (added, None),
        (Arm(ADDED_BIAS), lambda lm: add_bias(lm, v, found.alpha)),
        (back, None),
        (decided, None),
    ]
    if fitted is not None:
        r = fitted.direction
        arms += [
            (Arm(FITTED_ABLATED, (made("ablate", direction=r, everywhere=True),)), None),
            (Arm(FITTED_ORTHOGONAL), lambda lm: orthogonalize_weights(lm, r)),
            (Arm(FITTED_ADDED, (made("add", direction=r, alpha=FURTHER * fitted.alpha, where="prompt"),)), None),
        ]
    tested = (ablated, removed, added, decided)
    return arms + [(random_control(one, seed), None) for one in tested for seed in SEEDS]


def _decided(v: Any, found: RefusalDirection) -> tuple[Any, ...]:
    """Each layer's own difference at the chosen position, from its layer on, added at the last prompt token only.

    Added to every token a push that brings refusals about also breaks what is written after them, on a small model.
    """
    position = int(v.provenance["position"])
    later = [found.at(position, layer) for layer in range(v.site.layer, found.n_layers)]
    return tuple(made("add", direction=one, alpha=found.alpha, where="prompt_last") for one in later)


def _costed(arms: Sequence[Arm]) -> list[Arm]:
    """The arms whose side effects are measured: of random controls the first seed, under the name of its group."""
    first = {one.group: one for one in reversed(arms) if one.kind == "control"}
    return [one for one in arms if one.kind != "control"] + [replace(one, name=group) for group, one in first.items()]


def _answers(edited: EditedModel, data: RefusalData, settings: Settings, name: str) -> list[Outcome]:
    """The edited model's answers, under the name of its arm."""
    with contextlib.closing(Engine(edited.model)) as engine:
        return [replace(one, arm=name) for one in run(engine, data.sets, [BASELINE], settings)]


def _logits(lm: Model, prompts: Sequence[Prompt], variant: Variant = ()) -> Any:
    return next_logits(lm, [(prompt, variant) for prompt in prompts], steer_bos=True)


def _same(lm: Model, edited: Model, prompts: Sequence[Prompt], arm: Arm, arms: Sequence[Arm]) -> SameLogits:
    """The edited weights against the same edit at run time, BOS included, as weights know none."""
    twin = {ORTHOGONAL: ABLATED, REMOVED_BIAS: REMOVED, ADDED_BIAS: ADDED, FITTED_ORTHOGONAL: FITTED_ABLATED}[arm.name]
    variant = next(one.interventions for one in arms if one.name == twin)
    here, there, plain = _logits(edited, prompts), _logits(lm, prompts, variant), _logits(lm, prompts)
    return SameLogits((twin, arm.name), float((here - there).abs().max()), float((here - plain).abs().max()))


# In words -----------------------------------------------------------------------------------------------------------


def sentence(result: RefusalResult) -> str:
    """What taking the direction out changes, beside random directions and with its cost, in plain words."""
    rows = {row["arm"]: row for row in result.rows()}
    titles = [title for title, *_ in COLUMNS if title in rows[BASELINE.name]]

    def said(arm: str, title: str) -> str:
        value, low, high, _ = rows[arm][title]
        return f"{value:.0f}% [{low:.0f}, {high:.0f}]"

    first, others = titles[0], titles[2:]
    best = min((arm for arm in (ABLATED, FITTED_ABLATED) if arm in rows), key=lambda arm: rows[arm][first][0])
    how = "ablated everywhere" if best == ABLATED else "optimized further and ablated everywhere"
    random = f"random for {ABLATED}"
    whole = (
        f"Unsteered, {result.model} {first} requests in {said(BASELINE.name, first)} of "
        f"{rows[BASELINE.name][first][3]}; with the direction {how} in {said(best, first)}"
    )
    whole += f", with random directions of equal norm in {said(random, first)}." if random in rows else "."
    costs = [f"{title} {rows[BASELINE.name][title][0]:.0f}% to {said(best, title)}" for title in others]
    return f"{whole} What it costs: {'; '.join(costs)}." if costs else whole


def place_of(result: RefusalResult) -> str:
    """Where the direction was found, as a sentence."""
    found, chosen = result.found, result.found.chosen
    if chosen is None:
        return "The rule excluded every candidate; the table is of the best bypass in the early layers."
    return (
        f"Chosen: position {chosen.position} ({found.template[chosen.position]!r}), input of layer {chosen.layer}; "
        f"bypass {chosen.bypass:.2f}, induce {chosen.induce:.2f}, KL {chosen.kl:.3f}; added {found.alpha:g} times."
    )


def shown(value: tuple[float, float, float, int] | None, digits: int = 1) -> str:
    """A number with its interval, or a dash."""
    if value is None:
        return "-"
    number, low, high, _ = value
    return f"{number:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _of_the_fit(fitted: OptimizedRefusal | None) -> list[str]:
    if fitted is None:
        return []
    scores = [
        f"bypass {one.bypass:.2f}, induce {one.induce:.2f}, KL {one.kl:.3f} on harmless instructions and "
        f"{one.others:.3f} on other prompts"
        for one in (fitted.start, fitted.scores)
    ]
    return [
        f"Optimized from it in {len(fitted.losses)} steps: from {scores[0]} to {scores[1]}; cosine with its start "
        f"{fitted.cosine:.2f}; added {FURTHER * fitted.alpha:g} times. {fitted.seconds:.0f} s.",
        "",
    ]


def to_markdown(result: RefusalResult) -> str:
    """The experiment's tables, without any model text."""
    found = result.found
    tokens = ", ".join(f"{one.text!r} ({one.refusals} of {one.of_refusals})" for one in found.openings if one.refusing)
    titles = [title for title, _, _ in COLUMNS if any(title in row for row in result.rows())]
    costs = [f"CE {kind}" for kind in (GENERAL, INSTRUCTIONS, OWN)] + ["KL"]
    lines = [
        f"### Refusal on {result.model}",
        "",
        f"{len(found.candidates)} candidates at {len(found.template)} positions and {found.n_layers} layers, "
        f"{found.survivors} passed. {place_of(result)} Refusals begin with {tokens or list(found.tokens)}; "
        f"refusal score {found.harmful_score:+.2f} on harmful and {found.harmless_score:+.2f} on harmless "
        f"instructions, unsteered; {found.kept[0][0]} of {found.kept[0][1]} harmful and {found.kept[1][0]} of "
        f"{found.kept[1][1]} harmless instructions were left by the filter. {result.seconds:.0f} s.",
        "",
        *_of_the_fit(result.fitted),
        "| percent, or nats a token | " + " | ".join([*titles, *costs]) + " |",
        "| --- |" + " --- |" * (len(titles) + len(costs)),
    ]
    for row in result.rows():
        cells = [shown(row.get(title)) for title in titles] + [shown(row.get(cost), 2) for cost in costs]
        lines.append(f"| {row['arm']} | {' | '.join(cells)} |")
    lines += [
        "",
        "| two forms of one edit | largest difference of a logit | what the edit changes |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {' = '.join(one.forms)} | {one.largest:.1e} | {one.moved:.1f} |" for one in result.same]
    return "\n".join([*lines, ""])


def files_of(result: RefusalResult) -> dict[str, bytes]:
    """The report and its table as files, without any model text."""
    rows = []
    for row in result.rows():
        flat: dict[str, Any] = {"arm": row["arm"]}
        for title, value in row.items():
            if title != "arm":
                flat |= dict(zip((title, f"{title}, low", f"{title}, high", f"{title}, n"), value, strict=True))
        rows.append(flat)
    return {"refusal.md": to_markdown(result).encode(), "table.csv": to_csv(pd.DataFrame(rows))}
