"""SARA: the gain per channel, its symmetries, and its three ways of decoding."""

from __future__ import annotations

import pytest
import torch
from reference import decoding as naive
from reference import sara as reference
from steered_rows import PROMPTS, TEXT, apply, batch, decode, logits_of
from torch import Tensor

from steering.interventions import Sara
from steering.interventions.sara import reduce, sara_gain
from steering.models.model import Model
from steering.sites import Site

PRE = Site(1, "resid_pre")
ATTRACT, REPEL = "I love you and", "The dog was not happy with that"


def at(lm: Model, text: str) -> Tensor:
    """Activations of a text, [pos d_model]."""
    return lm.activations([lm.tokens(text)], [PRE])[0][PRE][0]


@pytest.fixture(scope="module")
def sides(lm: Model) -> tuple[Tensor, Tensor, Tensor]:
    """Activations of an original, an attracting and a repelling prompt."""
    return at(lm, TEXT), at(lm, ATTRACT), at(lm, REPEL)


# By hand --------------------------------------------------------------------------------------------------------------


def test_a_gain_by_hand() -> None:
    """Two channels, one token each, so K = 1 and U S is the activation itself up to sign.

    original (3, 4), attract (1, 2): aligned, cosines (1, 1). repel (2, -1): inner product 6 - 4 = 2 > 0, not flipped,
    cosines (1, -1). gamma = (1 - 1, 1 + 1) = (0, 2), and alpha 0.5 doubles the second channel: h' = (3, 8).
    """
    original, attract, repel = (torch.tensor([row]) for row in ([3.0, 4.0], [1.0, 2.0], [2.0, -1.0]))
    gain = sara_gain(original, attract, repel)
    assert gain.tolist() == pytest.approx([0.0, 2.0])
    assert (original * (1 + 0.5 * gain)).tolist()[0] == pytest.approx([3.0, 8.0])


def test_a_gain_by_hand_with_a_flipped_column() -> None:
    """attract (-1, -2) is the same prompt up to the sign of a singular vector, which "align" undoes."""
    original, attract, repel = (torch.tensor([row]) for row in ([3.0, 4.0], [-1.0, -2.0], [2.0, -1.0]))
    assert sara_gain(original, attract, repel).tolist() == pytest.approx([0.0, 2.0])


def test_the_gain_is_the_papers(sides: tuple[Tensor, Tensor, Tensor]) -> None:
    torch.testing.assert_close(sara_gain(*sides), reference.gain(*sides), atol=1e-3, rtol=1e-3)


def test_text_is_the_slow_way(lm: Model, sides: tuple[Tensor, Tensor, Tensor]) -> None:
    """Frozen: the gain of the prompt, on every token that comes."""
    tokens = lm.tokens(TEXT)
    gain = reference.gain(*sides)
    one = Sara.from_prompts(lm, attract=ATTRACT, repel=REPEL, site=PRE)
    expected = naive.greedy(lm.hf, tokens, 8, 1, lambda h: h * (1 + gain), at_input=True)
    assert decode(lm, TEXT, (one,), max_new_tokens=8, ignore_eos=True, steer_bos=True).generated == expected
    assert expected != naive.greedy(lm.hf, tokens, 8)


# Symmetries -----------------------------------------------------------------------------------------------------------


def test_equal_prompts_change_nothing(lm: Model, sides: tuple[Tensor, Tensor, Tensor]) -> None:
    original, attract, _ = sides
    assert torch.equal(sara_gain(original, attract, attract), torch.zeros(32))
    one = Sara.from_prompts(lm, attract=ATTRACT, repel=ATTRACT, site=PRE, alpha=5.0)
    assert torch.equal(logits_of(lm, TEXT, (one,)), logits_of(lm, TEXT))


def test_alpha_0_changes_nothing(lm: Model) -> None:
    for mode in ("frozen", "recompute", "paper"):
        one = Sara.from_prompts(lm, attract=ATTRACT, repel=REPEL, site=PRE, alpha=0.0, mode=mode)
        assert torch.equal(logits_of(lm, TEXT, (one,)), logits_of(lm, TEXT))


