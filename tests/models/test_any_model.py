"""The whole path on every family: load, direction, each intervention, engine; and half precision within tolerances."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import steered_rows as steered
import tiny_models as tiny
import torch
from steered_rows import TEXT, decode, direction, logits_of

import steering.interventions as ways
from steering.directions.contrasts import mean_difference
from steering.directions.pairs import PairSet
from steering.engine.engine import Engine
from steering.models.loading import load_model
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

FAMILIES = ("gpt2", "neox", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3")


@pytest.fixture(scope="module", params=FAMILIES)
def lm(request: pytest.FixtureRequest, model: Callable[[str], Model]) -> Model:
    return model(request.param)


def test_every_family_is_there() -> None:
    assert set(FAMILIES) <= set(tiny.FAMILIES)


def test_from_pairs_to_a_steered_completion(lm: Model) -> None:
    pairs = PairSet.from_lists(["I love you and", "She said yes"], ["I hate you and", "he said no"])
    v = mean_difference(lm, pairs, Site(1))
    assert v.vector.shape == (lm.d_model,) and v.check(lm)
    with Engine(lm) as engine:
        base, one, control = engine.generate(
            TEXT,
            [(), (ways.ActivationAddition(v, alpha=6.0),), (ways.ActivationAddition(v, alpha=0.0),)],
            max_new_tokens=6, temperature=0.0, seed=0, record=[v], ignore_eos=True,
        )  # fmt: skip
    assert control.tokens == base.tokens and one.logprobs != base.logprobs
    (receipt,) = one.receipts
    assert receipt.measured == pytest.approx(6.0 * v.norm, rel=1e-3)


WITH_AND_WITHOUT_CACHE = ("addition", "ablation everywhere", "regulator of features", "feature clamp", "angular")


def test_each_intervention(lm: Model, sae_of: Callable[..., Sae]) -> None:
    """Each changes what is predicted, leaves nothing behind, and some are tried with a cache and without."""
    sae = sae_of("standard", family=lm.name.rsplit("tiny-", 1)[1])
    plain = logits_of(lm, TEXT)
    methods = parallel_methods(lm, sae) if lm.parallel else steered.every_method(lm, sae)
    for name, variant in methods.items():
        # What asks a later layer about the prompt acts from the first new token on.
        if name != "conditional on a later layer":
            assert not torch.equal(logits_of(lm, TEXT, variant), plain), name
        if name in WITH_AND_WITHOUT_CACHE:
            cached = decode(lm, TEXT, variant, max_new_tokens=3, ignore_eos=True)
            whole = decode(lm, TEXT, variant, max_new_tokens=3, ignore_eos=True, cached=False)
            assert cached.generated == whole.generated, name
    assert torch.equal(logits_of(lm, TEXT), plain) and steered.hooks_on(lm) == 0


def parallel_methods(lm: Model, sae: Sae) -> dict[str, steered.Variant]:
    """GPT-NeoX has no stream between attention and MLP."""
    v, f = direction(), direction(sae=sae, seed=4)
    return {
        "addition": (ways.ActivationAddition(v, alpha=8.0),),
        "addition to attention": (ways.ActivationAddition(direction(Site(2, "attn_out")), alpha=8.0),),
        "ablation everywhere": (ways.DirectionalAblation(v, everywhere=True),),
        "regulator of features": (ways.ThresholdRegulator(f, tau=0.3, lambda_=3.0),),
        "feature clamp": (ways.FeatureClamp(sae, {5: 8.0, 40: 0.0}),),
        "angular": (ways.AngularSteering(v, direction(seed=1), degrees=120.0),),
    }


# Half precision -----------------------------------------------------------------------------------------------------

# bfloat16 has 8 bits of mantissa: a number is off by up to 1/256 of its size. What is stated is relative to the size of
# what is compared (the largest entry), and holds on the CPU; CUDA needs a machine with one.
TOLERANCE = {torch.bfloat16: 2**-7, torch.float16: 2**-10}


@pytest.fixture(scope="module", params=[torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def half(request: pytest.FixtureRequest, checkpoint) -> Model:
    return load_model(checkpoint("llama"), device="cpu", dtype=request.param, threads=1)


def near(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype, times: float = 1.0) -> None:
    assert float((found.float() - expected.float()).abs().max()) <= times * TOLERANCE[dtype] * float(
        expected.float().abs().max()
    )


def steered_stream(lm: Model, one: ways.Intervention, site: Site) -> tuple[torch.Tensor, torch.Tensor]:
    """What is at a site before and after an intervention there, in the model's own dtype."""
    (placement,) = one.placements(lm)
    seen: list[torch.Tensor] = []

    def hook(h: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(h.shape[1])[None]
        new = placement.edit(h.float(), positions).h.to(h.dtype)
        seen.extend([h.clone(), new])
        return new

    lm.forward(torch.tensor([lm.tokens(TEXT)]), hooks={site: hook})
    return seen[0][0], seen[1][0]


def test_laws_in_half_precision(half: Model, tiny_llama: Model, sae_of: Callable[..., Sae]) -> None:
    dtype, v, sae = half.dtype, direction(), sae_of("standard")
    unit = v.vector / v.norm
    # What is delivered is the float32 result, cast once.
    before, after = steered_stream(half, ways.ActivationAddition(v, alpha=8.0), v.site)
    assert after.dtype == dtype
    assert torch.equal(after, (before.float() + 8.0 * v.vector).to(dtype))
    # Ablated: what is left along the direction is rounding of the stream.
    before, after = steered_stream(half, ways.DirectionalAblation(v), v.site)
    assert float((after.float() @ unit).abs().max()) <= TOLERANCE[dtype] * float(before.float().norm(dim=-1).max())
    # Regulated: never above the threshold by more than that.
    before, after = steered_stream(half, ways.ThresholdRegulator(v, tau=0.5, lambda_=1.0), v.site)
    assert float((before.float() @ unit).max()) > 0.6
    assert float((after.float() @ unit).max()) <= 0.5 + TOLERANCE[dtype] * float(before.float().norm(dim=-1).max())
    # A feature clamped to what it is.
    h = half.activations([half.tokens(TEXT)], [sae.site])[0][sae.site][0]
    f = sae.encode(h)
    i = int(f.sum(0).argmax())
    effect = steered.apply(half, ways.FeatureClamp(sae, {i: float(f[3, i])}), h[3:4].float())
    near(effect.h.to(dtype), h[3:4], dtype)
    # And the model as a whole is the float32 one within what its own rounding does to it.
    for variant in ((), (ways.ActivationAddition(v, alpha=4.0),)):
        near(logits_of(half, TEXT, variant), logits_of(tiny_llama, TEXT, variant), dtype, times=16)


def test_zero_strength_stays_bit_identical(half: Model) -> None:
    plain = logits_of(half, TEXT)
    for one in (ways.ActivationAddition(direction(), alpha=0.0), ways.ThresholdRegulator(direction(), 0.0, 0.0)):
        assert torch.equal(logits_of(half, TEXT, (one,)), plain)


# Text ---------------------------------------------------------------------------------------------------------------


def test_bytes_of_one_character_are_shown_right(lm: Model) -> None:
    """A character of several tokens appears once it is whole, and never as a replacement sign in a finished text."""
    for text in ("naïve café", "日本語です", "👍🏽 yes", "Ωμέγα"):
        assert lm.text(lm.tokens(text)) == text
    ids = lm.tokenizer.encode("日", add_special_tokens=False)
    assert lm.token_texts(ids) == ["\\xe6", "\\x97", "\\xa5"]
    assert "".join(lm.token_texts(lm.tokenizer.encode("The cat", add_special_tokens=False))) == "The cat"


def test_a_stop_token_ends_a_text(lm: Model) -> None:
    free = decode(lm, TEXT, max_new_tokens=8, ignore_eos=True)
    assert lm.eos_tokens
    assert free.finish_reason == "length" and len(free.generated) == 8


ALTERNATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role not in ('user', 'assistant') %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "<start>{{ m.role }}\n{{ m.content }}<end>\n{% endfor %}{% if add_generation_prompt %}<start>model\n{% endif %}"
)


