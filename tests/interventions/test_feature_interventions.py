"""Single SAE features: add, clamp, switch off. The SAE's error always stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from steered_rows import PROMPTS, apply, batch, decode
from torch import Tensor

from steering.engine.requests import Request
from steering.interventions import FeatureAblation, FeatureAddition, FeatureClamp
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

SITE = Site(1, "resid_post")


@pytest.fixture(scope="module", params=["standard", "jumprelu", "topk"])
def sae(request: pytest.FixtureRequest, family: str, sae_of: Callable[..., Sae]) -> Sae:
    return sae_of(request.param, family=family)


@pytest.fixture(scope="module")
def h(lm: Model) -> Tensor:
    found, mask = lm.activations([lm.tokens(prompt) for prompt in PROMPTS], [SITE])
    return found[SITE][mask]


def test_an_addition_by_hand(lm: Model, sae: Sae, h: Tensor) -> None:
    """h' = h + 2 W_dec[3] - 5 W_dec[8], whatever the features are."""
    effect = apply(lm, FeatureAddition(sae, {8: -5.0, 3: 2.0}), h)
    torch.testing.assert_close(effect.h, h + 2 * sae.rows[3] - 5 * sae.rows[8])


def test_a_clamp_by_hand(lm: Model, sae: Sae, h: Tensor) -> None:
    """h' = h + (6 - f_3) W_dec[3] + (0 - f_8) W_dec[8]."""
    f = sae.encode(h)
    expected = h + (6 - f[:, 3:4]) * sae.rows[3] - f[:, 8:9] * sae.rows[8]
    assert (f[:, 3] > 0).any() and (f[:, 3] == 0).any()
    torch.testing.assert_close(apply(lm, FeatureClamp(sae, {3: 6.0, 8: 0.0}), h).h, expected, atol=1e-4, rtol=1e-4)


def test_an_ablation_by_hand(lm: Model, sae: Sae, h: Tensor) -> None:
    """h' = h - f_3 W_dec[3] - f_8 W_dec[8]: decode(f with the two at zero), plus the error."""
    f = sae.encode(h)
    off = f.clone()
    off[:, [3, 8]] = 0
    expected = sae.decode(off) + (h - sae.decode(f))
    torch.testing.assert_close(apply(lm, FeatureAblation(sae, [8, 3]), h).h, expected, atol=1e-4, rtol=1e-4)


def test_clamping_to_what_it_is_changes_nothing(lm: Model, sae: Sae, h: Tensor) -> None:
    f = sae.encode(h)
    token = int(f[:, 3].argmax())
    value = float(sae.features([3]).encode(h)[token, 0])
    assert value > 0
    effect = apply(lm, FeatureClamp(sae, {3: value}), h)
    torch.testing.assert_close(effect.h[token], h[token], atol=1e-5, rtol=0)
    assert float(effect.expected[token]) < 1e-5


def test_a_clamp_at_zero_is_an_ablation(lm: Model, sae: Sae, h: Tensor) -> None:
    clamp, ablation = FeatureClamp(sae, {3: 0.0, 40: 0.0}), FeatureAblation(sae, [3, 40])
    assert torch.equal(apply(lm, clamp, h).h, apply(lm, ablation, h).h)


def test_features_that_are_off_have_nothing_to_ablate(lm: Model, sae: Sae, h: Tensor) -> None:
    off = sae.encode(h)[:, 3] == 0
    assert off.any() and torch.equal(apply(lm, FeatureAblation(sae, [3]), h).h[off], h[off])


def test_the_order_and_repetition_of_features_is_irrelevant(lm: Model, sae: Sae, h: Tensor) -> None:
    once = apply(lm, FeatureAblation(sae, [3, 8]), h).h
    assert torch.equal(apply(lm, FeatureAblation(sae, (8, 3)), h).h, once)
    torch.testing.assert_close(apply(lm, FeatureAblation(sae, [8, 3, 8, 8]), h).h, once)


def test_rows_with_different_features_share_one_encoding(lm: Model, sae: Sae) -> None:
    """Stacked over the union of their features, each row is what it is alone."""
    variants = [
        (FeatureAddition(sae, {3: 8.0}),),
        (FeatureClamp(sae, {5: 9.0, 90: 3.0}),),
        (FeatureAblation(sae, list(range(0, 96, 2))),),
        (FeatureClamp(sae, {5: 0.0}), FeatureAddition(sae, {7: 5.0})),
    ]
    options = {"max_new_tokens": 6, "ignore_eos": True}
    rows = batch(lm, PROMPTS[:4], variants, **options)
    for row, prompt, variant in zip(rows, PROMPTS, variants, strict=False):
        alone = decode(lm, prompt, variant, **options)
        assert row.generated == alone.generated
        for one, other in zip(row.receipts(), alone.receipts(), strict=True):
            assert one.measured == pytest.approx(other.measured, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda sae: FeatureClamp(sae, {}), "names at least one feature; got none"),
        (lambda sae: FeatureAblation(sae, []), "names at least one feature; got none"),
        (lambda sae: FeatureClamp(sae, {96: 1.0}), "run from 0 to 95; got 96"),
        (lambda sae: FeatureAddition(sae, {-1: 1.0}), "run from 0 to 95; got -1"),
        (lambda sae: FeatureAddition(sae, {1.5: 1.0}), "run from 0 to 95; got 1.5"),
        (lambda sae: FeatureClamp(sae, {3: float("inf")}), r"values\[3\] is a finite number; got inf"),
        (lambda sae: FeatureAddition(sae, {3: float("nan")}), r"amounts\[3\] is a finite number; got nan"),
    ],
)
def test_features_that_are_none(make: Callable, message: str, sae_of: Callable[..., Sae]) -> None:
    with pytest.raises(ValueError, match=message):
        make(sae_of("standard"))


def test_an_sae_of_another_width_is_told(sae_of: Callable[..., Sae], tiny_llama: Model) -> None:
    from sae_lens import StandardSAE, StandardSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    about = SAEMetadata(model_name="tiny", hook_name=str(SITE))
    wide = Sae("wide", SITE, StandardSAE(StandardSAEConfig(d_in=48, d_sae=64, metadata=about)))
    with pytest.raises(ValueError, match="wide reads vectors of width 48; .* has width 32"):
        Request("No", (FeatureClamp(wide, {3: 1.0}),)).row(tiny_llama)
