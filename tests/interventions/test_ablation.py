"""Directional ablation and its affine form: what is left along the direction, and that weights can do the same."""

from __future__ import annotations

import pytest
import torch
from reference import ablation as reference
from reference import decoding as naive
from steered_rows import PROMPTS, TEXT, apply, decode, direction, logits_of

from steering.directions.direction import Direction
from steering.interventions import ActivationAddition, AffineAblation, DirectionalAblation
from steering.interventions.ablation import residual_sites
from steering.models.model import Model
from steering.sites import Site

H = torch.randn(9, 32, generator=torch.Generator().manual_seed(6)) * 4


def test_an_ablation_by_hand(tiny_gpt2: Model) -> None:
    """r = (3, 4, 0, ...) / 5; h = (5, 0, 7, ...): p = 3, h' = h - 3 (0.6, 0.8) = (3.2, -2.4, 7, ...), p' = 0."""
    v, h = torch.zeros(32), torch.zeros(1, 32)
    v[:2], h[0, :3] = torch.tensor([3.0, 4.0]), torch.tensor([5.0, 0.0, 7.0])
    effect = apply(tiny_gpt2, DirectionalAblation(Direction(v, Site(1))), h)
    assert effect.h[0, :3].tolist() == pytest.approx([3.2, -2.4, 7.0])
    assert effect.expected.tolist() == pytest.approx([3.0])


def test_an_ablation_is_the_papers(lm: Model) -> None:
    r = direction(seed=2, norm=7.0)
    torch.testing.assert_close(apply(lm, DirectionalAblation(r), H).h, reference.directional(H, r.vector))
    tokens = lm.tokens(PROMPTS[1])
    expected = naive.greedy(lm.hf, tokens, 8, 1, lambda h: reference.directional(h, r.vector))
    row = decode(lm, PROMPTS[1], (DirectionalAblation(r),), max_new_tokens=8, ignore_eos=True, steer_bos=True)
    assert row.generated == expected


def test_nothing_is_left_along_the_direction(lm: Model) -> None:
    r = direction(norm=3.0)
    row = decode(lm, TEXT, (DirectionalAblation(r),), max_new_tokens=5, record=[r], ignore_eos=True, steer_bos=True)
    (trace,) = row.traces.values()
    assert max(map(abs, trace.after)) < 1e-5 < 0.1 < max(map(abs, trace.before))


def test_everywhere_is_at_every_site_of_the_stream(lm: Model) -> None:
    one = DirectionalAblation(direction(), everywhere=True)
    sites = [placement.site for placement in one.placements(lm)]
    assert sites == residual_sites(lm) == sorted(sites)
    assert len(sites) == 4 * (2 if lm.parallel else 3)
    records = [direction(site) for site in sites]
    row = decode(lm, TEXT, (one,), max_new_tokens=4, record=records, ignore_eos=True, steer_bos=True)
    assert len(row.traces) == len(sites)
    for trace in row.traces.values():
        assert max(map(abs, trace.after)) < 1e-5


def test_ablating_twice_is_ablating_once(lm: Model) -> None:
    one = DirectionalAblation(direction())
    once = apply(lm, one, H).h
    torch.testing.assert_close(apply(lm, one, once).h, once, atol=1e-6, rtol=0)


def test_only_the_line_matters(lm: Model) -> None:
    """Scale and sign of r are irrelevant."""
    once = apply(lm, DirectionalAblation(direction()), H).h
    for factor in (-1.0, 0.01, 250.0):
        torch.testing.assert_close(apply(lm, DirectionalAblation(direction() * factor), H).h, once)


def test_strength_scales_what_is_taken(lm: Model) -> None:
    r = direction()
    p = H @ r.unit().vector
    for strength in (0.25, 1.0, 2.0):
        after = apply(lm, DirectionalAblation(r, strength=strength), H).h @ r.unit().vector
        torch.testing.assert_close(after, (1 - strength) * p, atol=1e-5, rtol=1e-5)


def test_the_rest_of_the_activation_stays(lm: Model) -> None:
    r = direction()
    across = direction(seed=8).vector
    across = across - (across @ r.unit().vector) * r.unit().vector
    torch.testing.assert_close(apply(lm, DirectionalAblation(r), H).h @ across, H @ across)