def test_a_system_prompt_where_there_is_no_system_role(tiny_gemma2: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gemma and Mistral refuse the role; its text then stands in front of what the user says."""
    system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it so?"}
    answer = {"role": "assistant", "content": "Yes."}
    kept = tiny_gemma2.text(tiny_gemma2.tokens([system, user]), special=True)
    assert "<start>system\nBe brief.<end>" in kept  # a template that takes it gets it
    monkeypatch.setattr(tiny_gemma2.tokenizer, "chat_template", ALTERNATE)
    folded = tiny_gemma2.text(tiny_gemma2.tokens([system, user]), special=True)
    assert folded.endswith("<start>user\nBe brief.\n\nIs it so?<end>\n<start>model\n")
    assert tiny_gemma2.tokens([system]) == tiny_gemma2.tokens([{"role": "user", "content": "Be brief."}])
    with pytest.raises(ValueError, match="refuses these messages .Roles must alternate.; their roles are user, user"):
        tiny_gemma2.tokens([user, user])
    assert tiny_gemma2.tokens([system, user, answer, user])


def test_the_end_of_a_turn_ends_a_text(tiny_gemma2: Model, tiny_llama: Model, monkeypatch) -> None:
    end = tiny_gemma2.tokenizer.convert_tokens_to_ids("<end>")
    monkeypatch.setattr("steering.models.model.END_OF_TURN", ("<end>", "<|im_end|>"))
    for lm, expected in ((tiny_gemma2, True), (tiny_llama, False)):  # the second has no chat template
        vars(lm).pop("eos_tokens", None)
        assert (end in lm.eos_tokens) == expected and lm.tokenizer.eos_token_id in lm.eos_tokens
        vars(lm).pop("eos_tokens")
