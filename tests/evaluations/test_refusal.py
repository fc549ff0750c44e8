"""The refusal direction: the score, the template's tokens, the rule, and the search against a naive transcription."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
import torch
from reference import refusal as naive

import steering as t
from steering.evaluations.refusal import search
from steering.evaluations.refusal.selection import DirectionScores, SelectionRule, rows
from steering.evaluations.refusal.words import asked, opening_tokens, post_instruction, refusal_score
from steering.interventions.ablation import residual_sites
from steering.models.model import Model
from steering.showing.one_line import LONGEST
from steering.sites import Site

NAN = float("nan")
THINGS = ("cat", "dog", "mat", "moon", "model", "way", "you", "it")
HARMFUL = [f"I hate {thing} and I hate the {thing}" for thing in THINGS]
HARMLESS = [f"I love {thing}, of course! ({n})" for n, thing in enumerate(THINGS)]


def test_the_score_by_hand() -> None:
    """Probabilities 1/8, 3/8, 1/2: log(3/5) for the second token alone, 0 for the first two together."""
    logits = torch.tensor([1.0, 3.0, 4.0]).log()
    assert math.isclose(float(refusal_score(logits, [1])), math.log(3 / 5), rel_tol=1e-6)
    assert abs(float(refusal_score(logits, [0, 1]))) < 1e-6
    assert float(refusal_score(logits, [1, 1])) == float(refusal_score(logits, [1]))  # an id given twice counts once


def test_the_score_of_uniform_logits_is_the_log_odds_of_the_count() -> None:
    assert math.isclose(float(refusal_score(torch.zeros(10), [3, 4])), math.log(2 / 8), rel_tol=1e-6)
    assert math.isfinite(float(refusal_score(torch.tensor([1e4, 0.0]), [0])))
    for bad in ([], [10], [-1]):
        with pytest.raises(ValueError, match="Refusing tokens"):
            refusal_score(torch.zeros(10), bad)


@pytest.mark.parametrize(
    ("family", "text"), [("gemma2", "<end>\n<start>model\n"), ("qwen2", "<end>\n<start>assistant\n"), ("llama", "")]
)
def test_the_tokens_after_an_instruction_are_the_templates(family: str, text: str, model) -> None:
    lm = model(family)
    found = post_instruction(lm)
    assert lm.text(found, special=True) == text
    for instruction in ("Tell me", "Why?", "12"):
        assert tuple(lm.tokens(asked(lm, instruction))[-len(found) :]) == found or not found


# The rule -----------------------------------------------------------------------------------------------------------

# Layer 4 of 5 is too late (int(0.8 * 5) = 4); of the others one changes harmless answers, one does not induce, one is
# no number, and of the two left the second is lower.
SCORES = [
    DirectionScores(-2, 0, NAN, NAN, NAN),
    DirectionScores(-2, 1, -9.0, 1.0, 0.11),
    DirectionScores(-2, 2, -8.0, -0.1, 0.0),
    DirectionScores(-1, 1, -3.0, 0.0, 0.1),
    DirectionScores(-1, 3, -4.0, 2.0, 0.05),
    DirectionScores(-1, 4, -99.0, 9.0, 0.0),
]


def test_the_rule_by_hand() -> None:
    table = rows(SCORES, SelectionRule(), 5)
    assert [bool(row["excluded"]) for row in table] == [True, True, True, False, False, True]
    assert [row["chosen"] for row in table].index(True) == 4
    assert len({row["excluded"] for row in table}) == 5  # every reason is said in its own words
    assert SelectionRule(layers=1.0).select(SCORES, 5) == 5
    assert SelectionRule(max_kl=0.2).select(SCORES, 5) == 1
    assert SelectionRule(min_induce=3.0).select(SCORES, 5) is None
    with pytest.raises(ValueError, match="share of the layers"):
        SelectionRule(layers=0)


def test_the_rule_is_that_of_the_naive_transcription() -> None:
    """On tables of random scores, of the shape that is published: positions times layers, some without numbers."""
    rng = random.Random(0)
    for n_layers in (18, 24, 32):
        found = [
            DirectionScores(p, layer, *((NAN,) * 3 if rng.random() < 0.1 else (
                rng.gauss(0, 5), rng.gauss(0, 5), abs(rng.gauss(0, 0.2)))))
            for p in (-3, -2, -1) for layer in range(n_layers)
        ]  # fmt: skip
        plain = [(one.layer, one.bypass, one.induce, one.kl) for one in found]
        assert SelectionRule().select(found, n_layers) == naive.choose(plain, n_layers)


# The search ---------------------------------------------------------------------------------------------------------


def searched(lm: Model, **options) -> t.RefusalDirection:
    return t.refusal_direction(
        lm, HARMFUL, HARMLESS, tokens=[5, 9], filtered=False, rule=SelectionRule(1.0, 1e9, -1e9), **options
    )


@pytest.mark.parametrize("family", ["qwen2", "gemma2", "llama"])
def test_every_candidate_is_scored_as_one_by_one(family: str, model: Callable[[str], Model]) -> None:
    """Means, scores and choice of the batched search equal the paper's, done naively with plain hooks."""
    lm = model(family)
    found = searched(lm)
    tests = [[lm.tokens(asked(lm, text)) for text in side] for side in found.validation]
    train = [
        [lm.tokens(asked(lm, text)) for text in side if text not in test]
        for side, test in zip((HARMFUL, HARMLESS), found.validation, strict=True)
    ]
    plain = []
    for one in found.candidates:
        site = Site(one.layer, "resid_pre")
        r = naive.means(lm, train[0], site, one.position) - naive.means(lm, train[1], site, one.position)
        if not r.any():
            assert math.isnan(one.bypass)
            plain.append((one.layer, NAN, NAN, NAN))
            continue
        torch.testing.assert_close(found.at(one.position, one.layer).vector, r.float(), atol=1e-5, rtol=1e-4)
        if one.layer % 2:
            plain.append((one.layer, one.bypass, one.induce, one.kl))
            continue
        scores = naive.candidate(lm, r.float(), site, residual_sites(lm), *tests, found.tokens)
        assert (one.bypass, one.induce, one.kl) == pytest.approx(scores, abs=2e-3)
        plain.append((one.layer, *scores))
    assert found.chosen is not None
    best = min((row for row in plain if not math.isnan(row[1])), key=lambda row: row[1])
    assert found.chosen.bypass == pytest.approx(best[1], abs=2e-3)
    assert len(found.candidates) == lm.n_layers * max(1, len(post_instruction(lm)))


