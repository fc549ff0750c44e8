"""Additions kept within the span of texts: P is idempotent, all dimensions are no limit, strength 0 is the baseline."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from steered_rows import apply, decode, direction, logits_of

from steering.directions.direction import Direction
from steering.directions.geometry.manifold import Manifold, manifold
from steering.interventions import ActAdd, ActivationAddition, FeatureAddition
from steering.interventions.addition import Additive
from steering.models.model import Model
from steering.recipes.controls import control
from steering.saes.sae import Sae
from steering.sites import Site

SITE = Site(1)
TEXTS = ["The cat sat on the mat and looked up.", "I love you and the dog does not."]


def span(basis: torch.Tensor, site: Site = SITE) -> Manifold:
    return Manifold(site, basis, 0.9, torch.ones(len(basis)), 10)


def additions(lm: Model, sae: Sae) -> list[Additive]:
    difference = torch.randn(3, lm.d_model, generator=torch.Generator().manual_seed(4))
    added = ActivationAddition(direction(SITE, 1, width=lm.d_model), 2.0)
    return [added, ActAdd(difference, SITE, 2.0), FeatureAddition(sae, {3: 2.0, 8: -5.0})]


@pytest.fixture
def sae(tiny_llama: Model, sae_of: Callable[..., Sae]) -> Sae:
    return sae_of("standard")


def test_by_hand(tiny_gpt2: Model) -> None:
    """v = (3, 4, 0, ...) kept to the first axis is (3, 0, 0, ...): 9 of 25 are left, and alpha 2 adds 6."""
    v = torch.zeros(tiny_gpt2.d_model)
    v[0], v[1] = 3.0, 4.0
    one = ActivationAddition(Direction(v, SITE), 2.0, within=span(torch.eye(tiny_gpt2.d_model)[:1]))
    effect = apply(tiny_gpt2, one, torch.ones(2, tiny_gpt2.d_model))
    assert effect.h[0, :3].tolist() == [7.0, 1.0, 1.0] and effect.expected.tolist() == [6.0, 6.0]
    assert one.share == pytest.approx(9 / 25) and one.unit_shift == 3.0
    assert "1 of 32 dimensions" in one.notes(5)[0] and "36%" in one.notes(5)[0] and "exaggerates" in one.notes(5)[0]


def test_kept_twice_is_kept_once(tiny_llama: Model, sae: Sae) -> None:
    within = manifold(tiny_llama, TEXTS, SITE, k=5)
    for one in additions(tiny_llama, sae):
        kept = replace(one, within=within).kept
        torch.testing.assert_close(within.project(kept), kept)
        assert not torch.allclose(kept, one.kept, atol=1e-2)


def test_all_dimensions_are_no_limit(tiny_llama: Model, sae: Sae) -> None:
    whole = span(torch.linalg.qr(torch.randn(tiny_llama.d_model, tiny_llama.d_model)).Q)
    for one in additions(tiny_llama, sae):
        torch.testing.assert_close(
            logits_of(tiny_llama, "The cat sat", (replace(one, within=whole),)),
            logits_of(tiny_llama, "The cat sat", (one,)), atol=1e-3, rtol=1e-3,
        )  # fmt: skip


def test_strength_zero_is_the_baseline(tiny_llama: Model) -> None:
    within = manifold(tiny_llama, TEXTS, SITE, k=5)
    v = direction(SITE, 1, width=tiny_llama.d_model)
    for one in (ActivationAddition(v, 0.0, within=within), ActAdd(v.vector[None], SITE, 0.0, within=within)):
        assert torch.equal(logits_of(tiny_llama, "The cat", (one,)), logits_of(tiny_llama, "The cat", ()))


def test_steered_activations_of_the_span_stay_in_it(tiny_llama: Model, sae: Sae) -> None:
    within = manifold(tiny_llama, TEXTS, SITE, k=5)
    h = torch.randn(4, 5) @ within.basis
    for one in additions(tiny_llama, sae):
        moved = apply(tiny_llama, replace(one, within=within), h).h
        torch.testing.assert_close(within.project(moved), moved, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(moved, h, atol=1e-2)


def test_the_receipt_says_how_much_is_left_and_that_it_arrived(tiny_llama: Model) -> None:
    within = manifold(tiny_llama, TEXTS, SITE, k=5)
    one = ActivationAddition(direction(SITE, 1, width=tiny_llama.d_model), 2.0, within=within)
    (receipt,) = decode(tiny_llama, "The cat sat", (one,)).receipts()
    assert receipt.agrees and receipt.expected == pytest.approx(2 * float(one.kept.norm()), rel=1e-4)
    assert f"{one.share:.0%} of the addition" in receipt.notes[0]


def test_its_random_control_shifts_as_far(tiny_llama: Model) -> None:
    one = ActivationAddition(direction(SITE, 1, width=tiny_llama.d_model), 2.0)
    for tested in (one, replace(one, within=manifold(tiny_llama, TEXTS, SITE, k=5))):
        random = control(None, tested, 3)
        assert isinstance(random, ActivationAddition) and random.within is tested.within
        assert random.alpha * random.unit_shift == pytest.approx(tested.alpha * tested.unit_shift, rel=1e-4)


def test_a_span_that_does_not_fit_is_refused(tiny_llama: Model) -> None:
    d = tiny_llama.d_model
    v = torch.zeros(d)
    v[0] = 1.0
    for wrong, says in (
        (span(torch.eye(d)[:2], Site(2)), "span of activations there"),
        (span(torch.eye(d + 1)[:2]), "span of activations there"),
        (span(torch.eye(d)[1:]), "Nothing of this addition"),
    ):
        with pytest.raises(ValueError, match=says):
            ActivationAddition(Direction(v, SITE), within=wrong).placements(tiny_llama)


def test_an_sae_that_rescales_its_input_is_refused(tiny_llama: Model, sae_of: Callable[..., Sae]) -> None:
    sae = sae_of("standard", normalize_activations="layer_norm")
    one = FeatureAddition(sae, {3: 2.0}, within=manifold(tiny_llama, TEXTS, sae.site, k=5))
    with pytest.raises(ValueError, match="rescales its input"):
        one.placements(tiny_llama)


def test_one_that_is_not_kept_is_what_it_was(tiny_llama: Model) -> None:
    """Checkpoints of earlier runs find it by its fingerprint."""
    one = ActivationAddition(direction(SITE, 1, width=tiny_llama.d_model), 2.0)
    assert "within" not in str(one)
    assert one.fingerprint != replace(one, within=manifold(tiny_llama, TEXTS, SITE, k=5)).fingerprint
