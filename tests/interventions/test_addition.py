"""ActivationAddition and ActAdd: what they add, to which tokens, and their algebra."""

from __future__ import annotations

import pytest
import torch
from reference import addition as reference
from reference import decoding as naive
from steered_rows import PROMPTS, TEXT, apply, decode, direction, logits_of

from steering.directions.direction import Direction
from steering.interventions import ActAdd, ActivationAddition
from steering.models.model import Model
from steering.sites import Site

H = torch.randn(9, 32, generator=torch.Generator().manual_seed(5)) * 4
PRE = Site(1, "resid_pre")


# ActivationAddition ---------------------------------------------------------------------------------------------------


def test_an_addition_by_hand(tiny_gpt2: Model) -> None:
    """v = (3, 4, 0, ...), alpha 2, h = (1, 1, 1, ...): h' = (1 + 6, 1 + 8, 1, ...); the shift is 2 |v| = 10."""
    v = torch.zeros(32)
    v[:2] = torch.tensor([3.0, 4.0])
    effect = apply(tiny_gpt2, ActivationAddition(Direction(v, Site(1)), alpha=2.0), torch.ones(1, 32))
    assert effect.h[0].tolist() == [7.0, 9.0, *[1.0] * 30]
    assert effect.expected.tolist() == [10.0]


def test_an_addition_is_the_papers(lm: Model) -> None:
    v = direction(norm=2.0)
    torch.testing.assert_close(apply(lm, ActivationAddition(v, 3.0), H).h, reference.caa(H, v.vector, 3.0, 0))


def test_steered_text_is_that_of_transformers_with_a_hook(lm: Model) -> None:
    """The whole path (cache, batch, positions) against the slow way, CAA from the end of the prompt on."""
    v = direction()
    for prompt in PROMPTS[:3]:
        tokens = lm.tokens(prompt)

        def change(h: torch.Tensor, first: int = len(tokens) - 1) -> torch.Tensor:
            return reference.caa(h, v.vector, 9.0, first)

        expected = naive.greedy(lm.hf, tokens, 8, 1, change)
        row = decode(lm, prompt, (ActivationAddition(v, 9.0, where="from_last"),), max_new_tokens=8, ignore_eos=True)
        assert row.generated == expected
        assert expected != naive.greedy(lm.hf, tokens, 8)


