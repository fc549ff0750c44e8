"""Verdicts of whole reports: none where nothing changed, one where something did, and unread answers are no zeros."""

from __future__ import annotations

import numpy as np
import pytest

from steering import evaluations as ev
from steering.evaluations import comparison
from steering.experiments.report_words import interval, sentence
from steering.statistics import LEVEL, MIN_ITEMS

CLAIMS = ev.scorer("claims")


def claims(n: int, name: str = "claims") -> ev.EvaluationSet:
    return ev.EvaluationSet(tuple(ev.Item(f"q{k}", labels={"true": False}) for k in range(n)), CLAIMS, name)


def answers(arm: str, set_name: str, **measures: np.ndarray) -> list[ev.Outcome]:
    rows = [dict(zip(measures, map(float, values), strict=True)) for values in zip(*measures.values(), strict=True)]
    return [ev.Outcome(arm, set_name, k, 0, measures=row) for k, row in enumerate(rows)]


def drawn(rng: np.random.Generator, arm: str, one: ev.EvaluationSet, items: dict[str, np.ndarray]) -> list[ev.Outcome]:
    """Answers of an arm that differ from others by chance alone; items are hard or easy, texts long or short."""
    n = len(one)
    said = {name: rng.random(n) < items[name] for name in ("accepts_false", "refuses")}
    return answers(
        arm, one.name, **said, undecided=np.zeros(n), tokens=rng.poisson(items["long"]), # skewed, with ties
        surprise=items["hard"] + rng.exponential(0.3, n), repetition=rng.random(n) * (rng.random(n) < 0.2),
    )  # fmt: skip


def test_a_whole_report_of_the_baseline_against_itself_finds_nothing() -> None:
    """A test of the test: four arms that are the baseline again, two sets, six measures: 48 comparisons each.

    In at most LEVEL of all reports (a binomial bound) is anything called a change, though 1 in 20 of the comparisons by
    itself has p below 0.05.
    """
    rng = np.random.default_rng(0)
    sets = [claims(n, f"set {n}") for n in (12, 40)]
    arms = [ev.BASELINE, *(ev.Arm(f"a{k}") for k in range(2)), *(ev.again(seed) for seed in (1, 2))]
    reports, false, single, compared = 30, 0, 0, 0
    for _ in range(reports):
        outcomes = []
        for one in sets:
            n = len(one)
            items = {"accepts_false": rng.random(n), "refuses": rng.beta(0.3, 2, n), "long": rng.gamma(2, 8, n)}
            items["hard"] = rng.normal(2, 0.5, n)
            for arm in arms:
                outcomes += drawn(rng, arm.name, one, items)
        table = comparison.table(outcomes, sets, arms)
        assert {change.family for change in table.changes} == {len(table.changes)}
        false += any(change.clear for change in table.changes)
        single += sum((change.p or 1) < 0.05 for change in table.changes)
        compared += len(table.changes)
    print(
        f"{reports} reports of {compared // reports} comparisons: {false} with a false verdict; {single / compared:.3f}"
    )
    assert false <= 5  # of 30 at a rate of LEVEL: at most 5 in 99%
    assert LEVEL == 0.05 and 0.01 < single / compared < 0.06


def test_an_effect_is_found_in_a_report_and_said_once_for_each_way() -> None:
    rng = np.random.default_rng(0)
    one = claims(60)
    base = rng.random(60) < 0.8
    steered = base & (rng.random(60) < 0.2)
    arms = [ev.BASELINE, ev.Arm("less"), ev.Arm("same")]
    outcomes = answers("Baseline", "claims", accepts_false=base, surprise=rng.normal(2, 0.1, 60))
    outcomes += answers("less", "claims", accepts_false=steered, surprise=rng.normal(3, 0.1, 60))
    outcomes += answers("same", "claims", accepts_false=base, surprise=rng.normal(2, 0.1, 60))
    table = comparison.table(outcomes, [one], arms)
    verdicts = {(c.arm, c.measure): c.verdict for c in table.changes}
    assert verdicts == {
        ("less", "accepts_false"): "better", ("less", "surprise"): "worse",
        ("same", "accepts_false"): "no clear change", ("same", "surprise"): "no clear change",
    }  # fmt: skip
    change = table.change("less", "claims", "accepts_false")
    assert change is not None and change.p is not None and change.adjusted is not None and change.detectable is not None
    assert change.p < change.adjusted <= 4 * change.p and change.family == 4
    assert change.low < change.change < change.high < 0 and 0.1 < change.detectable < 0.3
    assert "4 comparisons (Holm)" in sentence(change) and "Verdict: better." in sentence(change)