@pytest.mark.parametrize("sign", ["align", "canonical", "raw"])
def test_swapped_prompts_negate(sign: str, lm: Model, sides: tuple[Tensor, Tensor, Tensor]) -> None:
    """gamma -> -gamma, so the two steered activations average to the original."""
    original, attract, repel = sides
    gain, swapped = sara_gain(original, attract, repel, sign), sara_gain(original, repel, attract, sign)
    torch.testing.assert_close(gain, -swapped)
    one, other = Sara(attract, repel, PRE, sign=sign), Sara(repel, attract, PRE, sign=sign)
    torch.testing.assert_close(apply(lm, one, original).h + apply(lm, other, original).h, 2 * original)


def test_gains_are_bounded(sides: tuple[Tensor, Tensor, Tensor]) -> None:
    for sign in ("align", "canonical", "raw"):
        gain = sara_gain(*sides, sign)
        assert gain.abs().max() <= 2 + 1e-5 and gain.abs().max() > 0.1


def test_the_order_of_tokens_is_not_seen(sides: tuple[Tensor, Tensor, Tensor]) -> None:
    """U and S depend on A A^T only."""
    g = torch.Generator().manual_seed(0)
    gain = sara_gain(*sides)
    shuffled = [h[torch.randperm(len(h), generator=g)] for h in sides]
    torch.testing.assert_close(sara_gain(*shuffled), gain, atol=2e-3, rtol=0)


