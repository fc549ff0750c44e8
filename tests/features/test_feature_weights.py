"""What the weights say of a feature: the tokens it writes, and the neurons near it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_indexes import TEXTS

from steering.features import FeatureIndex, promoted_tokens, token_effects
from steering.features.making.neurons import alignment
from steering.features.making.windows import read, windows
from steering.models.model import Model
from steering.saes.neurons import neurons_before
from steering.saes.sae import Sae
from steering.sites import Site


def test_the_logit_lens_is_the_slope_of_the_logits(lm: Model) -> None:
    """d logits / d eps of norm(h + eps v) @ W_U, for h orthogonal to v (and of mean 0), by finite differences."""
    torch.manual_seed(0)
    v = torch.randn(3, lm.d_model)
    effects = token_effects(lm, v)
    norm = lm.hf.get_submodule(lm.adapter.component_mapping["ln_final"].name)
    unembed = lm.hf.get_output_embeddings().weight.detach()
    for i in range(3):
        span = torch.stack([v[i], torch.ones(lm.d_model)])
        h = torch.randn(lm.d_model)
        h = h - torch.linalg.lstsq(span.T, h[:, None]).solution.T @ span
        h = 2 * h / h.square().mean().sqrt()  # rms 2, so the slope is half the lens
        with torch.no_grad():
            slope = (norm(h + 1e-2 * v[i]) - norm(h - 1e-2 * v[i])) @ unembed.T / 2e-2
        torch.testing.assert_close(2 * slope[0], effects[i], rtol=2e-2, atol=2e-2)


def test_promoted_and_suppressed_tokens_are_the_ends_of_the_lens(tiny_llama: Model) -> None:
    v = torch.randn(2, tiny_llama.d_model, generator=torch.Generator().manual_seed(1))
    gain, unembed = tiny_llama.hf.model.norm.weight, tiny_llama.hf.lm_head.weight
    logits = (v * gain) @ unembed.T
    for suppressed in (False, True):
        ids, values = promoted_tokens(tiny_llama, v, 4, suppressed=suppressed)
        wanted = logits.argsort(dim=-1, descending=not suppressed)[:, :4]
        assert ids.tolist() == wanted.tolist()
        torch.testing.assert_close(values, logits.gather(-1, ids), rtol=1e-3, atol=1e-3)


def test_an_index_repeats_the_lens_and_the_decoder(index: FeatureIndex, tiny_llama: Model, tiny_sae: Sae) -> None:
    ids, values = promoted_tokens(tiny_llama, tiny_sae.W_dec, 10)
    unit = torch.nn.functional.normalize(tiny_sae.W_dec, dim=-1)
    cosine = (unit @ unit.T).fill_diagonal_(-2)
    for i in (0, 40, 95):
        feature = index.feature(i)
        assert [t.token for t in feature.promoted] == ids[i].tolist()
        assert [t.text for t in feature.promoted] == tiny_llama.token_texts(ids[i].tolist())
        np.testing.assert_allclose([t.score for t in feature.promoted], values[i], rtol=2e-3)
        assert [n.index for n in feature.by_cosine] == cosine[i].topk(10).indices.tolist()
        assert all(-1 <= n.value <= 1 and n.index != i for n in feature.by_cosine)


def test_neurons_times_their_rows_are_what_the_mlp_writes(lm: Model) -> None:
    neurons = neurons_before(lm, Site(1, "resid_post"))
    assert neurons is not None and neurons.layer == 1
    with lm.lock, neurons.reading() as caught:
        found, _ = lm.activations([lm.tokens("The cat sat")], [Site(1, "mlp_out"), Site(1, "resid_post")])
    written, out = caught[0][0].float() @ neurons.rows, found[Site(1, "mlp_out")][0]
    out = out - (getattr(neurons.output, "bias", None) if getattr(neurons.output, "bias", None) is not None else 0)
    # Gemma-2 divides the sum by its length after it: the same direction, one factor per token.
    assert torch.nn.functional.cosine_similarity(written, out, dim=-1).min() > 0.9999
    assert not neurons.output._forward_pre_hooks


def test_alignment_of_a_neurons_own_row_is_one(tiny_llama: Model) -> None:
    neurons = neurons_before(tiny_llama, Site(2, "resid_pre"))
    assert neurons is not None and neurons.layer == 1
    assert neurons_before(tiny_llama, Site(0, "resid_pre")) is None
    np.testing.assert_allclose(alignment(neurons.rows[5:6] * 3, neurons)[0, 5], 1, rtol=1e-5)


def test_neurons_of_a_feature_are_its_nearest_and_their_contexts_real(
    index: FeatureIndex, tiny_llama: Model, tiny_sae: Sae
) -> None:
    neurons = neurons_before(tiny_llama, tiny_sae.site)
    assert neurons is not None
    cosine = alignment(tiny_sae.W_dec, neurons)
    rows = list(windows(tiny_llama, TEXTS, 24, True))
    hidden = torch.cat([read(tiny_llama, tiny_sae, [row], True, neurons).neurons[0] for row in rows])  # type: ignore
    for i in (3, 50):
        listed = index.feature(i).neurons
        assert [n.index for n in listed] == cosine[i].abs().topk(5).indices.tolist()
        for neuron in listed:
            assert neuron.cosine == pytest.approx(float(cosine[i, neuron.index]), abs=2e-3)
            assert abs(neuron.examples[0].value) == pytest.approx(float(hidden[:, neuron.index].abs().max()), rel=1e-3)
            assert i in [n.index for n in index.features_of_neuron(neuron.index)]
