"""Angular steering: the norm stays, the angle is the target."""

from __future__ import annotations

import math

import pytest
import torch
from reference import angular as reference
from reference import decoding as naive
from steered_rows import PROMPTS, apply, decode, direction

from steering.directions.direction import Direction
from steering.interventions import AngularSteering
from steering.models.model import Model
from steering.sites import Site

H = torch.randn(12, 32, generator=torch.Generator().manual_seed(8)) * 4
V, W = direction(seed=0, norm=3.0), direction(seed=1, norm=0.5)


def basis() -> tuple[torch.Tensor, torch.Tensor]:
    b1 = V.unit().vector
    b2 = W.vector - (W.vector @ b1) * b1
    return b1, b2 / b2.norm()


def test_a_turn_by_hand(tiny_gpt2: Model) -> None:
    """In the plane of e0 and e1, h = (3, 4, 7): length 5 in the plane, and 7 across, which stays.

    90 degrees: (0, 5, 7); 180: (-5, 0, 7); 60: (2.5, 4.33, 7).
    """
    v, w = torch.eye(32)[0] * 2, torch.eye(32)[1] + torch.eye(32)[0] * 9
    h = torch.zeros(1, 32)
    h[0, :3] = torch.tensor([3.0, 4.0, 7.0])
    for degrees, expected in ((90, [0, 5, 7]), (180, [-5, 0, 7]), (60, [2.5, 5 * math.sqrt(3) / 2, 7])):
        one = AngularSteering(Direction(v, Site(1)), Direction(w, Site(1)), float(degrees))
        assert apply(tiny_gpt2, one, h).h[0, :3].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_turn_is_the_papers(lm: Model) -> None:
    for degrees in (0.0, 45.0, 200.0):
        for adaptive in (False, True):
            one = AngularSteering(V, W, degrees, adaptive=adaptive)
            expected = reference.turned(H, V.vector, W.vector, degrees, adaptive)
            torch.testing.assert_close(apply(lm, one, H).h, expected, atol=1e-4, rtol=1e-4)


def test_text_is_the_slow_way(lm: Model) -> None:
    tokens = lm.tokens(PROMPTS[1])
    expected = naive.greedy(lm.hf, tokens, 8, 1, lambda h: reference.turned(h, V.vector, W.vector, 120.0))
    row = decode(lm, PROMPTS[1], (AngularSteering(V, W, 120.0),), max_new_tokens=8, ignore_eos=True, steer_bos=True)
    assert row.generated == expected


def test_the_norm_stays(lm: Model) -> None:
    for degrees in range(0, 360, 45):
        after = apply(lm, AngularSteering(V, W, float(degrees)), H).h
        torch.testing.assert_close(after.norm(dim=-1), H.norm(dim=-1))


def test_the_angle_is_the_target_whatever_it_was(lm: Model) -> None:
    b1, b2 = basis()
    for degrees in (0.0, 30.0, 90.0, 135.0, 180.0, 270.0):
        after = apply(lm, AngularSteering(V, W, degrees), H).h
        angle = torch.rad2deg(torch.atan2(after @ b2, after @ b1)) % 360
        off = (angle - degrees + 180) % 360 - 180
        assert off.abs().max() < 0.01


def test_the_rest_stays(lm: Model) -> None:
    b1, b2 = basis()
    outside = H - (H @ b1)[:, None] * b1 - (H @ b2)[:, None] * b2
    after = apply(lm, AngularSteering(V, W, 77.0), H).h
    torch.testing.assert_close(
        after - (after @ b1)[:, None] * b1 - (after @ b2)[:, None] * b2, outside, atol=1e-5, rtol=1e-5
    )


def test_turning_twice_is_turning_once(lm: Model) -> None:
    one = AngularSteering(V, W, 100.0)
    once = apply(lm, one, H).h
    torch.testing.assert_close(apply(lm, one, once).h, once, atol=1e-5, rtol=1e-5)


def test_adaptive_leaves_the_other_side_alone(lm: Model) -> None:
    b1, _ = basis()
    effect = apply(lm, AngularSteering(V, W, 180.0, adaptive=True), H)
    other = H @ b1 <= 0
    assert other.any() and (~other).any()
    assert torch.equal(effect.h[other], H[other])
    assert torch.equal(effect.fired, ~other)
    torch.testing.assert_close(effect.h[~other], apply(lm, AngularSteering(V, W, 180.0), H).h[~other])


def test_everywhere_holds_the_angle_at_every_site(lm: Model) -> None:
    b1, _ = basis()
    sites = [placement.site for placement in AngularSteering(V, W, 90.0, everywhere=True).placements(lm)]
    records = [Direction(b1, site) for site in sites]
    one = AngularSteering(V, W, 90.0, everywhere=True)
    row = decode(lm, PROMPTS[0], (one,), max_new_tokens=3, record=records, ignore_eos=True, steer_bos=True)
    assert len(row.traces) == len(sites) == 12
    for trace in row.traces.values():  # at 90 degrees nothing points along b1
        assert max(map(abs, trace.after)) < 1e-4
