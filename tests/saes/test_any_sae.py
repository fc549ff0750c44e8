"""Every architecture that SAELens can load, at every place: read, edited where it can be, refused where it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import steered_rows as steered
import tiny_models as tiny
import torch
from steered_rows import TEXT, decode, logits_of

import steering.interventions as ways
from steering.directions.direction import Direction
from steering.models.model import Model
from steering.saes.loading import load_sae
from steering.saes.sae import Sae
from steering.sites import Site

EDITABLE = (*tiny.ARCHITECTURES, *tiny.FURTHER)
STREAMS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "attn_z", "mlp_in")
LAYER = {"layer": 1}


def activation(lm: Model, sae: Sae) -> torch.Tensor:
    return lm.activations([lm.tokens(TEXT)], [sae.site])[0][sae.site][0]


@pytest.fixture(params=EDITABLE)
def sae(request: pytest.FixtureRequest, sae_of: Callable[..., Sae]) -> Sae:
    return sae_of(request.param)


# The error stays ----------------------------------------------------------------------------------------------------


def test_clamping_to_what_a_feature_is_changes_nothing(sae: Sae, tiny_llama: Model) -> None:
    h = activation(tiny_llama, sae)
    f = sae.encode(h)
    fired = 0
    for t in range(0, len(h), 3):
        strongest = f[t].abs().topk(3).indices.tolist()
        fired += int((f[t, strongest] != 0).sum())
        clamp = ways.FeatureClamp(sae, {i: float(f[t, i]) for i in [*strongest, 5]})
        effect = steered.apply(tiny_llama, clamp, h[t : t + 1])
        torch.testing.assert_close(effect.h, h[t : t + 1], atol=2e-5, rtol=1e-5)
    assert fired > 10  # else nothing was tested


def test_an_edit_writes_its_row_and_nothing_else(sae: Sae, tiny_llama: Model) -> None:
    h = activation(tiny_llama, sae)
    f = sae.encode(h)
    i = int(f.abs().sum(0).argmax())
    added = steered.apply(tiny_llama, ways.FeatureAddition(sae, {i: 4.0}), h).h
    torch.testing.assert_close(added - h, (4.0 * sae.rows[i]).expand_as(h), atol=1e-5, rtol=1e-4)
    clamped = steered.apply(tiny_llama, ways.FeatureClamp(sae, {i: 4.0}), h).h
    torch.testing.assert_close(clamped - h, (4.0 - f[:, i : i + 1]) * sae.rows[i], atol=1e-4, rtol=1e-4)
    off = steered.apply(tiny_llama, ways.FeatureAblation(sae, [i]), h).h
    torch.testing.assert_close(off - h, -f[:, i : i + 1] * sae.rows[i], atol=1e-4, rtol=1e-4)
    # The reconstruction is another thing: it drops the error.
    dropped = steered.apply(tiny_llama, ways.SaeReconstruction(sae), h).h
    torch.testing.assert_close(dropped, sae.reconstruct(h), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(dropped, h, atol=1e-2)


def test_through_the_whole_model(sae: Sae, tiny_llama: Model) -> None:
    base = decode(tiny_llama, TEXT, max_new_tokens=4, ignore_eos=True)
    i = int(sae.encode(activation(tiny_llama, sae))[1:].float().sum(0).argmax())  # without BOS, which is not steered
    v = torch.zeros(sae.d_sae)
    v[i] = 1.0
    direction = Direction(v, sae.site, sae=sae, name="f")
    variants = {
        "clamp": ways.FeatureClamp(sae, {i: 12.0}),
        "regulator": ways.ThresholdRegulator(direction, tau=0.0, lambda_=6.0),
        "ablation": ways.SaeAblation(direction),
    }
    for name, one in variants.items():
        assert not torch.equal(logits_of(tiny_llama, TEXT, (one,)), logits_of(tiny_llama, TEXT)), name
        row = decode(tiny_llama, TEXT, (one,), max_new_tokens=4, ignore_eos=True, record=(direction,))
        whole = decode(tiny_llama, TEXT, (one,), max_new_tokens=4, ignore_eos=True, cached=False)
        assert row.generated == whole.generated, name
        assert row.logprobs != base.logprobs


# Places -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_at_every_place(stream: str, family: str, model: Callable[[str], Model], sae_of: Callable[..., Sae]) -> None:
    lm = model(family)
    sae = sae_of("standard", family=family, stream=stream, **LAYER)
    assert sae.site == Site(1, stream) and sae.d_model == lm.width(sae.site)
    h = activation(lm, sae)
    f = sae.encode(h)
    i = int(f.sum(0).argmax())
    for t in (0, 4, 9):
        effect = steered.apply(lm, ways.FeatureClamp(sae, {i: float(f[t, i])}), h[t : t + 1])
        torch.testing.assert_close(effect.h, h[t : t + 1], atol=2e-5, rtol=1e-5)
    logits = logits_of(lm, TEXT, (ways.FeatureAddition(sae, {i: 20.0}),))
    assert not torch.allclose(logits, logits_of(lm, TEXT), atol=1e-2)
    assert sae.written.shape == (sae.d_sae, lm.d_model)


@torch.no_grad()
def test_heads_write_through_the_mixing_matrix(tiny_gpt2: Model, sae_of: Callable[..., Sae]) -> None:
    """Adding a feature to the heads' outputs moves what attention writes by `written`."""
    sae, out = sae_of("standard", family="gpt2", stream="attn_z", layer=1), Site(1, "attn_out")
    seen: list[torch.Tensor] = []
    tokens = torch.tensor([tiny_gpt2.tokens(TEXT)])
    for hooks in ({}, {sae.site: lambda h: h + 2.0 * sae.rows[3]}):
        tiny_gpt2.forward(tokens, hooks={**hooks, out: lambda h: seen.append(h.clone())})
    torch.testing.assert_close(seen[1] - seen[0], (2.0 * sae.written[3]).expand_as(seen[0]), atol=1e-5, rtol=1e-4)