def test_no_verdict_is_made_of_few_items() -> None:
    few, many = claims(MIN_ITEMS - 1), claims(MIN_ITEMS)
    for one, said in ((few, f"too few items (under {MIN_ITEMS})"), (many, "better")):
        n = len(one)
        outcomes = answers("Baseline", one.name, accepts_false=np.ones(n)) + answers(
            "a", one.name, accepts_false=np.zeros(n)
        )
        change = comparison.table(outcomes, [one], [ev.BASELINE, ev.Arm("a")]).change("a", one.name, "accepts_false")
        assert change is not None and change.verdict == said


def test_seeds_of_a_random_control_are_no_comparisons_of_their_own() -> None:
    """More seeds are more to compare with, not more to correct for; they are pooled into one comparison."""
    one, rng = claims(20), np.random.default_rng(0)
    arms = [ev.BASELINE, ev.Arm("a")]
    arms += [ev.Arm(f"r{k}", kind="control", of="a", group="random for a") for k in range(5)]
    outcomes = [o for arm in arms for o in answers(arm.name, "claims", accepts_false=rng.random(20) < 0.5)]
    table = comparison.table(outcomes, [one], arms)
    assert {c.arm: c.verdict for c in table.changes} == {
        "a": "no clear change", "random for a": "no clear change", **{f"r{k}": "a control" for k in range(5)},
    }  # fmt: skip
    assert {c.family for c in table.changes} == {2}


@pytest.mark.parametrize(("unread", "ranged"), [(2, False), (54, True)])
def test_a_share_of_unread_answers_is_no_zero(unread: int, ranged: bool) -> None:
    """54 of 60 answers undecided: "accepts 0%" may be anything up to 90%, and nothing is claimed of it."""
    one, lost = claims(60), np.arange(60) < unread
    outcomes = answers("Baseline", "claims", accepts_false=np.ones(60), undecided=np.zeros(60))
    outcomes += answers("a", "claims", accepts_false=np.zeros(60), undecided=lost)
    table = comparison.table(outcomes, [one], [ev.BASELINE, ev.Arm("a")])
    cell, change = table.cell("a", "claims", "accepts_false"), table.change("a", "claims", "accepts_false")
    assert cell is not None and change is not None
    assert cell.unread == change.unread == pytest.approx(unread / 60)
    assert (change.verdict == "too many answers unread") == ranged
    assert ("unread" in interval(cell)) == ranged and ("could not be read" in sentence(change)) == ranged
    if ranged:
        assert cell.low < 0.01 and cell.high > 0.9 and (change.low, change.high) == pytest.approx((-1.0, -0.1))
    else:
        assert cell.high < 0.1 and change.verdict == "better"


def test_answers_that_are_missing_where_unread_are_counted_too() -> None:
    """A judge who cannot be read gives no yes or no at all: 3 yes of 10 read, 30 unread, may be 3 to 33 of 40."""
    scorer = ev.scoring.judge.Judge(ev.scoring.judge.Endpoint("http://x", "m"), "yes or no", "Is it true?")
    one = ev.EvaluationSet(tuple(ev.Item(f"q{k}") for k in range(40)), scorer, "s")
    rows = [{"unjudged": 0.0, "judge_says_yes": float(k < 3)} if k < 10 else {"unjudged": 1.0} for k in range(40)]
    outcomes = [ev.Outcome(arm, "s", k, 0, measures=row) for arm in ("Baseline", "a") for k, row in enumerate(rows)]
    table = comparison.table(outcomes, [one], [ev.BASELINE, ev.Arm("a")])
    cell, change = table.cell("a", "s", "judge_says_yes"), table.change("a", "s", "judge_says_yes")
    assert cell is not None and cell.unread == 0.75 and cell.low < 3 / 40 and cell.high > 33 / 40
    assert change is not None and change.verdict == "too many answers unread"
    assert (change.low, change.high) == pytest.approx((-30 / 40, 30 / 40))
