"""Conditional steering: one question about the prompt opens or shuts another intervention."""

from __future__ import annotations

import pytest
import torch
from reference import conditional as reference
from reference import decoding as naive
from steered_rows import PROMPTS, TEXT, apply, batch, decode, direction, logits_of

from steering.directions.direction import Direction
from steering.engine.requests import Request
from steering.engine.scoring import score
from steering.interventions import ActAdd, ActivationAddition, Conditional, DirectionalAblation, Sara
from steering.interventions.conditional import condition_similarity
from steering.models.model import Model
from steering.sites import Site

C = direction(Site(1), seed=2)
STRONG = ActivationAddition(direction(Site(1)), alpha=9.0)


def similarity(lm: Model, prompt: str, site: Site = Site(1)) -> float:  # noqa: B008
    """Of a prompt, by the paper's formula, BOS left out."""
    tokens = lm.tokens(prompt)
    h = lm.activations([tokens], [site])[0][site][0]
    return reference.similarity(h[int(tokens[0] == lm.tokenizer.bos_token_id) :], C.vector)


def test_a_similarity_by_hand() -> None:
    """h = (1, 0) and (3, 4): mean (2, 2); c = (0, 5): P m = (0, 2), tanh(2) = 0.964 along e1, so cos = 1 / sqrt 2."""
    h, c = torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([0.0, 5.0])
    assert condition_similarity(h, c) == pytest.approx(2**-0.5)
    assert condition_similarity(-h, c) == pytest.approx(2**-0.5)  # P and tanh are odd: a line, not a side


def test_the_similarity_is_the_papers() -> None:
    g = torch.Generator().manual_seed(3)
    for _ in range(5):
        h, c = torch.randn(7, 32, generator=g), torch.randn(32, generator=g)
        assert condition_similarity(h, c) == pytest.approx(reference.similarity(h, c), abs=1e-5)
        assert condition_similarity(h, c * 40) == pytest.approx(condition_similarity(h, c), abs=1e-5)


def test_true_is_the_intervention_and_false_is_nothing(lm: Model) -> None:
    value = similarity(lm, TEXT)
    for threshold, above, holds in (
        (value - 0.01, True, True),
        (value + 0.01, True, False),
        (value - 0.01, False, False),
        (value + 0.01, False, True),
    ):
        one = Conditional(C, threshold, STRONG, above=above)
        expected = logits_of(lm, TEXT, (STRONG,) if holds else ())
        assert torch.equal(logits_of(lm, TEXT, (one,)), expected)
        row = decode(lm, TEXT, (one,), max_new_tokens=6, ignore_eos=True)
        alone = decode(lm, TEXT, (STRONG,) if holds else (), max_new_tokens=6, ignore_eos=True)
        assert row.generated == alone.generated and row.logprobs == alone.logprobs
        (receipt,) = row.receipts()
        assert (receipt.tokens > 0) == holds
        assert receipt.notes == ("The condition on the prompt held." if holds else "The condition did not hold.",)


def test_a_condition_sorts_the_prompts_of_a_batch(lm: Model) -> None:
    """Between the middle two of eight similarities: four rows are steered, four are not, as alone."""
    values = [similarity(lm, prompt) for prompt in PROMPTS]
    threshold = sum(sorted(values)[3:5]) / 2
    one, options = Conditional(C, threshold, STRONG), {"max_new_tokens": 6, "ignore_eos": True}
    rows = batch(lm, PROMPTS, [(one,)] * 8, **options)
    held = [row.receipts()[0].tokens > 0 for row in rows]
    assert held == [value > threshold for value in values] and sum(held) == 4
    for row, prompt, steered in zip(rows, PROMPTS, held, strict=True):
        assert row.generated == decode(lm, prompt, (STRONG,) if steered else (), **options).generated


def test_padding_and_bos_are_no_part_of_the_question(tiny_llama: Model) -> None:
    lm = tiny_llama
    value = similarity(lm, "No")
    one = Conditional(C, value - 1e-3, STRONG), Conditional(C, value + 1e-3, STRONG)
    rows = batch(lm, ["No", PROMPTS[2]], [one, one], max_new_tokens=1)
    assert [receipt.tokens > 0 for receipt in rows[0].receipts()] == [True, False]


def test_a_condition_above_the_edit_lets_it_begin_with_the_generated_tokens(lm: Model) -> None:
    """The prompt's own pass is over by then; from there on it is the same as with `where="generated"`."""
    late = Conditional(direction(Site(3)), -2.0, STRONG)
    options = {"max_new_tokens": 6, "ignore_eos": True}
    generated = ActivationAddition(STRONG.direction, alpha=9.0, where="generated")
    for cached in (True, False):
        row = decode(lm, TEXT, (late,), cached=cached, **options)
        assert row.generated == decode(lm, TEXT, (generated,), **options).generated
        assert row.receipts()[0].positions[0] == len(row.prompt)
    assert torch.equal(logits_of(lm, TEXT, (late,)), logits_of(lm, TEXT))
    never = Conditional(direction(Site(3)), 2.0, STRONG)
    assert decode(lm, TEXT, (never,), **options).generated == decode(lm, TEXT, **options).generated