# Transcoders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", tiny.TRANSCODERS)
def test_a_transcoder_is_read_and_added_to(architecture: str, tiny_llama: Model, sae_of: Callable[..., Sae]) -> None:
    sae = sae_of(architecture, stream="mlp_in", layer=1)
    assert sae.is_transcoder and (sae.site, sae.writes) == (Site(1, "mlp_in"), Site(1, "mlp_out"))
    h = activation(tiny_llama, sae)
    f = sae.encode(h)
    pre = h @ sae.sae.W_enc + sae.sae.b_enc
    expected = pre.relu() * (pre > sae.sae.threshold) if "jumprelu" in architecture else pre.relu()
    torch.testing.assert_close(f, expected)
    assert 0.1 < (f > 0).float().mean() < 0.3
    part = sae.features([7, 3])
    torch.testing.assert_close(part.encode(h), f[:, [7, 3]], atol=1e-5, rtol=1e-5)
    assert part.sliced
    # Adding is exact: at the place where it writes, by its rows.
    (placement,) = ways.FeatureAddition(sae, {3: 2.0, 7: -1.0}).placements(tiny_llama)
    assert placement.site == sae.writes
    effect = placement.edit(h[None] * 0, torch.arange(len(h))[None])
    torch.testing.assert_close(effect.h[0], (2 * sae.rows[3] - sae.rows[7]).expand(len(h), -1))
    # What would need to know its features where it writes is refused, not done at the wrong place.
    v = torch.zeros(sae.d_sae)
    v[3] = 1.0
    direction = Direction(v, sae.site, sae=sae)
    for one in (
        ways.FeatureClamp(sae, {3: 1.0}),
        ways.FeatureAblation(sae, [3]),
        ways.SaeReconstruction(sae),
        ways.ThresholdRegulator(direction, 1.0, 1.0),
        ways.SaeAblation(direction),
        ways.ActivationAddition(direction),
        ways.DirectionalAblation(direction),
    ):
        with pytest.raises(
            ValueError, match="transcoder: it reads blocks.1.mlp.hook_in and writes blocks.1.hook_mlp_out"
        ):
            one.placements(tiny_llama)
    # Its features can be watched.
    row = decode(tiny_llama, TEXT, (), max_new_tokens=2, record=(direction,))
    assert len(row.traces) == 1


