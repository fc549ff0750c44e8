"""How often scorers agree with labeled answers: counted by hand, and what is shown beside results."""

from __future__ import annotations

from collections import Counter

import pytest

from steering.evaluations.scoring import agreement
from steering.evaluations.scoring.agreement import ScorerAgreement, labeled
from steering.evaluations.scoring.local_judge import LocalJudge


def test_agreement_kappa_and_undecided_by_hand() -> None:
    found = ScorerAgreement(
        "claims", "claim", Counter({("agrees", "agrees"): 4, ("agrees", "neither"): 1, ("neither", "neither"): 5})
    )
    assert found.n == 10 and found.share.value == pytest.approx(0.9)
    # Chance: agrees 5 x 4 and neither 5 x 6, of 100: 0.5; (0.9 - 0.5) / 0.5 = 0.8.
    assert found.kappa == pytest.approx(0.8)
    assert found.undecided is not None and found.undecided.value == pytest.approx(0.2)  # 1 of 5 readable ones


def test_the_side_is_that_of_answers_in_which_both_see_a_stand_by_hand() -> None:
    found = ScorerAgreement(
        "claims", "claim",
        Counter({("agrees", "agrees"): 3, ("denies", "agrees"): 1, ("denies", "neither"): 9, ("neither", "agrees"): 9}),
    )  # fmt: skip
    assert found.side is not None and found.side.value == pytest.approx(0.75)  # 3 of 4
    assert ScorerAgreement("claims", "claim", Counter({("neither", "neither"): 2})).side is None


def test_the_labeled_answers_are_as_many_as_they_say_and_no_prompt_of_the_last_round_was_tuned_on() -> None:
    rows = labeled()
    rounds = Counter(row["round"] for row in rows)
    assert rounds == {"first": 326, "later": 80, "again": 140, "learned": 920, "last": 100}
    assert sum(row["aside"] for row in rows) == 100
    assert {row["label"] for row in rows if row["kind"] == "claim"} == {"agrees", "denies", "neither"}
    assert len({row["id"] for row in rows}) == len(rows)
    last = {row["prompt"] for row in rows if row["round"] == "last"}
    assert not last & {row["prompt"] for row in rows if row["round"] != "last"}
    assert all("label_second" in row for row in rows if row["round"] in ("first", "again", "last"))


def test_scorers_agree_with_the_labels_well_above_chance() -> None:
    tuned = [row for row in labeled() if row["round"] in ("first", "later")]
    for scorer, kind, least in (("claims", "claim", 0.85), ("refusals", "request", 0.9)):
        found = agreement.agreement(scorer, [row for row in tuned if row["kind"] == kind])
        assert found.share.value >= least and found.kappa > 0.7


def test_what_is_shown_beside_results_is_of_answers_that_nobody_tuned_on() -> None:
    said = agreement.note("claims")
    assert "it was not tuned on" in said and "read by a language model" in said and "Where both see a stand" in said
    assert agreement.note("praise words (proxy)") == "" and agreement.known("preference") is None
    report = agreement.report()
    assert "80% [69, 88] of 65" in report and "the two readings of those" in report and "said agrees" in report


def test_a_judge_that_is_on_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLER_JUDGE_MODEL", "arbiter")
    rows = [row for row in labeled() if row["round"] == "last"][:12]
    said = iter([row["label"] for row in rows[:9]] + ["agrees", "denies", "neither"])
    monkeypatch.setattr(LocalJudge, "replies", lambda self, questions, choices: [next(said) for _ in questions])
    found = agreement.agreement(agreement.JUDGE, rows)
    hits = sum(row["label"] == one for row, one in zip(rows[9:], ["agrees", "denies", "neither"], strict=True))
    assert found.share.value == pytest.approx((9 + hits) / 12)
