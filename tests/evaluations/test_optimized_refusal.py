"""The optimized refusal direction: its terms against hand-made ones, what it keeps, and that it beats its start."""

from __future__ import annotations

import math

import pytest
import torch

import steering as t
from steering.engine.scoring import next_logits
from steering.evaluations.refusal.optimized import _answer_logprobs, _moved, _own_answers, _without, optimize_refusal
from steering.evaluations.refusal.selection import SelectionRule
from steering.evaluations.refusal.words import asked, greedy_answers
from steering.experiments.programs.refusal_sets import refusal_data
from steering.interventions.ablation import residual_sites
from steering.models.model import Model
from steering.models.passages import passage
from steering.sites import Site

THINGS = ("cat", "dog", "mat", "moon", "model", "way", "you", "it")
HARMFUL = [f"I hate {thing} and {other}" for thing in THINGS for other in THINGS[:2]]
HARMLESS = [f"I love {thing} and {other}" for thing in THINGS for other in THINGS[:2]]
OTHERS = [f"Where is the {thing}, and {n}?" for n, thing in enumerate(THINGS * 2)]


def searched(lm: Model, tokens: list[int] | None = None) -> t.RefusalDirection:
    """What a random model begins its answers with stands for refusing tokens, unless others are given."""
    tokens = tokens or sorted({ids[0] for ids, text in greedy_answers(lm, HARMFUL, max_new_tokens=2) if text.strip()})
    rule = SelectionRule(1.0, 1e9, -1e9)
    return t.refusal_direction(lm, HARMFUL, HARMLESS, tokens=tokens, filtered=False, rule=rule)


@pytest.mark.parametrize("family", ["qwen2", "gemma2", "llama"])
def test_ablation_that_can_be_differentiated_is_the_ablation(family: str, model) -> None:
    """The same logits as the intervention gives, and no KL where nothing is taken out."""
    lm = model(family)
    r = torch.randn(lm.d_model, generator=torch.Generator().manual_seed(0))
    prompt = lm.tokens(asked(lm, HARMFUL[0]))
    with torch.enable_grad():
        mine = lm.forward(torch.tensor([prompt]), hooks=dict.fromkeys(residual_sites(lm), _without(r / r.norm())))
    ablated = (t.DirectionalAblation(t.Direction(r, Site(1, "resid_pre")), everywhere=True),)
    theirs = next_logits(lm, [(asked(lm, HARMFUL[0]), ablated)], steer_bos=True)
    torch.testing.assert_close(mine[0, -1].detach(), theirs[0], atol=1e-4, rtol=1e-4)
    own = _own_answers(lm, OTHERS[:3])
    assert len(own) == 3 and float(_moved(lm, own, {})) < 1e-5 < float(
        _moved(lm, own, dict.fromkeys(residual_sites(lm), _without(r / r.norm())))
    )


def test_the_log_probabilities_of_an_answer_are_those_of_the_row_alone(tiny_llama: Model) -> None:
    lm = tiny_llama
    some = [passage(lm, text, answer) for text, answer in (("The cat", " sat on the mat"), ("I love the dog", " a"))]
    for one, found in zip(some, _answer_logprobs(lm, some, {}), strict=True):
        alone = lm.forward(torch.tensor([list(one.tokens[: one.end])]))[0].log_softmax(-1)
        torch.testing.assert_close(found, alone[one.start - 1 : one.end - 1], atol=1e-4, rtol=1e-4)


def test_what_a_fit_returns_and_that_it_is_reproducible(tiny_llama: Model) -> None:
    found, seen = searched(tiny_llama), []
    options = {"steps": 3, "batch": 4}
    one = optimize_refusal(
        tiny_llama, found, HARMFUL, HARMLESS, OTHERS, tick=lambda *said: seen.append(said), **options
    )
    assert len(one.losses) == 3 and seen[-1][:2] == (3, 3) and "\n" not in repr(one)
    assert one.direction.site == found.direction.site
    assert math.isclose(one.direction.norm, found.direction.norm, rel_tol=1e-4)
    again = optimize_refusal(tiny_llama, found, HARMFUL, HARMLESS, OTHERS, **options)
    assert torch.equal(one.direction.vector, again.direction.vector)
    none = optimize_refusal(tiny_llama, found, HARMFUL, HARMLESS, OTHERS, steps=0)
    torch.testing.assert_close(none.direction.vector, found.direction.vector.float(), atol=1e-5, rtol=1e-5)
    assert none.scores.bypass == pytest.approx(found.chosen.bypass, abs=1e-3)
    assert none.scores.kl == pytest.approx(found.chosen.kl, abs=1e-3)
    with pytest.raises(ValueError, match="begins none of its answers"):
        optimize_refusal(tiny_llama, searched(tiny_llama, [5, 9]), HARMFUL, HARMLESS, OTHERS, **options)
    with pytest.raises(ValueError, match="At least 8 harmful, harmless and other"):
        optimize_refusal(tiny_llama, found, HARMFUL, HARMLESS, OTHERS[:3])


def test_on_the_organism_a_few_steps_beat_the_difference_of_means() -> None:
    lm, data = t.load_model("organism"), refusal_data("organism", 8)
    found = t.refusal_direction(lm, data.harmful[:40], data.harmless[:40], alpha=data.alpha, n_validation=8)
    one = optimize_refusal(
        lm, found, data.harmful[:40], data.harmless[:40], data.others[::3], alpha=data.alpha, steps=8, batch=12
    )
    assert one.scores.bypass < one.start.bypass and one.scores.induce > one.start.induce > 0
    assert one.scores.kl < 0.1 and 0.2 < one.cosine < 0.95