def test_a_transcoder_of_the_normalized_stream(tiny_llama: Model, sae_folder, tmp_path: Path) -> None:
    """Gemma Scope's: what the MLP gets, but before the norm's gain."""
    folder = tmp_path / "sae"
    shutil.copytree(sae_folder("jumprelu_transcoder", stream="mlp_in", layer=1), folder)
    edit(folder, hook_name="blocks.1.ln2.hook_normalized", hook_name_out="blocks.1.hook_mlp_out")
    sae = load_sae(tiny_llama, folder)
    assert (sae.site, sae.writes) == (Site(1, "resid_mid"), Site(1, "mlp_out"))
    x = tiny_llama.activations([tiny_llama.tokens(TEXT)], [sae.site])[0][sae.site][0]
    normed = x / (x.square().mean(-1, keepdim=True) + tiny_llama.hf.config.rms_norm_eps).sqrt()
    torch.testing.assert_close(sae.encode(x), sae.sae.encode(normed), atol=1e-5, rtol=1e-5)


# What differs -------------------------------------------------------------------------------------------------------


def edit(folder: Path, cfg: dict | None = None, **metadata: object) -> None:
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"].update(metadata)
    config.update(cfg or {})
    (folder / "cfg.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("family", "metadata", "cfg", "warning"),
    [
        ("llama", {}, {}, None),
        ("gpt2", {}, {}, "does not say whether its model's stream had its mean"),
        ("gpt2", {"model_from_pretrained_kwargs": {"center_writing_weights": True}}, {}, None),
        ("gpt2", {"model_from_pretrained_kwargs": {"center_writing_weights": False}}, {}, None),
        ("llama", {"prepend_bos": False}, {}, "trained without BOS; this model's tokenizer puts one"),
        (
            "qwen3",
            {"prepend_bos": True},
            {},
            "a BOS token in front of every text; this model's tokenizer puts none",
        ),
        ("llama", {"context_size": 64}, {}, "texts of up to 64 tokens"),
        ("llama", {"context_size": 4096}, {}, None),
        ("llama", {}, {"normalize_activations": "expected_average_only_in"}, "scaled in training .expected_average"),
    ],
)
def test_what_differs_is_told(
    family: str, metadata: dict, cfg: dict, warning: str | None, model, sae_folder, tmp_path: Path
) -> None:
    folder = tmp_path / "sae"
    shutil.copytree(sae_folder("standard", family=family, metadata={"prepend_bos": family in tiny.WITH_BOS}), folder)
    edit(folder, cfg, **metadata)
    sae = load_sae(model(family), folder)
    if warning is None:
        assert sae.warnings == ()
    else:
        (found,) = sae.warnings
        assert warning.split(" .")[0] in found


def test_made_on_another_model(tiny_llama: Model, sae_folder, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "sae"
    shutil.copytree(sae_folder("standard", metadata={"prepend_bos": True}), folder)
    edit(folder, model_name="gemma-2-2b")
    monkeypatch.setattr(tiny_llama, "name", "google/gemma-2-2b")
    assert load_sae(tiny_llama, folder).warnings == ()
    monkeypatch.setattr(tiny_llama, "name", "google/gemma-2-2b-it")
    (found,) = load_sae(tiny_llama, folder).warnings
    assert found == "It was made on google/gemma-2-2b; this model is google/gemma-2-2b-it."


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"hook_head_index": 3}, "reads one attention head"),
        ({"hook_name": "blocks.1.hook_mlp_in"}, "the stream before the norm to TransformerLens"),
        ({"hook_name": "hook_embed"}, "A hook name reads like"),
        ({"hook_name": "blocks.1.attn.hook_z"}, "reads vectors of width 32; .* has width 64"),
    ],
)
def test_what_has_no_place_is_refused(
    metadata: dict, message: str, model, sae_folder, tmp_path: Path, monkeypatch
) -> None:
    folder = tmp_path / "sae"
    shutil.copytree(sae_folder("standard"), folder)
    edit(folder, **metadata)
    lm = model("llama")
    if "attn" in str(metadata.get("hook_name")):
        monkeypatch.setattr(lm.text_config, "head_dim", 16)
    with pytest.raises(ValueError, match=message):
        load_sae(lm, folder)


def test_pickled_releases_are_refused_before_anything_is_fetched(tiny_llama: Model, monkeypatch) -> None:
    monkeypatch.setattr("steering.saes.loading.fetch_files", lambda *args: pytest.fail("was fetched"))
    with pytest.raises(ValueError, match=r"stored as a pickle.*save_model\(folder\); then give that folder"):
        load_sae(tiny_llama, "qwen-scope-3-1.7b-base-w32k-l50", "layer0")