def test_a_candidate_in_a_batch_is_the_candidate_alone(monkeypatch: pytest.MonkeyPatch, tiny_gemma2: Model) -> None:
    together = searched(tiny_gemma2)
    monkeypatch.setattr(search, "ROWS", 1)
    for a, b in zip(together.candidates, searched(tiny_gemma2).candidates, strict=True):
        assert (a.bypass, a.induce, a.kl) == pytest.approx((b.bypass, b.induce, b.kl), abs=1e-4, nan_ok=True)


def test_what_a_search_returns(tiny_gemma2: Model) -> None:
    seen = []
    found = searched(tiny_gemma2, tick=lambda done, total, note: seen.append((done, total)))
    assert len(repr(found)) <= LONGEST and "\n" not in repr(found) and len(repr(found.candidates[0])) <= LONGEST
    assert len(found.table()) == len(found.candidates) and seen[-1] == (100, 100)
    assert found.direction.provenance["position"] == found.chosen.position
    assert found.direction.check(tiny_gemma2) is not None
    assert found.reference(-1, 1).site == Site(1, "resid_pre")
    for place in ((0, 1), (-99, 1), (-1, 99)):
        with pytest.raises(ValueError, match="Candidates stand at"):
            found.at(*place)
    none = t.refusal_direction(
        tiny_gemma2, HARMFUL, HARMLESS, tokens=[5], filtered=False, rule=SelectionRule(min_induce=1e9)
    )
    assert none.chosen is None and "none chosen" in repr(none)
    with pytest.raises(ValueError, match="No candidate"):
        _ = none.direction


def test_bad_input_is_refused_in_a_sentence(tiny_gemma2: Model) -> None:
    with pytest.raises(ValueError, match="at least 8 harmful"):
        t.refusal_direction(tiny_gemma2, HARMFUL[:2], HARMLESS)
    with pytest.raises(ValueError, match="refused none of 8"):
        t.refusal_direction(tiny_gemma2, HARMFUL, HARMLESS)
    with pytest.raises(ValueError, match="0 are refused"):  # a token that no prompt makes likely
        t.refusal_direction(tiny_gemma2, HARMFUL, HARMLESS, tokens=[300])


# The bundled model, in which the truth is known ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def organism() -> Model:
    return t.load_model("organism")


def test_the_organism_s_own_direction_bypasses_and_induces(organism: Model) -> None:
    pairs = t.PairSet.load("refusal")
    harmful, harmless = ([pair.sides[k][0] for pair in pairs][:40] for k in (0, 1))
    openings = opening_tokens(organism, harmful[:12], harmless[:12])
    assert [one.text for one in openings if one.refusing] == ["I"]
    found = t.refusal_direction(organism, harmful, harmless, n_validation=8, alpha=2.0)
    assert found.template == ("<|end|>", "<|assistant|>") and found.tokens == (openings[0].token,)
    assert found.harmful_score > 3 and found.harmless_score < -3
    assert found.chosen is not None and found.chosen.bypass < -3 and found.chosen.induce > 0
    once = t.refusal_direction(organism, harmful, harmless, n_validation=8)
    assert (
        once.chosen is None
        and [one.bypass for one in once.candidates][7:]
        == [pytest.approx(one.bypass, abs=1e-4) for one in found.candidates][7:]
    )
