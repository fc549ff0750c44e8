"""How often scorers agree with labeled answers: counted by hand, and what is shown beside results."""

from __future__ import annotations

from collections import Counter

import pytest

from steering.evaluations.scoring import agreement
from steering.evaluations.scoring.agreement import ScorerAgreement, labeled


def test_agreement_kappa_and_undecided_by_hand() -> None:
    found = ScorerAgreement(
        "claims", "claim", Counter({("agrees", "agrees"): 4, ("agrees", "neither"): 1, ("neither", "neither"): 5})
    )
    assert found.n == 10 and found.share.value == pytest.approx(0.9)
    # Chance: agrees 5 x 4 and neither 5 x 6, of 100: 0.5; (0.9 - 0.5) / 0.5 = 0.8.
    assert found.kappa == pytest.approx(0.8)
    assert found.undecided is not None and found.undecided.value == pytest.approx(0.2)  # 1 of 5 readable ones


def test_the_labeled_answers_are_as_many_as_they_say_and_split_once() -> None:
    rows = labeled()
    first = [row for row in rows if not row.get("later")]
    assert len(first) == 326 and sum(row["aside"] for row in first) == 100
    assert {row["label"] for row in rows if row["kind"] == "claim"} == {"agrees", "denies", "neither"}
    assert len({row["id"] for row in rows}) == len(rows)


def test_scorers_agree_with_the_labels_well_above_chance() -> None:
    tuned = [row for row in labeled() if not row["aside"]]
    for scorer, kind, least in (("claims", "claim", 0.85), ("refusals", "request", 0.9)):
        found = agreement.agreement(scorer, [row for row in tuned if row["kind"] == kind])
        assert found.share.value >= least and found.kappa > 0.7


def test_what_is_shown_beside_results_is_of_answers_that_nobody_tuned_on() -> None:
    said = agreement.note("claims")
    assert "it was not tuned on" in said and "read by a language model" in said
    assert agreement.note("praise words (proxy)") == "" and agreement.known("preference") is None
    report = agreement.report()
    assert "80% [69, 88] of 65" in report and "the two readings agree on" in report and "said agrees" in report