def test_a_condition_above_the_edit_gates_what_is_found_from_the_prompt(lm: Model) -> None:
    """SARA's gain comes from the prompt pass, in which the condition is not answered yet."""
    sara = Sara.from_prompts(lm, attract="I love you and", repel="The dog", site=Site(1, "resid_pre"))
    late = Conditional(direction(Site(3)), -2.0, sara)
    generated = Sara(sara.attract, sara.repel, sara.site, where="generated")
    options = {"max_new_tokens": 6, "ignore_eos": True}
    for cached in (True, False):
        row = decode(lm, TEXT, (late,), cached=cached, **options)
        assert row.generated == decode(lm, TEXT, (generated,), **options).generated
        assert row.generated != decode(lm, TEXT, **options).generated


def test_scoring_asks_the_condition_of_the_prompt_alone(lm: Model) -> None:
    """Log-probabilities of a completion, with the condition above the edit, are those it was decoded with."""
    late = Conditional(direction(Site(3)), -2.0, STRONG)
    row = decode(lm, TEXT, (late,), max_new_tokens=6, ignore_eos=True)
    again = Request(TEXT, (late,)).row(lm)
    again.targets = tuple(row.generated)
    (logprobs,) = score([again])
    assert logprobs == pytest.approx(row.logprobs, abs=1e-3)


def test_what_is_gated_keeps_its_own_where(lm: Model) -> None:
    n = len(lm.tokens(TEXT))
    for where, start, expected in (
        ("generated", 0, range(n, n + 2)),
        ("prompt", 4, range(4, n)),
        ("from_last", 0, range(n - 1, n + 2)),
        ("prompt_last", 0, range(n - 1, n)),
    ):
        then = ActivationAddition(direction(), alpha=2.0, where=where, start=start)
        row = decode(lm, TEXT, (Conditional(C, -2.0, then),), max_new_tokens=3, ignore_eos=True)
        assert row.receipts()[0].positions == tuple(expected)
        alone = decode(lm, TEXT, (then,), max_new_tokens=3, ignore_eos=True)
        assert row.logprobs == alone.logprobs
    narrowed = Conditional(C, -2.0, ActivationAddition(direction(), where="prompt"), start=6)
    row = decode(lm, TEXT, (narrowed,), max_new_tokens=3, ignore_eos=True)
    assert row.receipts()[0].positions == tuple(range(6, n))


def test_it_gates_every_method(lm: Model) -> None:
    """A shut gate shuts all placements of it: everywhere, and prompt positions."""
    base = logits_of(lm, TEXT)
    for then in (
        DirectionalAblation(direction(), everywhere=True),
        ActAdd(torch.randn(4, 32), Site(2, "resid_pre"), alpha=3.0),
    ):
        assert torch.equal(logits_of(lm, TEXT, (Conditional(direction(Site(0)), 2.0, then),)), base)
        opened = logits_of(lm, TEXT, (Conditional(direction(Site(0, "resid_pre")), -2.0, then),))
        torch.testing.assert_close(opened, logits_of(lm, TEXT, (then,)))
    assert apply(lm, Conditional(C, 0.0, STRONG), torch.randn(3, 32)).expected.tolist() == pytest.approx([9.0] * 3)


def test_the_condition_reads_what_earlier_interventions_left(lm: Model) -> None:
    """An addition along c at the same site comes first and decides the question."""
    c = Direction(C.vector, Site(1))
    push = ActivationAddition(c, alpha=500.0)
    one = Conditional(Direction(C.vector, Site(2)), 0.5, ActivationAddition(direction(Site(2)), alpha=3.0))
    assert decode(lm, TEXT, (one,), max_new_tokens=1).receipts()[0].tokens == 0
    assert decode(lm, TEXT, (push, one), max_new_tokens=1).receipts()[1].tokens > 0


def test_conditions_are_not_nested() -> None:
    with pytest.raises(ValueError, match="nest no conditions"):
        Conditional(C, 0.0, Conditional(C, 0.0, STRONG))
    with pytest.raises(ValueError, match="threshold is a finite number; got nan"):
        Conditional(C, float("nan"), STRONG)


def test_the_slow_way_agrees(lm: Model) -> None:
    tokens = lm.tokens(TEXT)
    first = int(tokens[0] == lm.tokenizer.bos_token_id)
    v = STRONG.direction.vector

    def change(h: torch.Tensor) -> torch.Tensor:
        out = h.clone()
        if reference.similarity(h[first : len(tokens)], C.vector) > -2.0:
            out[first:] += 9.0 * v
        return out

    row = decode(lm, TEXT, (Conditional(C, -2.0, STRONG),), max_new_tokens=6, ignore_eos=True)
    assert row.generated == naive.greedy(lm.hf, tokens, 6, 1, change)
