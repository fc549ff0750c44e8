"""The threshold regulator (DIR) and its baselines, in feature space and in the residual stream."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from reference import decoding as naive
from reference import regulator as reference
from sae_lens import StandardSAE, StandardSAEConfig
from sae_lens.saes.sae import SAEMetadata
from steered_rows import PROMPTS, TEXT, apply, decode, direction, logits_of
from torch import Tensor

from steering.directions.direction import Direction
from steering.interventions import DirectionalAblation, SaeAblation, SaeReconstruction, ThresholdRegulator
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

H = torch.randn(40, 32, generator=torch.Generator().manual_seed(7)) * 4
SITE = Site(1, "resid_post")


@pytest.fixture(scope="module")
def sae(family: str, sae_of: Callable[..., Sae]) -> Sae:
    return sae_of("standard", family=family)


@pytest.fixture(scope="module")
def h(lm: Model) -> Tensor:
    """Activations that the SAE was made for, [tokens d_model]."""
    found, mask = lm.activations([lm.tokens(prompt) for prompt in PROMPTS], [SITE])
    return found[SITE][mask]


@pytest.fixture(scope="module")
def plain_sae() -> Sae:
    """f = relu(h), decoder rows of length 2: what a feature is, and what it writes, can be read off."""
    about = SAEMetadata(model_name="tiny", hook_name=str(SITE))
    sae = StandardSAE(StandardSAEConfig(d_in=32, d_sae=32, metadata=about)).requires_grad_(False)
    sae.W_enc.copy_(torch.eye(32))
    sae.W_dec.copy_(2 * torch.eye(32))
    sae.b_enc.zero_()
    sae.b_dec.zero_()
    return Sae("plain", SITE, sae)


def along(lm: Model, one: ThresholdRegulator, h: Tensor, v: Tensor) -> Tensor:
    return apply(lm, one, h).h @ v


# By hand --------------------------------------------------------------------------------------------------------------


def test_the_post_by_hand_in_feature_space(tiny_gpt2: Model, plain_sae: Sae) -> None:
    """tau 10, lambda 3, v = e0, f = relu(h), rows 2 e_j; tokens with p = 5, 15, 20.

    p = 5: nothing. p = 15: excess 5, f falls by 15 to 0, h by 30 to -15. p = 20: excess 10, h falls by 60 to -40.
    """
    h = torch.zeros(3, 32)
    h[:, 0] = torch.tensor([5.0, 15.0, 20.0])
    v = Direction(torch.eye(32)[0] * 7, SITE, sae=plain_sae)
    effect = apply(tiny_gpt2, ThresholdRegulator(v, tau=10.0, lambda_=3.0), h)
    assert effect.h[:, 0].tolist() == [5.0, -15.0, -40.0]
    assert effect.expected.tolist() == [0.0, 30.0, 60.0]
    assert effect.fired.tolist() == [False, True, True]


def test_the_post_by_hand_in_the_residual_stream(tiny_gpt2: Model) -> None:
    """v = (0.6, 0.8), h = (9, 12) has p = 15: excess 5, h' = h - 15 v = (0, 0); lambda 1: h' = h - 5 v = (6, 8)."""
    v, h = torch.zeros(32), torch.zeros(1, 32)
    v[:2], h[0, :2] = torch.tensor([6.0, 8.0]), torch.tensor([9.0, 12.0])
    for lambda_, expected in ((3.0, [0.0, 0.0]), (1.0, [6.0, 8.0])):
        effect = apply(tiny_gpt2, ThresholdRegulator(Direction(v, SITE), 10.0, lambda_), h)
        assert effect.h[0, :2].tolist() == pytest.approx(expected, abs=1e-5)


def test_no_negative_features_by_hand(tiny_gpt2: Model, plain_sae: Sae) -> None:
    """v = (e0 - e1) / sqrt 2 and f = (8, 1): p = 7 / sqrt 2, tau 0, lambda 3: change = -3 (7/2) (e0 - e1).

    f0 would fall to 8 - 10.5 = -2.5 and stops at 0; f1 rises to 11.5. Rows are 2: h changes by (-16, +21).
    """
    h = torch.zeros(1, 32)
    h[0, :2] = torch.tensor([8.0, 1.0])
    v = Direction(torch.eye(32)[0] - torch.eye(32)[1], SITE, sae=plain_sae)
    effect = apply(tiny_gpt2, ThresholdRegulator(v, 0.0, 3.0, clamp_nonneg=True), h)
    assert effect.h[0, :2].tolist() == pytest.approx([8.0 - 16.0, 1.0 + 21.0], abs=1e-4)


def test_the_dropped_error_by_hand(tiny_gpt2: Model, plain_sae: Sae) -> None:
    """decode(encode(h)) = 2 relu(h): h = (3, -4) becomes (6, 0) below the threshold already."""
    h = torch.zeros(1, 32)
    h[0, :2] = torch.tensor([3.0, -4.0])
    v = Direction(torch.eye(32)[5], SITE, sae=plain_sae)
    effect = apply(tiny_gpt2, ThresholdRegulator(v, 10.0, 3.0, error="drop"), h)
    assert effect.h[0, :2].tolist() == [6.0, 0.0]
    assert effect.expected.tolist() == [5.0] and effect.fired.tolist() == [False]


# Against the paper ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["standard", "gated", "jumprelu", "topk", "batchtopk"])
def test_the_residual_form_is_the_decode_form(architecture: str, tiny_llama: Model, sae_of: Callable) -> None:
    """h - lambda e (v @ W_dec) against decode(x') with the error put back, one SAE of each kind."""
    sae = sae_of(architecture)
    h = tiny_llama.activations([tiny_llama.tokens(PROMPTS[2])], [SITE])[0][SITE][0]
    v = direction(sae=sae)
    p = sae.encode(h) @ v.unit().vector
    tau = float(p.median())
    for lambda_ in (0.5, 1.0, 3.0):
        for nonneg in (False, True):
            one = ThresholdRegulator(v, tau, lambda_, clamp_nonneg=nonneg)
            expected = reference.error_kept(h, sae.encode, sae.decode, v.vector, tau, lambda_, nonneg)
            torch.testing.assert_close(apply(tiny_llama, one, h).h, expected, atol=1e-3, rtol=1e-3)
        dropped = ThresholdRegulator(v, tau, lambda_, error="drop")
        expected = reference.as_posted(h, sae.encode, sae.decode, v.vector, tau, lambda_)
        torch.testing.assert_close(apply(tiny_llama, dropped, h).h, expected, atol=1e-3, rtol=1e-3)
    ablated = reference.ablated(h, sae.encode, sae.decode, v.vector)
    torch.testing.assert_close(apply(tiny_llama, SaeAblation(v), h).h, ablated, atol=1e-3, rtol=1e-3)


def test_text_under_the_regulator_is_the_slow_way(lm: Model, sae: Sae) -> None:
    v, tokens = direction(sae=sae, seed=4), lm.tokens(PROMPTS[1])

    def change(h: Tensor) -> Tensor:
        return reference.error_kept(h, sae.encode, sae.decode, v.vector, 0.2, 4.0)

    one = ThresholdRegulator(v, 0.2, 4.0)
    expected = naive.greedy(lm.hf, tokens, 8, 1, change)
    assert decode(lm, PROMPTS[1], (one,), max_new_tokens=8, ignore_eos=True, steer_bos=True).generated == expected


def test_lambda_1_in_the_residual_stream_is_activation_capping(lm: Model, h: Tensor) -> None:
    v = direction(norm=4.0)
    tau = float((h @ v.unit().vector).median())
    expected = reference.capped(h, v.vector, tau)
    torch.testing.assert_close(apply(lm, ThresholdRegulator(v, tau, 1.0), h).h, expected, atol=1e-5, rtol=1e-5)


# Laws -----------------------------------------------------------------------------------------------------------------


def test_closed_form_above_the_threshold(lm: Model, h: Tensor) -> None:
    """p' = tau + (1 - lambda)(p - tau): 1 is a cap, 2 reflects, 3 over-corrects; below tau p' = p."""
    v = direction().unit()
    p = h @ v.vector
    tau = float(p.median())
    for lambda_ in (0.0, 0.5, 1.0, 2.0, 3.0):
        after = along(lm, ThresholdRegulator(v, tau, lambda_), h, v.vector)
        expected = torch.where(p > tau, tau + (1 - lambda_) * (p - tau), p)
        torch.testing.assert_close(after, expected, atol=1e-4, rtol=1e-4)


def test_closed_form_in_feature_space(tiny_gpt2: Model, plain_sae: Sae) -> None:
    """x' = x - lambda e v has p' = tau + (1 - lambda)(p - tau); with rows 2 e_j the change is read off as h / 2."""
    v = direction(sae=plain_sae, seed=1).unit()
    f = plain_sae.encode(H)
    p = f @ v.vector
    tau = float(p.median())
    for lambda_ in (0.5, 1.0, 3.0):
        change = (apply(tiny_gpt2, ThresholdRegulator(v, tau, lambda_), H).h - H) / 2
        expected = torch.where(p > tau, tau + (1 - lambda_) * (p - tau), p)
        torch.testing.assert_close((f + change) @ v.vector, expected, atol=1e-4, rtol=1e-4)


def test_lambda_0_and_tau_infinite_change_nothing(lm: Model, sae: Sae, h: Tensor) -> None:
    for v in (direction(), direction(sae=sae)):
        assert torch.equal(apply(lm, ThresholdRegulator(v, 0.0, 0.0), h).h, h)
        effect = apply(lm, ThresholdRegulator(v, math.inf, 3.0), h)
        assert torch.equal(effect.h, h) and not effect.fired.any()


def test_tokens_below_the_threshold_are_bit_identical(lm: Model, sae: Sae, h: Tensor) -> None:
    for v, space in ((direction(), h), (direction(sae=sae), sae.encode(h))):
        p = space @ v.unit().vector
        tau = float(p.quantile(0.7))
        effect = apply(lm, ThresholdRegulator(v, tau, 3.0), h)
        below = p < tau - 1e-4
        assert below.any() and torch.equal(effect.h[below], h[below])
        assert (effect.fired == ~below).float().mean() > 0.95
        assert not torch.equal(effect.h, h)


def test_the_length_of_the_direction_is_irrelevant(lm: Model, sae: Sae, h: Tensor) -> None:
    for v in (direction(), direction(sae=sae)):
        one, other = (apply(lm, ThresholdRegulator(v * c, 0.2, 3.0), h) for c in (1.0, 37.0))
        torch.testing.assert_close(one.h, other.h, atol=1e-4, rtol=1e-4)
        assert (one.fired == other.fired).float().mean() > 0.99


def test_the_sign_of_the_direction_is_the_side_that_is_held_down(lm: Model, h: Tensor) -> None:
    """-v with -tau holds the projection up: max(p, tau)."""
    v = direction().unit()
    p = h @ v.vector
    after = along(lm, ThresholdRegulator(-v, -float(p.median()), 1.0), h, v.vector)
    torch.testing.assert_close(after, p.clamp(min=float(p.median())), atol=1e-4, rtol=1e-4)


def test_lambda_0_says_where_it_would_fire(lm: Model, sae: Sae, h: Tensor) -> None:
    """A threshold is calibrated by looking first: nothing is changed, and the receipt has the crossings."""
    for v, space in ((direction(), h), (direction(sae=sae), sae.encode(h))):
        tau = float((space @ v.unit().vector).median())
        watching, acting = (ThresholdRegulator(v, tau, lambda_) for lambda_ in (0.0, 2.0))
        seen, done = apply(lm, watching, h), apply(lm, acting, h)
        assert torch.equal(seen.h, h) and torch.equal(seen.fired, done.fired)
        assert 0 < int(seen.fired.sum()) < len(h)
        receipt = decode(lm, TEXT, (watching,), max_new_tokens=8, ignore_eos=True).receipts()[0]
        assert receipt.fired is not None and receipt.measured == 0.0


def test_lambda_1_tau_0_is_one_sided_ablation(lm: Model, sae: Sae, h: Tensor) -> None:
    """Where p > 0 the like-for-like ablation, elsewhere nothing; "tau to minus infinity" would not be ablation."""
    residual, features = direction(), direction(sae=sae)
    pairs = [
        (ThresholdRegulator(residual, 0.0, 1.0), DirectionalAblation(residual), h @ residual.vector),
        (ThresholdRegulator(features, 0.0, 1.0), SaeAblation(features), sae.encode(h) @ features.vector),
    ]
    for regulator, ablation, p in pairs:
        regulated, ablated = apply(lm, regulator, h).h, apply(lm, ablation, h).h
        assert (p > 0).any() and (p < 0).any()
        torch.testing.assert_close(regulated[p > 0], ablated[p > 0], atol=1e-4, rtol=1e-4)
        assert torch.equal(regulated[p <= 0], h[p <= 0])


def test_the_dropped_error_is_reconstruction_and_the_same_edit(lm: Model, sae: Sae, h: Tensor) -> None:
    """drop = keep - (h - decode(encode(h))); with tau infinite, or lambda 0, it is reconstruction alone."""
    v = direction(sae=sae)
    rebuilt = sae.reconstruct(h)
    for tau, lambda_ in ((math.inf, 3.0), (0.0, 0.0)):
        effect = apply(lm, ThresholdRegulator(v, tau, lambda_, error="drop"), h)
        torch.testing.assert_close(effect.h, rebuilt, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(apply(lm, SaeReconstruction(sae), h).h, rebuilt, atol=1e-4, rtol=1e-4)
    keep, drop = (apply(lm, ThresholdRegulator(v, 0.1, 3.0, error=error), h).h for error in ("keep", "drop"))
    torch.testing.assert_close(drop, keep - (h - rebuilt), atol=1e-4, rtol=1e-4)


def test_no_feature_is_pushed_below_zero(tiny_gpt2: Model, plain_sae: Sae) -> None:
    """With rows 2 e_j the new features are f + (h' - h) / 2."""
    v = direction(sae=plain_sae, seed=2)
    f = plain_sae.encode(H)
    free, held = (
        f + (apply(tiny_gpt2, ThresholdRegulator(v, 0.0, 3.0, clamp_nonneg=nonneg), H).h - H) / 2
        for nonneg in (False, True)
    )
    assert free.min() < -0.5
    torch.testing.assert_close(held, free.clamp(min=0), atol=1e-4, rtol=1e-4)


def test_only_the_support_is_evaluated_where_the_sae_allows_it(tiny_llama: Model, sae_of: Callable) -> None:
    for architecture in ("standard", "gated", "jumprelu", "topk"):
        sae = sae_of(architecture)
        one = ThresholdRegulator(direction(sae=sae), 0.0, 1.0)
        (placement,) = one.placements(tiny_llama)
        assert len(placement.edit.features) == 12
        assert sae.features(placement.edit.features).sliced == (architecture != "topk")
        notes = one.notes(5)
        assert notes == (() if architecture != "topk" else (notes[0],))
        if architecture == "topk":
            assert "all 96 are evaluated" in notes[0]


def test_the_whole_sae_is_never_decoded(lm: Model, sae: Sae, h: Tensor, monkeypatch) -> None:
    monkeypatch.setattr(type(sae.sae), "decode", lambda *_: pytest.fail("the SAE was decoded"))
    apply(lm, ThresholdRegulator(direction(sae=sae), 0.0, 3.0), h)
    apply(lm, SaeAblation(direction(sae=sae)), h)


def test_an_sae_that_rescales_its_input_writes_in_the_streams_units(tiny_llama: Model, sae_of: Callable) -> None:
    """LayerNorm SAEs: h' - h = reconstruct(with the change) - reconstruct(without), for this token's statistics."""
    sae = sae_of("standard", normalize_activations="layer_norm")
    h = tiny_llama.activations([tiny_llama.tokens(PROMPTS[2])], [SITE])[0][SITE][0]
    v = direction(sae=sae)
    f = sae.encode(h)
    p = f @ v.unit().vector
    tau = float(p.median())
    change = -3.0 * (p - tau).clamp(min=0)[:, None] * v.unit().vector
    expected = h + h.std(-1, keepdim=True) * (change @ sae.W_dec)
    torch.testing.assert_close(apply(tiny_llama, ThresholdRegulator(v, tau, 3.0), h).h, expected, atol=1e-4, rtol=1e-4)


def test_the_edit_comes_back_in_the_models_dtype(checkpoint: Callable, sae_of: Callable) -> None:
    from steering.models.loading import load_model

    half = load_model(checkpoint("llama"), device="cpu", dtype=torch.bfloat16, threads=1)
    sae = sae_of("standard")
    v = Direction(direction(sae=sae).vector, SITE, sae=sae)
    row = decode(half, TEXT, (ThresholdRegulator(v, 0.0, 3.0),), max_new_tokens=4, ignore_eos=True)
    assert logits_of(half, TEXT, (ThresholdRegulator(v, 0.0, 3.0),)).dtype == torch.bfloat16
    (receipt,) = row.receipts()
    # bfloat16 keeps 8 bits: h of length 24 is rounded by up to 24 / 2^9, which a shift of 1.4 cannot hide
    assert receipt.measured == pytest.approx(receipt.expected, rel=0.1) and receipt.measured != receipt.expected