def test_taking_out_can_put_in(tiny_llama: Model) -> None:
    """The counter-example to "ablation only removes": a = x b + y c, r = (b - d) / sqrt 2 with b, c, d orthonormal.

    a . r = x / sqrt 2, so a' = x b + y c - (x / 2)(b - d) = (x/2) b + (x/2) d + y c: half of x turns up along d.
    """
    b, c, d = torch.eye(32)[:3]
    x, y = 6.0, 1.5
    r = Direction((b - d) / 2**0.5, Site(1))
    (after,) = apply(tiny_llama, DirectionalAblation(r), (x * b + y * c)[None]).h
    assert [float(after @ axis) for axis in (b, c, d)] == pytest.approx([3.0, 1.5, 3.0])


# Affine ablation ------------------------------------------------------------------------------------------------------


def test_an_affine_ablation_by_hand(tiny_gpt2: Model) -> None:
    """R = (4, 0, ...), so r = e0; mu- = (1, 9, ...), alpha 0.5, h = (7, 2, ...).

    h' = 7 - 7 + 1 + 0.5 * 4 = 3 along r; 2 stays across it.
    """
    R, mu, h = torch.zeros(32), torch.zeros(32), torch.zeros(1, 32)
    R[0], mu[:2], h[0, :2] = 4.0, torch.tensor([1.0, 9.0]), torch.tensor([7.0, 2.0])
    effect = apply(tiny_gpt2, AffineAblation(Direction(R, Site(1)), Direction(mu, Site(1)), alpha=0.5), h)
    assert effect.h[0, :2].tolist() == pytest.approx([3.0, 2.0])
    assert effect.expected.tolist() == pytest.approx([4.0])


def test_an_affine_ablation_is_the_papers(lm: Model) -> None:
    positive, negative = direction(seed=1, norm=5.0), direction(seed=2, norm=3.0)
    one = AffineAblation(positive - negative, negative, alpha=0.7)
    expected = reference.affine(H, positive.vector, negative.vector, 0.7)
    torch.testing.assert_close(apply(lm, one, H).h, expected, atol=1e-5, rtol=1e-5)


def test_alpha_0_and_1_are_the_class_means(lm: Model) -> None:
    """Every token lands where the negative (positive) class is along r, on average and each."""
    positive, negative = H[:4] + 3 * direction(seed=1).vector, H[4:]
    mu_p, mu_n = Direction(positive.mean(0), Site(1)), Direction(negative.mean(0), Site(1))
    r = (mu_p - mu_n).unit().vector
    for alpha, mean in ((0.0, mu_n), (1.0, mu_p)):
        after = apply(lm, AffineAblation(mu_p - mu_n, mu_n, alpha=alpha), H).h
        torch.testing.assert_close(after @ r, (mean.vector @ r).expand(len(H)), atol=1e-4, rtol=1e-4)


def test_with_a_reference_across_the_direction_it_is_plain_ablation(lm: Model) -> None:
    r, across = direction(), direction(seed=8)
    across = Direction(across.vector - (across.vector @ r.unit().vector) * r.unit().vector, Site(1))
    plain, affine = DirectionalAblation(r), AffineAblation(r, across, alpha=0.0)
    torch.testing.assert_close(apply(lm, affine, H).h, apply(lm, plain, H).h, atol=1e-5, rtol=1e-5)


def test_adding_to_an_ablated_stream_is_affine_ablation(lm: Model) -> None:
    """ACE at alpha = ablation, then an addition of (mu- . r + alpha |R|) r."""
    R, mu = direction(norm=4.0), direction(seed=3, norm=2.0)
    offset = float(mu.vector @ R.unit().vector) + 0.5 * 4.0
    two = (DirectionalAblation(R), ActivationAddition(R.unit(), offset))
    torch.testing.assert_close(
        logits_of(lm, TEXT, (AffineAblation(R, mu, alpha=0.5),)), logits_of(lm, TEXT, two), atol=1e-4, rtol=1e-4
    )
