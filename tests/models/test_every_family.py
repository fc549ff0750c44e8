"""Every architecture that TransformerLens has an adapter for: its streams are what they are called, or refused."""

from __future__ import annotations

import every_family as families
import pytest
import torch
from tiny_models import tokenizer

from steering.directions.direction import Direction
from steering.engine.decoding import Decoder
from steering.engine.rows import Row
from steering.interventions.addition import ActivationAddition
from steering.models import lens
from steering.models.loading import wrap_model
from steering.models.model import Model
from steering.sites import STREAMS, Site

REFUSED = {
    "DeepseekV4ForCausalLM": "do not read and write one residual stream",
    "HrmTextForCausalLM": "TransformerLens has an adapter for",
    "RecurrentGemmaForCausalLM": "unequal length in one batch",
    "RwkvForCausalLM": "unequal length in one batch",
}
# Where only the stream between blocks is what its name says: norms after each sum, state-space mixers alone, or more
# than one part that writes at once.
BLOCKS_ONLY = {
    "BertLMHeadModel", "FalconH1ForCausalLM", "FalconMambaForCausalLM", "Gemma4ForCausalLM",
    "GraniteMoeHybridForCausalLM", "Mamba2ForCausalLM", "MambaForCausalLM", "NemotronHForCausalLM",
    "OlmoHybridForCausalLM", "OpenAIGPTLMHeadModel", "Zamba2ForCausalLM",
}  # fmt: skip
PARALLEL = {
    "CodeGenForCausalLM", "CohereForCausalLM", "Cohere2ForCausalLM", "FalconForCausalLM", "GPTJForCausalLM",
    "PhiForCausalLM", "GPTNeoXForCausalLM",
}  # fmt: skip
WORDS = tokenizer("gpt2")
STEERED = [name for name in families.ARCHITECTURES if name not in REFUSED]


@pytest.fixture(scope="module")
def opened() -> dict[str, Model]:
    """One model at a time: the tests of a family follow each other."""
    return {}


def model_of(name: str, opened: dict[str, Model]) -> Model:
    if name not in opened:
        opened.clear()
        opened[name] = wrap_model(families.build(name), WORDS, name)
    return opened[name]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_family_that_cannot_be_steered_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[name]):
        wrap_model(families.build(name), WORDS, name)


@pytest.mark.parametrize("name", STEERED)
@torch.no_grad()
def test_what_a_family_lists_is_what_the_names_say(name: str, opened: dict[str, Model]) -> None:
    """The sums hold, by a pass that reads each stream alone; the others are refused by name."""
    lm = model_of(name, opened)
    left_out = STREAMS[1:4] if name in BLOCKS_ONLY else ("resid_mid",) if name in PARALLEL else ()
    assert lm.streams == tuple(stream for stream in STREAMS if stream not in left_out)
    for stream in left_out:
        with pytest.raises(ValueError, match=f"has no {stream}"):
            lm.check_site(Site(1, stream))
    tokens = list(range(3, 14))
    for layer in range(lm.n_layers):
        h = {stream: lm.activations([tokens], [Site(layer, stream)])[0][Site(layer, stream)] for stream in lm.streams}
        near = {"atol": 1e-4 * float(h["resid_post"].abs().max()), "rtol": 1e-4}
        if "resid_mid" in h:
            torch.testing.assert_close(h["resid_pre"] + h["attn_out"], h["resid_mid"], **near)
            torch.testing.assert_close(h["resid_mid"] + h["mlp_out"], h["resid_post"], **near)
        elif "attn_out" in h:
            torch.testing.assert_close(h["resid_pre"] + h["attn_out"] + h["mlp_out"], h["resid_post"], **near)
        if layer + 1 < lm.n_layers:
            after = Site(layer + 1, "resid_pre")
            assert torch.equal(lm.activations([tokens], [after])[0][after], h["resid_post"])


@pytest.mark.parametrize("name", STEERED)
def test_a_family_is_steered_at_each_stream_with_the_cache_as_without(name: str, opened: dict[str, Model]) -> None:
    lm = model_of(name, opened)
    v = torch.randn(lm.d_model, generator=torch.Generator().manual_seed(1))
    variants = [(), *((ActivationAddition(Direction(v, Site(1, stream)), 3.0),) for stream in lm.streams)]
    prompts = [(5, 6, 7), (8, 9, 10, 11, 12)]
    asked = [(prompt, variant) for variant in variants for prompt in prompts]
    rows = [Row(lm, prompt, variant, max_new_tokens=3, ignore_eos=True) for prompt, variant in asked]
    alone = [Row(lm, prompt, variant, max_new_tokens=3, ignore_eos=True, cached=False) for prompt, variant in asked]
    for batch in (rows, alone):
        decoder = Decoder(lm)
        decoder.add(batch)
        while len(decoder):
            decoder.step()
    for row, one in zip(rows, alone, strict=True):
        assert row.logprobs == pytest.approx(one.logprobs, abs=2e-3)
        assert all(receipt.agrees for receipt in row.receipts())
    assert all(row.logprobs != rows[k % 2].logprobs for k, row in enumerate(rows) if k >= 2)


@pytest.mark.parametrize("name", STEERED)
@torch.no_grad()
def test_the_lens_at_the_last_layer_is_the_model_or_refuses(name: str, opened: dict[str, Model]) -> None:
    lm, tokens = model_of(name, opened), list(range(3, 14))
    last = Site(lm.n_layers - 1)
    h = lm.activations([tokens], [last])[0][last]
    own = lm.hf(input_ids=torch.tensor([tokens])).logits
    try:
        found = lens.to_logits(lm, h)
    except ValueError as error:
        assert "logit" in str(error) and name in NO_LENS
        return
    assert name not in NO_LENS
    torch.testing.assert_close(found, own, atol=1e-3 * float(own.abs().max()), rtol=1e-3)


NO_LENS = {"BertLMHeadModel", "ModernBertDecoderForCausalLM", "OpenAIGPTLMHeadModel"}
