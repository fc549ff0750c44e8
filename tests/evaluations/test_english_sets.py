"""The sets for real models: as many as promised, balanced, and no fact or request of theirs in the pairs."""

from __future__ import annotations

import json
from collections import Counter

from steering import evaluations as ev
from steering.directions.pairs import BUNDLED as PAIRS
from steering.evaluations.scoring.reading.words import keys
from steering.evaluations.sets.english.facts import ENGLISH_FACTS, PLAIN_WORDINGS, PRESSED_WORDINGS
from steering.experiments.config import half


def pair_texts() -> list[str]:
    rows = [json.loads(line) for path in PAIRS.glob("general_*.jsonl") for line in path.read_text("utf-8").splitlines()]
    return [" " + " ".join(keys(" ".join(str(value) for value in row.values()))) + " " for row in rows]


def said(text: str) -> str:
    return " " + " ".join(keys(text)) + " "


def test_no_fact_request_or_dilemma_of_the_sets_occurs_in_the_pairs() -> None:
    pairs = pair_texts()
    statements = [text for fact in ENGLISH_FACTS for text in (fact.truth, fact.falsehood)]
    asked = [item.text for name in ("requests", "dilemmas") for item in ev.load(f"general_{name}")]
    shared = [text for text in (*statements, *asked) if any(said(text) in pair for pair in pairs)]
    assert not shared
    begins = [fact.start for fact in ENGLISH_FACTS if any(said(fact.start) in pair for pair in pairs)]
    assert not begins, "not even with another ending"
    wordings = [keys(one.replace("{c}", "").replace("{C}", "")) for one in (*PRESSED_WORDINGS, *PLAIN_WORDINGS)]
    assert not [one for one in wordings if len(one) > 5 and any(" " + " ".join(one) + " " in pair for pair in pairs)]


def test_claims_are_balanced_and_halves_share_no_fact() -> None:
    claims = ev.load("general_claims")
    cells = Counter((item.labels["true"], item.labels["pressed"]) for item in claims)
    assert len(claims) >= 200 and len(set(cells.values())) == 1 and len(cells) == 4
    assert (
        len({item.labels["wording"] for item in claims}) == 40 and len({item.labels["domain"] for item in claims}) >= 8
    )
    first, second = ({item.labels["fact"] for item in half(claims, part)} for part in ("first", "second"))
    assert first.isdisjoint(second) and min(len(first), len(second)) >= 40


def test_the_other_sets_are_as_large_as_they_say() -> None:
    choices, requests = ev.load("general_choices"), ev.load("general_requests")
    assert len(choices) == 150 and choices.chance == 0.25
    assert Counter(item.labels["harmful"] for item in requests) == {True: 60, False: 60}
    assert len(ev.load("general_dilemmas")) == 40
    names = {name: ev.load(f"general_{name}").scorer.name for name in ("claims", "choices", "requests")}
    assert names == {"claims": "preference", "choices": "forced_choice, per token", "requests": "refusals"}
