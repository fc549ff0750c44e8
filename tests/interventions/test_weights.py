"""Orthogonalized weights: equal to ablation at run time where that can be, never writing the direction anywhere."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from steered_rows import PROMPTS, TEXT, decode, direction, logits_of

from steering.interventions import DirectionalAblation
from steering.interventions.ablation import residual_sites
from steering.interventions.weights import orthogonalize_weights
from steering.models.loading import load_model
from steering.models.model import Model
from steering.sites import Site

PLAIN = ["gpt2", "llama", "qwen2", "qwen3", "neox", "neox_sequential"]  # no norm after the writers
POST_NORM = ["gemma2", "gemma3"]


def doubled(lm: Model) -> Model:
    """A copy in float64."""
    return Model(lm.name, copy.deepcopy(lm.hf).double(), lm.tokenizer, lm.revision)


@torch.no_grad()
def ablated_logits(lm: Model, r: torch.Tensor, tokens: list[int]) -> torch.Tensor:
    """Logits with r taken out at every residual site in the model's own precision, by plain hooks."""
    hooks = {site: (lambda h: h - (h @ r)[..., None] * r) for site in residual_sites(lm)}
    return lm.forward(torch.tensor([tokens]), hooks=hooks)


@pytest.mark.parametrize("family", PLAIN)
def test_orthogonalized_weights_are_ablation_everywhere(family: str, model: Callable[[str], Model]) -> None:
    """In float64 to 1e-10, where nothing but the algebra is left."""
    lm, v = doubled(model(family)), direction(norm=3.0)
    edited = orthogonalize_weights(lm, v)
    assert edited.equals_ablation
    r = v.vector.double() / v.vector.double().norm()
    tokens = lm.tokens(PROMPTS[2])
    with torch.no_grad():
        found = edited.model.forward(torch.tensor([tokens]))
    assert (found - ablated_logits(lm, r, tokens)).abs().max() < 1e-10
    assert (found - lm.forward(torch.tensor([tokens]))).abs().max() > 0.1


@pytest.mark.parametrize("family", PLAIN)
def test_text_of_orthogonalized_weights_is_text_under_ablation(family: str, model: Callable[[str], Model]) -> None:
    """Float32 and through the decoder; weights know no BOS, so it is steered too."""
    lm, v = model(family), direction()
    edited = orthogonalize_weights(lm, v).model
    one = DirectionalAblation(v, everywhere=True)
    torch.testing.assert_close(
        logits_of(edited, TEXT), logits_of(lm, TEXT, (one,), steer_bos=True), atol=1e-4, rtol=1e-4
    )
    options = {"max_new_tokens": 8, "ignore_eos": True}
    ours = decode(lm, PROMPTS[1], (one,), steer_bos=True, **options).generated
    assert decode(edited, PROMPTS[1], **options).generated == ours != decode(lm, PROMPTS[1], **options).generated


@pytest.mark.parametrize("family", [*PLAIN, *POST_NORM])
def test_the_direction_is_never_written(family: str, model: Callable[[str], Model]) -> None:
    """Also where a norm with gains follows each writer: h . r = 0 at every site of every layer."""
    lm, v = doubled(model(family)), direction()
    edited = orthogonalize_weights(lm, v)
    r = v.vector.double() / v.vector.double().norm()
    sites = residual_sites(lm)
    zero = 1e-5 if family in POST_NORM else 1e-10  # Gemma's norms compute in float32 whatever they are given
    for which, low, high in ((edited.model, 0.0, zero), (lm, 0.1, float("inf"))):
        found, _ = which.activations([lm.tokens(PROMPTS[2])], sites)
        largest = max(float((h @ r).abs().max()) for h in found.values())
        assert low <= largest < high


@pytest.mark.parametrize("family", POST_NORM)
def test_post_norm_families_are_told_apart(family: str, model: Callable[[str], Model]) -> None:
    """The norm's denominator has changed, so the logits are not those of ablation, and the note says so."""
    lm, v = doubled(model(family)), direction()
    edited = orthogonalize_weights(lm, v)
    assert not edited.equals_ablation
    assert "The direction is never written" in edited.note and "differ from ablation" in edited.note
    tokens = lm.tokens(PROMPTS[2])
    difference = edited.model.forward(torch.tensor([tokens])) - ablated_logits(lm, v.unit().vector.double(), tokens)
    assert difference.abs().max() > 1e-3


def test_the_model_that_is_loaded_stays_as_it_is(lm: Model) -> None:
    before, state = logits_of(lm, TEXT), {k: t.clone() for k, t in lm.hf.state_dict().items()}
    edited = orthogonalize_weights(lm, direction()).model
    assert all(torch.equal(t, state[k]) for k, t in lm.hf.state_dict().items())
    assert torch.equal(logits_of(lm, TEXT), before)
    assert edited.fingerprint != lm.fingerprint


def test_tied_embeddings_are_untied_first(model: Callable[[str], Model]) -> None:
    """Projecting the shared matrix would change the unembedding, and with it every logit."""
    for family in ("gpt2", "qwen2", "gemma2"):
        lm = model(family)
        hf = orthogonalize_weights(lm, direction()).model.hf
        assert lm.hf.get_output_embeddings().weight is lm.hf.get_input_embeddings().weight
        assert torch.equal(hf.get_output_embeddings().weight, lm.hf.get_output_embeddings().weight)
        assert not torch.equal(hf.get_input_embeddings().weight, lm.hf.get_input_embeddings().weight)


def test_doing_it_twice_is_doing_it_once(lm: Model) -> None:
    once = orthogonalize_weights(lm, direction()).model
    twice = orthogonalize_weights(once, direction() * -7.0).model
    torch.testing.assert_close(logits_of(twice, TEXT), logits_of(once, TEXT), atol=1e-4, rtol=1e-4)


def test_an_edited_copy_can_be_saved_and_loaded(lm: Model, tmp_path) -> None:
    edited = orthogonalize_weights(lm, direction()).model
    edited.hf.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    again = load_model(tmp_path, device="cpu", threads=1)
    torch.testing.assert_close(logits_of(again, TEXT), logits_of(edited, TEXT))


def test_the_direction_must_fit(tiny_llama: Model) -> None:
    with pytest.raises(ValueError, match="16"):
        orthogonalize_weights(tiny_llama, direction(width=16))
    with pytest.raises(ValueError, match="got layer 9"):
        orthogonalize_weights(tiny_llama, direction(Site(9)))
