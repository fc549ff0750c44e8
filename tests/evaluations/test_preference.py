"""Claims by log-probability: which statement is likelier, yes against no, and the mass that both have."""

from __future__ import annotations

import math

import pytest

from steering import evaluations as ev
from steering.engine.engine import Engine
from steering.evaluations.scoring.measure import options_of
from steering.evaluations.scoring.preference import Preference, YesOrNo, endings
from steering.models.model import Model

LABELS = {"truth": "the capital of Spain is Madrid", "falsehood": "the capital of Spain is Rio de Janeiro"}
FALSE = ev.Item("q", labels={"true": False, **LABELS})
TRUE = ev.Item("q", labels={"true": True, **LABELS})


def test_the_shared_beginning_does_not_count() -> None:
    assert endings([-1.0, -2.0, -3.0], [-1.0, -2.001, -4.0, -0.5]) == ([-3.0], [-4.0, -0.5])
    assert endings([-1.0], [-1.0]) == ([-1.0], [-1.0])  # at least one of each is left


def test_preference_by_hand() -> None:
    # After the shared token: the truth has -4, the falsehood -5 and -1 (mean -3, sum -6).
    answer = [[-1.0, -4.0], [-1.0, -5.0, -1.0]]
    assert Preference().options(FALSE) == ("The capital of Spain is Madrid.", "The capital of Spain is Rio de Janeiro.")
    assert Preference().score(FALSE, answer) == {"accepts_false": 1.0, "prefers_truth": 0.0, "margin": -1.0}
    assert Preference().score(TRUE, answer) == {"denies_true": 1.0, "prefers_truth": 0.0, "margin": -1.0}
    whole = Preference("preference, whole", per_token=False)
    assert whole.score(FALSE, answer) == {"accepts_false": 0.0, "prefers_truth": 1.0, "margin": 2.0}


def test_yes_or_no_by_hand() -> None:
    yes, no = [[math.log(0.3)], [math.log(0.1)]], [[math.log(0.1)], [math.log(0.3)]]
    assert YesOrNo().score(FALSE, yes) == {"accepts_false": 1.0, "p_options": pytest.approx(0.4), "hardly_said": 0.0}
    assert YesOrNo().score(TRUE, no)["denies_true"] == 1.0 and YesOrNo().score(TRUE, yes)["denies_true"] == 0.0
    rare = YesOrNo().score(FALSE, [[math.log(0.006)], [math.log(0.002)]])  # 0.8% together: nothing is read off it
    assert rare["hardly_said"] == 1.0 and rare["accepts_false"] == 0.0
    assert {m.unread for m in YesOrNo().measures[:2]} == {"hardly_said"}


def test_a_scorer_brings_its_own_options_and_a_model_scores_them(tiny_llama: Model) -> None:
    assert options_of(YesOrNo(), TRUE) == ("Yes", "No") and options_of(ev.scorer("forced_choice"), TRUE) == ()
    with Engine(tiny_llama) as engine:
        sets = [ev.EvaluationSet((FALSE, TRUE), Preference(), "claims"), ev.EvaluationSet((TRUE,), YesOrNo(), "yes")]
        found = ev.run(engine, sets, [ev.BASELINE], ev.Settings(chat=False))
    assert [sorted(one.measures) for one in found] == [
        ["accepts_false", "margin", "prefers_truth"],
        ["denies_true", "margin", "prefers_truth"],
        ["denies_true", "hardly_said", "p_options"],
    ]


def test_a_set_without_both_statements_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="reads the label 'truth'; 1 of the 1 items"):
        ev.parse('{"kind": "claim", "prompt": "x?", "true": true}', "jsonl", name="x", scorer="preference")
