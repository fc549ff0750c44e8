"""The first look at a result on claims: the arm nearest to the ideal, chosen where the experiment says, and ranges."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from steering import evaluations as ev
from steering import experiments
from steering.evaluations.comparison import table
from steering.experiments import report_words
from steering.experiments.first_look import first_look, foundations, of_plain
from steering.experiments.report_words import (
    guessing,
    how_read,
    inattentive,
    named_arm,
    sets_of,
    tally,
    unreadable,
    with_values,
)

BOTH = {"truth": "x is y", "falsehood": "x is z"}
ARMS = [
    ev.BASELINE,
    ev.Arm("Push"),
    ev.Arm("Shove"),
    ev.Arm("Random 1 for Push", kind="control", of="Push", group="random for Push"),
]


def claims(name: str, n: int = 12, scorer: str = "preference") -> ev.EvaluationSet:
    items = tuple(ev.Item(f"{name} {k}?", labels={"true": k % 2 == 0, **BOTH}) for k in range(n))
    return ev.EvaluationSet(items, ev.scorer(scorer), name)


def outcomes(one: ev.EvaluationSet, accepts: dict[str, float], unread: float = 0.0) -> list[ev.Outcome]:
    """Each arm accepts that share of the false claims, denies no true one, and leaves the last ones unread."""
    found = []
    for arm, share in accepts.items():
        for k, item in enumerate(one):
            lost = float(k >= (1 - unread) * len(one))
            said = (
                {"denies_true": 0.0}
                if item.labels["true"]
                else {"accepts_false": float(k < share * len(one)) * (1 - lost)}
            )
            found.append(ev.Outcome(arm, one.name, k, 0, measures=said | ({"undecided": lost} if unread else {})))
    return found


def result(sets: list[ev.EvaluationSet], found: list[ev.Outcome], **data: Any) -> Any:
    return SimpleNamespace(
        sets=tuple(sets),
        arms=tuple(ARMS),
        outcomes=found,
        table=table(found, sets, ARMS),
        experiment=SimpleNamespace(data=data),
    )


def test_the_arm_nearest_to_the_ideal_is_named_with_its_numbers() -> None:
    one = claims("claims")
    found = first_look(
        result([one], outcomes(one, {"Baseline": 1.0, "Push": 0.5, "Shove": 0.0, "Random 1 for Push": 1.0}))
    )
    assert found is not None and found.best == "Shove"
    assert (
        "Shove accepts 0 of 6 false claims (baseline 6; too few items (under 10)) and denies 0 of 6" in found.sentence
    )
    assert "random directions of equal norm accept 100% of the false" in found.sentence
    assert [spot.kind for spot in found.spots] == ["baseline", "steered", "steered", "random"]
    assert of_plain(found.plain()) == found


def test_one_arm_alone_is_not_said_to_be_nearest() -> None:
    one = claims("claims")
    made = result([one], outcomes(one, {"Baseline": 0.5, "Push": 1.0}))
    found = first_look(made)
    assert found is not None and found.sentence.startswith("Push accepts 6 of 6")


def test_an_arm_chosen_on_other_items_is_shown_on_these() -> None:
    first, second = claims("chosen on"), claims("reported")
    every = {"Baseline": 1.0, "Random 1 for Push": 1.0}
    some = outcomes(first, {"Push": 0.0, "Shove": 0.5, **every}) + outcomes(
        second, {"Push": 0.5, "Shove": 0.0, **every}
    )
    found = first_look(result([first, second], some, choose="chosen on"))
    assert found is not None and (found.set, found.best) == ("reported", "Push")
    assert found.sentence.startswith("Chosen on other items as nearest to the ideal, Push accepts 3 of 6")


def test_unread_answers_end_without_a_verdict_and_say_what_would_read_them() -> None:
    one = claims("claims", 40, "claims")
    made = result([one], outcomes(one, {arm.name: 1.0 for arm in ARMS}, unread=0.5))
    found = first_look(made)
    assert found is not None and "could not be read" in found.sentence and "nothing is concluded" in found.sentence
    (said,) = unreadable(made)
    assert 'The scorer "preference" needs no reading' in said and "50%" in said
    changes = [one for one in made.table.changes if one.measure == "accepts_false" and one.arm in ("Push", "Shove")]
    assert {named_arm(c) for c in made.table.cells if c.arm == "Push" and c.unread} == {"Push (50% unread)"}
    assert changes and all(one.verdict == "too many answers unread" for one in changes)
    low, high = next((c.low, c.high) for c in made.table.cells if c.measure == "accepts_false")
    assert low < 0.6 and high == pytest.approx(1.0, abs=0.01)  # a range, not a confident number


def test_the_set_that_arms_were_chosen_on_comes_last_and_what_nothing_measures_has_no_column(monkeypatch) -> None:
    first, second = claims("chosen on"), claims("reported")
    every = {arm.name: 1.0 for arm in ARMS}
    made = result([first, second], outcomes(first, every) + outcomes(second, every), choose="chosen on")
    assert [one.name for one in sets_of(made)] == ["reported", "chosen on"]
    monkeypatch.setattr(report_words, "rows", lambda found: [arm.name for arm in found.arms])
    assert with_values(made, "reported", ["repetition", "denies_true", "accepts_false"]) == [
        "denies_true",
        "accepts_false",
    ]


def test_how_far_answers_are_read_right_stands_beside_them() -> None:
    assert "nothing is parsed" in how_read(claims("x"))
    assert "agrees with a reading on" in how_read(claims("x", scorer="claims"))
    rule = ev.EvaluationSet((ev.Item("q"),), ev.scorer("rule: yes"), "x")
    assert "has not been measured" in how_read(rule)


def test_a_result_without_a_picture_is_tallied_in_one_sentence() -> None:
    one = claims("x", 24)
    made = result([one], outcomes(one, {"Baseline": 1.0, "Push": 0.0, "Shove": 1.0, "Random 1 for Push": 1.0}))
    said = tally(made)
    assert said.startswith("Of ") and "Push betters accepts false on x" in said and "no clear change" in said
    few = claims("y", 6)
    made = result([few], outcomes(few, {arm.name: 1.0 for arm in ARMS}))
    assert "nothing changed clearly" in tally(made) and "with too few items (under 10)" in tally(made)


def test_foundations_that_could_not_be_read_are_not_drawn() -> None:
    items = tuple(ev.Item(f"q{k}", labels={"foundation": "care", "top": 5}) for k in range(12))
    one = ev.EvaluationSet(items, ev.scorer("ratings by preference"), "questions")
    names = [m.name for m in one.scorer.measures if m.name.startswith("foundation: ")]
    found = []
    for arm, lost in (("Baseline", 0), ("Push", 6)):
        for k in range(12):
            rated = dict.fromkeys(names, 2.0) if k >= lost else {}
            found.append(ev.Outcome(arm, "questions", k, 0, measures=rated | {"no_number": float(k < lost)}))
    made = result([one], found)
    assert set(foundations(made, "questions")[1]) == {"Baseline"}


def test_catch_items_that_an_arm_fails_are_said() -> None:
    kinds = ("care", "catch, low", "catch, high")
    items = tuple(ev.Item(f"q{k}", labels={"foundation": kind, "top": 5}) for k, kind in enumerate(kinds))
    one = ev.EvaluationSet(items, ev.scorer("ratings by preference"), "questions")
    scored = [one.scorer.score(item, [[-9.0]] * 5 + [[-0.1]]) for item in items]  # always 5
    careful = [{"no_number": 0.0, "attention": 1.0} if "attention" in found else found for found in scored]
    said = {"Baseline": scored, "Push": careful}
    found = [ev.Outcome(arm, "questions", k, 0, measures=m) for arm, some in said.items() for k, m in enumerate(some)]
    (line,) = inattentive(result([one], found))
    assert "Baseline fails 1 of 2 catch items" in line and "Push" not in line
    assert inattentive(result([one], [o for o in found if o.arm == "Push"])) == []


def test_sets_without_claims_have_no_first_look_and_chance_is_said() -> None:
    items = tuple(ev.Item(f"q{k}", options=("a", "b", "c"), matching=(0,)) for k in range(3))
    one = ev.EvaluationSet(items, ev.scorer("forced_choice"), "choices")
    made = result(
        [one], [ev.Outcome(arm.name, "choices", k, 0, measures={"matches": 1.0}) for arm in ARMS for k in range(3)]
    )
    assert first_look(made) is None and guessing(one) == "Guessing gets 33% right."
    assert guessing(claims("x", scorer="claims")) == ""


def test_an_experiment_names_a_set_of_its_own_to_choose_on_and_known_products() -> None:
    text = 'title = "x"\n[[sets]]\nname = "a"\n[[arms]]\nname = "b"\n'
    assert experiments.parse('choose = "a"\nproducts = "bfloat16"\n' + text).products == "bfloat16"
    with pytest.raises(ValueError, match="'c' is no set's name"):
        experiments.parse('choose = "c"\n' + text)
    with pytest.raises(ValueError, match="products is"):
        experiments.parse('products = "float8"\n' + text)