def test_additions_add_up(lm: Model) -> None:
    """alpha 2 and then alpha 3 are alpha 5; an addition and its opposite are nothing."""
    v = direction()
    two, three = ActivationAddition(v, 2.0), ActivationAddition(v, 3.0)
    torch.testing.assert_close(
        logits_of(lm, TEXT, (two, three)), logits_of(lm, TEXT, (ActivationAddition(v, 5.0),)), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(
        logits_of(lm, TEXT, (three, ActivationAddition(-v, 3.0))), logits_of(lm, TEXT), atol=1e-4, rtol=1e-4
    )


def test_alpha_and_length_multiply(lm: Model) -> None:
    v = direction()
    assert torch.equal(
        logits_of(lm, TEXT, (ActivationAddition(v * 4.0, 2.0),)), logits_of(lm, TEXT, (ActivationAddition(v, 8.0),))
    )


def test_a_direction_of_features_is_decoded_first(lm: Model, family: str, sae_of) -> None:
    """x + alpha v in feature space is h + alpha v @ W_dec, for an affine decoder."""
    sae = sae_of("standard", family=family)
    v = direction(sae=sae)
    effect = apply(lm, ActivationAddition(v, 2.0), H)
    torch.testing.assert_close(effect.h, H + 2.0 * (v.vector @ sae.W_dec))
    f = sae.encode(H)
    torch.testing.assert_close(effect.h - H, sae.decode(f + 2.0 * v.vector) - sae.decode(f), atol=1e-4, rtol=1e-4)


def test_the_last_layer_can_be_steered(lm: Model) -> None:
    v = direction(Site(3))
    expected = naive.logits(lm.hf, lm.tokens(TEXT), 3, lambda h: reference.caa(h, v.vector, 8.0, first=2))
    found = logits_of(lm, TEXT, (ActivationAddition(v, 8.0, start=2),))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_resid_post_and_the_next_resid_pre_are_one_place(lm: Model) -> None:
    v = direction(Site(1, "resid_post"))
    w = direction(Site(2, "resid_pre"))
    assert torch.equal(v.vector, w.vector)
    torch.testing.assert_close(
        logits_of(lm, TEXT, (ActivationAddition(v, 6.0),)), logits_of(lm, TEXT, (ActivationAddition(w, 6.0),))
    )


def test_an_addition_to_what_attention_writes_is_one_to_the_stream_behind_it(lm: Model) -> None:
    """resid_mid = resid_pre + attn_out."""
    v, w = direction(Site(1, "attn_out")), direction(Site(1, "resid_mid"))
    steered = [logits_of(lm, TEXT, (ActivationAddition(one, 6.0),)) for one in (v, w)]
    torch.testing.assert_close(*steered, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(steered[0], logits_of(lm, TEXT), atol=0.1)


# ActAdd ---------------------------------------------------------------------------------------------------------------


def test_actadd_by_hand(tiny_gpt2: Model) -> None:
    """Two rows of difference, c = 2, start 1: h_1 + 2 * 1 = 3, h_2 + 2 * 5 = 11, all others stay 1."""
    difference = torch.stack([torch.full((32,), 1.0), torch.full((32,), 5.0)])
    effect = apply(tiny_gpt2, ActAdd(difference, PRE, alpha=2.0, start=1), torch.ones(4, 32))
    assert effect.h[:, 0].tolist() == [1.0, 3.0, 11.0, 1.0]
    assert effect.expected.tolist() == pytest.approx([0.0, 2 * 32**0.5, 10 * 32**0.5, 0.0])


def test_actadd_is_the_papers(lm: Model) -> None:
    """Text against transformers with a hook on the block's input, and no edit of generated tokens."""
    one = ActAdd.from_prompts(lm, "I love you", "I hate that dog", PRE, alpha=4.0)
    for prompt in PROMPTS[1:3]:
        tokens = lm.tokens(prompt)
        bos = int(tokens[0] == lm.tokenizer.bos_token_id)

        def change(h: torch.Tensor, n: int = len(tokens), bos: int = bos) -> torch.Tensor:
            return reference.actadd(h, one.difference, 4.0, prompt=n, start=bos)

        expected = naive.greedy(lm.hf, tokens, 8, 1, change, at_input=True)
        assert decode(lm, prompt, (one,), max_new_tokens=8, ignore_eos=True).generated == expected
        assert expected != naive.greedy(lm.hf, tokens, 8)


def test_the_difference_is_zero_at_bos(tiny_llama: Model, tiny_gemma2: Model) -> None:
    """Both prompts begin with it, and it sees nothing to its left."""
    for lm in (tiny_llama, tiny_gemma2):
        difference = ActAdd.from_prompts(lm, "I love you", "The dog", PRE).difference
        assert torch.equal(difference[0], torch.zeros(32))
        assert difference[1:].norm(dim=-1).min() > 0.1


def test_equal_prompts_change_nothing(lm: Model) -> None:
    one = ActAdd.from_prompts(lm, "I love you", "I love you", PRE, alpha=100.0)
    assert torch.equal(one.difference, torch.zeros_like(one.difference))
    assert torch.equal(logits_of(lm, TEXT, (one,)), logits_of(lm, TEXT))


def test_swapped_prompts_negate(lm: Model) -> None:
    one = ActAdd.from_prompts(lm, "I love you", "The dog was", PRE)
    other = ActAdd.from_prompts(lm, "The dog was", "I love you", PRE)
    torch.testing.assert_close(one.difference, -other.difference)


def test_the_shorter_prompt_is_padded_on_the_right_with_a_space(lm: Model) -> None:
    difference = ActAdd.from_prompts(lm, "I love you and", "No", PRE).difference
    side = lm.tokens("I love you and")
    space = lm.tokenizer.encode(" ", add_special_tokens=False)
    short = lm.tokens("No") + space * (len(side) - len(lm.tokens("No")))
    both, _ = lm.activations([side, short], [PRE])
    torch.testing.assert_close(difference, both[PRE][0] - both[PRE][1])


def test_a_difference_to_the_empty_prompt(lm: Model) -> None:
    """ "p - nothing": BOS (where there is one) and spaces on the other side."""
    difference = ActAdd.from_prompts(lm, "I love you", "", PRE).difference
    assert len(difference) == len(lm.tokens("I love you"))
    assert difference.norm(dim=-1)[1:].min() > 0


def test_actadd_touches_prompt_positions_only(lm: Model) -> None:
    one = ActAdd(torch.ones(4, 32), PRE, alpha=0.5)
    row = decode(lm, PROMPTS[1], (one,), max_new_tokens=6, ignore_eos=True)
    first = int(row.prompt[0] == lm.tokenizer.bos_token_id)
    (receipt,) = row.receipts()
    assert receipt.positions == tuple(range(first, 4))
    assert receipt.notes == ()
    assert receipt.expected == pytest.approx(0.5 * 32**0.5)  # each row of ones is sqrt(32) long


def test_a_short_prompt_takes_what_fits_and_the_receipt_says_so(lm: Model) -> None:
    n = len(lm.tokens("No"))
    first = int(lm.tokens("No")[0] == lm.tokenizer.bos_token_id)
    one = ActAdd(torch.randn(9, 32), PRE)
    row = decode(lm, "No", (one,), max_new_tokens=5, ignore_eos=True)
    (receipt,) = row.receipts()
    assert receipt.positions == tuple(range(first, n))
    assert receipt.notes == (f"The difference has 9 positions; the prompt has room for {n} of them.",)
    later = decode(lm, "No", (ActAdd(torch.randn(9, 32), PRE, start=50),), max_new_tokens=2)
    assert later.receipts()[0].positions == () and "has room for 0" in later.receipts()[0].notes[0]


def test_actadd_at_a_start(lm: Model) -> None:
    tokens = lm.tokens(PROMPTS[1])
    one = ActAdd(torch.randn(3, 32), PRE, alpha=3.0, start=5)
    shifted = torch.cat([torch.zeros(5, 32), one.difference])
    expected = naive.logits(lm.hf, tokens, 1, lambda h: reference.actadd(h, shifted, 3.0, len(tokens)), at_input=True)
    torch.testing.assert_close(logits_of(lm, PROMPTS[1], (one,)), expected, atol=1e-4, rtol=1e-4)


def test_additions_at_one_layer_commute(lm: Model) -> None:
    a, b = (ActAdd(torch.randn(k, 32), PRE, alpha=2.0) for k in (3, 6))
    torch.testing.assert_close(logits_of(lm, TEXT, (a, b)), logits_of(lm, TEXT, (b, a)), atol=1e-4, rtol=1e-4)


def test_an_addition_at_layer_0_is_an_edit_of_the_embeddings(lm: Model) -> None:
    """The input of the first block is what the embedding gives."""
    tokens, difference = lm.tokens(TEXT), torch.randn(3, 32)
    one = ActAdd(difference, Site(0, "resid_pre"), start=1)
    embeddings = lm.hf.get_input_embeddings()(torch.tensor([tokens]))
    embeddings[0, 1:4] += difference
    with torch.no_grad():
        expected = lm.hf(inputs_embeds=embeddings).logits[0]
    torch.testing.assert_close(logits_of(lm, TEXT, (one,)), expected, atol=1e-4, rtol=1e-4)


def test_a_pad_must_be_a_token(tiny_llama: Model) -> None:
    with pytest.raises(ValueError, match="pad is text of at least one token"):
        ActAdd.from_prompts(tiny_llama, "I love", "No", PRE, pad="")
