"""A layer's neurons as a dictionary: exact where the MLP is read, and added where it writes."""

import pytest
import torch

from steering.engine.engine import Engine
from steering.interventions.features import FeatureAddition, FeatureClamp
from steering.saes.loading import load_sae
from steering.sites import Site

IDS = [5, 9, 14, 3, 8]


def test_what_they_are_and_write_is_what_the_mlp_adds(lm):
    sae = load_sae(lm, "neurons", "layer 1")
    fed, adds = Site(1, "mlp_in"), Site(1, "mlp_out")
    found, _ = lm.activations([IDS], [fed, adds])
    assert sae.writes == adds and sae.d_sae == len(sae.W_dec)
    with sae.sae.neurons.reading() as caught:
        lm.activations([IDS], [adds])
    torch.testing.assert_close(sae.encode(found[fed]), caught[0].relu(), rtol=1e-4, atol=1e-5)
    if not lm.post_norms:
        written = caught[0].float() @ sae.W_dec
        bias = getattr(sae.sae.neurons.output, "bias", None)
        torch.testing.assert_close(written + (0 if bias is None else bias), found[adds].float(), rtol=1e-3, atol=1e-4)


def test_one_is_added_to_and_not_clamped(tiny_llama):
    sae = load_sae(tiny_llama, "neurons", "1")
    with Engine(tiny_llama) as engine:
        plain, steered = engine.generate("The cat", [(), (FeatureAddition(sae, {3: 40.0}),)], max_new_tokens=4)
        assert all(receipt.agrees for receipt in steered.receipts) and plain.tokens != steered.tokens
        with pytest.raises(ValueError, match="transcoder"):
            engine.generate("The cat", [(FeatureClamp(sae, {3: 1.0}),)], max_new_tokens=2)


def test_a_layer_that_is_not_there_is_said(tiny_llama):
    for name in ("layer 99", "x", "-1"):
        with pytest.raises(ValueError, match="named by their layer"):
            load_sae(tiny_llama, "neurons", name)