def test_a_rotation_of_the_tokens_is_not_seen(sides: tuple[Tensor, Tensor, Tensor]) -> None:
    original, attract, repel = sides
    turn, _ = torch.linalg.qr(torch.randn(len(attract), len(attract), generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(
        sara_gain(original, turn @ attract, repel), sara_gain(original, attract, repel), atol=2e-3, rtol=0
    )


def test_the_scale_of_any_prompt_is_not_seen(sides: tuple[Tensor, Tensor, Tensor]) -> None:
    gain = sara_gain(*sides)
    for which in range(3):
        scaled = [h * (17.0 if i == which else 1.0) for i, h in enumerate(sides)]
        torch.testing.assert_close(sara_gain(*scaled), gain, atol=2e-3, rtol=0)


def test_one_token_gives_signs(sides: tuple[Tensor, Tensor, Tensor]) -> None:
    """K = 1: each cosine is a product of signs, so gamma is -2, 0 or 2."""
    gain = sara_gain(sides[0][-1:], sides[1], sides[2])
    assert set(gain.round(decimals=4).tolist()) <= {-2.0, 0.0, 2.0}
    assert len(set(gain.round(decimals=4).tolist())) > 1


def test_k_is_the_shortest_of_the_three(sides: tuple[Tensor, Tensor, Tensor]) -> None:
    original, attract, repel = sides
    k = min(map(len, sides))
    parts = [reduce(h.T, k) for h in (original, attract, repel)]
    assert all(part.shape == (32, k) for part in parts)
    longer = torch.cat([repel, repel, repel, repel, repel])  # more tokens than channels
    assert sara_gain(longer, attract, repel).shape == (32,)


def test_alignment_undoes_what_lapack_chose(sides: tuple[Tensor, Tensor, Tensor], monkeypatch) -> None:
    """A singular vector's sign is arbitrary: with every column flipped, raw changes and align does not."""
    before = {sign: sara_gain(*sides, sign) for sign in ("align", "canonical", "raw")}
    attract = sides[1].float().T
    svd = torch.linalg.svd

    def flipped(a: Tensor, full_matrices: bool) -> tuple[Tensor, Tensor, Tensor]:
        u, s, v = svd(a, full_matrices=full_matrices)
        return (-u, s, -v) if a.shape == attract.shape and torch.equal(a, attract) else (u, s, v)

    monkeypatch.setattr(torch.linalg, "svd", flipped)
    for sign in ("align", "canonical"):
        torch.testing.assert_close(sara_gain(*sides, sign), before[sign])
    assert (sara_gain(*sides, "raw") - before["raw"]).abs().max() > 0.5


def test_the_gain_is_constant_over_tokens(lm: Model, sides: tuple[Tensor, Tensor, Tensor]) -> None:
    original, attract, repel = sides
    ratio = apply(lm, Sara(attract, repel, PRE, alpha=0.5), original).h / original
    torch.testing.assert_close(ratio, (1 + 0.5 * sara_gain(*sides)).expand_as(ratio), atol=1e-4, rtol=1e-4)


# Modes ----------------------------------------------------------------------------------------------------------------


def sara(lm: Model, mode: str, **options) -> Sara:
    return Sara.from_prompts(lm, attract=ATTRACT, repel=REPEL, site=PRE, mode=mode, **options)


def test_all_modes_agree_on_the_prompt(lm: Model) -> None:
    """They differ in what they do to generated tokens; the sign rule is made the same here."""
    logits = [logits_of(lm, TEXT, (sara(lm, mode, sign="align"),)) for mode in ("frozen", "recompute", "paper")]
    assert torch.equal(logits[0], logits[1]) and torch.equal(logits[0], logits[2])


def test_recompute_is_a_fresh_gain_from_all_tokens_at_every_step(lm: Model, sides: tuple) -> None:
    """No cache, whatever is asked: the history is read again with its gain of today."""
    tokens = lm.tokens(TEXT)

    def change(h: Tensor) -> Tensor:
        return h * (1 + reference.gain(h, sides[1], sides[2]))

    row = decode(lm, TEXT, (sara(lm, "recompute"),), max_new_tokens=5, ignore_eos=True, steer_bos=True, cached=True)
    assert not row.cached
    assert row.generated == naive.greedy(lm.hf, tokens, 5, 1, change, at_input=True)


def test_the_papers_mode_gives_gains_of_minus_1_1_or_3_to_generated_tokens(lm: Model, sides: tuple) -> None:
    one = sara(lm, "paper")
    prompt, generated = one.placements(lm)
    assert (prompt.where, generated.where) == ("prompt", "generated")
    h = torch.randn(3, 32)
    ratio = apply(lm, one, h, placement=1).h / h
    assert set(ratio.round(decimals=3).flatten().tolist()) <= {-1.0, 1.0, 3.0}


def test_the_papers_mode_is_sara_of_one_token(lm: Model, sides: tuple[Tensor, Tensor, Tensor]) -> None:
    """The closed form with signs against the whole computation on a single token."""
    _, attract, repel = sides
    token = torch.randn(1, 32, generator=torch.Generator().manual_seed(2))
    expected = token * (1 + sara_gain(token, attract, repel, sign="raw"))
    torch.testing.assert_close(apply(lm, sara(lm, "paper"), token, placement=1).h, expected, atol=1e-4, rtol=1e-4)


def test_a_row_keeps_its_gain_in_a_batch(lm: Model) -> None:
    """Each row's gain is its own prompt's; aligned signs keep rounding from flipping a column."""
    variants = [(sara(lm, "frozen"),), (sara(lm, "frozen", alpha=-1.0),), (), (sara(lm, "recompute"),)]
    options = {"max_new_tokens": 6, "ignore_eos": True}
    rows = batch(lm, PROMPTS[1:5], variants, **options)
    for row, prompt, variant in zip(rows, PROMPTS[1:5], variants, strict=True):
        assert row.generated == decode(lm, prompt, variant, **options).generated


def test_sara_at_bos_only_when_asked(tiny_llama: Model) -> None:
    """BOS takes part in finding the gain, as in the paper, but is not scaled unless `steer_bos`."""
    row = decode(tiny_llama, TEXT, (sara(tiny_llama, "frozen"),), max_new_tokens=2, ignore_eos=True)
    assert row.receipts()[0].positions[0] == 1
    (gain,) = [edit.gain for edit in row.edits.values()]
    torch.testing.assert_close(
        gain[0],
        sara_gain(at(tiny_llama, TEXT), at(tiny_llama, ATTRACT), at(tiny_llama, REPEL)),
        atol=1e-3,
        rtol=1e-3,
    )
