"""SAEs: each architecture as its paper has it, slices equal to the whole, edits without a second decode, bad input."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models as tiny
import torch
from reference import saes as reference
from safetensors.torch import load_file
from torch import Tensor

from steering.models.model import Model
from steering.saes.loading import load_sae
from steering.saes.sae import Sae
from steering.sites import Site


@pytest.fixture(scope="module")
def h(checkpoint: Callable[[str], Path]) -> Tensor:
    return tiny.sample_activations(checkpoint("llama"), 1)


@pytest.fixture(scope="module", params=tiny.ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def sae(architecture: str, sae_of: Callable[..., Sae]) -> Sae:
    return sae_of(architecture)


def test_every_architecture_loads(architecture: str, sae: Sae) -> None:
    assert sae.architecture == {"batchtopk": "jumprelu"}.get(architecture, architecture)
    assert (sae.site, sae.d_model, sae.d_sae) == (Site(1), tiny.D_MODEL, tiny.D_SAE)
    assert not sae.normalizes and not sae.center


def test_encode_and_decode_are_the_papers(
    architecture: str, sae: Sae, h: Tensor, sae_folder: Callable[..., Path]
) -> None:
    weights = load_file(sae_folder(architecture) / "sae_weights.safetensors")
    if architecture == "topk":
        expected = reference.topk(weights, h, k=tiny.D_SAE // 5)
    else:
        expected = getattr(reference, sae.architecture)(weights, h)
    f = sae.encode(h)
    assert 0.1 < (f > 0).float().mean() < 0.3  # the fixture's promise; below it most tests would test nothing
    torch.testing.assert_close(f, expected)
    torch.testing.assert_close(sae.decode(f), reference.decode(weights, expected))
    torch.testing.assert_close(sae.reconstruct(h), sae.decode(f))


def test_a_feature_by_hand(sae_of: Callable[..., Sae]) -> None:
    """standard, x = b_dec: the encoder sees 0, so f = ReLU(b_enc); and x_hat = ReLU(b_enc) W_dec + b_dec."""
    sae = sae_of("standard")
    b_dec, b_enc = sae.sae.b_dec, sae.sae.b_enc
    assert torch.equal(sae.encode(b_dec), b_enc.relu())
    torch.testing.assert_close(sae.reconstruct(b_dec), b_enc.relu() @ sae.W_dec + b_dec)


def test_a_slice_is_the_whole(architecture: str, sae: Sae, h: Tensor) -> None:
    for indices in ([5], [90, 3, 17], list(range(tiny.D_SAE))):
        part = sae.features(indices)
        torch.testing.assert_close(part.encode(h), sae.encode(h)[..., indices], atol=1e-5, rtol=1e-5)
        assert torch.equal(part.rows, sae.rows[indices])
        assert part.sliced == (architecture != "topk" and len(indices) < tiny.D_SAE)


def test_topk_is_never_sliced(sae_of: Callable[..., Sae]) -> None:
    """Among 3 features a top-19 keeps all of them, also where the whole SAE has 19 larger ones."""
    sae = sae_of("topk")
    assert not sae.sliceable and not sae.features([1, 2, 3]).sliced


def test_a_slice_that_disagrees_falls_back_to_the_whole(sae_of: Callable[..., Sae], h: Tensor, monkeypatch) -> None:
    sae = sae_of("topk", seed=3)
    monkeypatch.setattr("steering.saes.sae.SLICEABLE", ("topk",))
    part = sae.features(list(range(4, 34)))
    assert not part.sliced
    assert torch.equal(part.encode(h), sae.encode(h)[..., 4:34])


def test_shapes_pass_through(sae: Sae, h: Tensor) -> None:
    cube = h[:24].reshape(2, 3, 4, -1)
    assert sae.encode(cube).shape == (2, 3, 4, tiny.D_SAE)
    assert sae.features([1, 2]).encode(cube).shape == (2, 3, 4, 2)
    torch.testing.assert_close(sae.encode(cube).flatten(0, 2), sae.encode(h[:24]))


def test_a_change_of_features_is_decoded_without_a_second_decode(sae: Sae, h: Tensor) -> None:
    f = sae.encode(h)
    change = torch.randn(f.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sae.decode(f + change) - sae.decode(f), change @ sae.rows, atol=1e-4, rtol=1e-4)


def test_decoder_norms_are_counted_once(sae_of: Callable[..., Sae], h: Tensor) -> None:
    """With `rescale_acts_by_decoder_norm` a feature is in units of the norm of its row, and writes a unit vector."""
    sae = sae_of("topk", rescale_acts_by_decoder_norm=True)
    f = sae.encode(h)
    assert torch.allclose(sae.rows.norm(dim=-1), torch.ones(tiny.D_SAE))
    change = torch.zeros_like(f)
    change[..., 7] = 2.0
    torch.testing.assert_close(sae.decode(f + change) - sae.decode(f), change @ sae.rows, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(sae.features([7]).rows[0], sae.rows[7])


def test_run_time_normalization_leaves_nothing_behind(sae_of: Callable[..., Sae], h: Tensor) -> None:
    sae = sae_of("standard", normalize_activations="layer_norm")
    f = sae.encode(h)
    assert not hasattr(sae.sae, "ln_std")
    sae.encode(h[:3] * 5)  # another input between: its statistics must not be used for the first
    with pytest.raises(ValueError, match=r"Use reconstruct\(h\)"):
        sae.decode(f)
    before = sae.reconstruct(h)
    assert torch.equal(sae.reconstruct(h), before)
    # LayerNorm statistics by hand: x_hat = std(h) * (f W_dec + b_dec) + mean(h)
    by_hand = h.std(-1, keepdim=True) * (f @ sae.W_dec + sae.sae.b_dec) + h.mean(-1, keepdim=True)
    torch.testing.assert_close(before, by_hand, atol=1e-4, rtol=1e-4)
    scale = sae.scale(h)
    assert scale is not None
    torch.testing.assert_close(scale, h.std(-1, keepdim=True))


def test_an_sae_of_centered_weights_reads_centered_activations(
    sae_of: Callable[..., Sae], model: Callable[[str], Model], checkpoint: Callable[[str], Path]
) -> None:
    """TransformerLens' processed GPT-2 has no mean over channels; feeding the raw stream would be another input."""
    about = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
    sae = sae_of("standard", family="gpt2", metadata=about)
    h = tiny.sample_activations(checkpoint("gpt2"), 1)
    assert sae.center
    torch.testing.assert_close(sae.encode(h), sae.encode(h + 3.0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(sae.reconstruct(h + 3.0), sae.reconstruct(h) + 3.0, atol=1e-4, rtol=1e-4)
    assert not sae_of("standard", family="llama", metadata=about).center  # an RMSNorm model has nothing to center


def test_fingerprints_tell_saes_apart(sae_of: Callable[..., Sae]) -> None:
    one, again, other = sae_of("standard"), sae_of("standard"), sae_of("standard", seed=1)
    assert one.fingerprint == again.fingerprint != other.fingerprint


# Bad input ----------------------------------------------------------------------------------------------------------


def test_a_feature_that_does_not_exist(sae: Sae) -> None:
    with pytest.raises(ValueError, match="run from 0 to 95; got 96"):
        sae.features([3, 96])
    with pytest.raises(ValueError, match="got -1"):
        sae.features([-1])


def edited(folder: Path, to: Path, **metadata: object) -> Path:
    shutil.copytree(folder, to)
    config = json.loads((to / "cfg.json").read_text())
    config["metadata"].update(metadata)
    (to / "cfg.json").write_text(json.dumps(config))
    return to


def test_an_sae_of_another_width(tiny_llama: Model, tmp_path: Path) -> None:
    from sae_lens import StandardSAE, StandardSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    about = SAEMetadata(hook_name="blocks.1.hook_resid_post")
    StandardSAE(StandardSAEConfig(d_in=48, d_sae=64, metadata=about)).save_model(tmp_path)
    with pytest.raises(ValueError, match="reads vectors of width 48; .* has width 32"):
        load_sae(tiny_llama, tmp_path)


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ("blocks.9.hook_resid_post", "has layers 0 to 3; got layer 9"),
        ("blocks.1.attn.hook_pattern", "A hook name reads like"),
        ("blocks.1.hook_pattern", "A stream is one of"),
        (None, "does not say where it belongs"),
    ],
)
def test_an_sae_at_a_place_that_cannot_be_steered(
    hook: str | None, message: str, tiny_llama: Model, sae_folder: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        load_sae(tiny_llama, edited(sae_folder("standard"), tmp_path / "sae", hook_name=hook))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty", "has no cfg.json"),
        ("no weights", "weights are read from sae_weights.safetensors"),
        ("pickle", "weights are read from sae_weights.safetensors"),
        ("truncated", "could not be read"),
        ("broken config", "could not be read"),
        ("unknown architecture", "could not be read"),
        ("missing tensor", "could not be read"),
    ],
)
def test_a_folder_that_is_no_sae(
    how: str, message: str, tiny_llama: Model, sae_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "sae"
    shutil.copytree(sae_folder("standard"), folder)
    weights, config = folder / "sae_weights.safetensors", folder / "cfg.json"
    if how == "empty":
        config.unlink()
    elif how in ("no weights", "pickle"):
        weights.unlink()
        if how == "pickle":
            torch.save({}, folder / "sae_weights.pt")
    elif how == "truncated":
        weights.write_bytes(weights.read_bytes()[:100])
    elif how == "broken config":
        config.write_text("{")
    elif how == "unknown architecture":
        config.write_text(config.read_text().replace('"standard"', '"nonsense"'))
    elif how == "missing tensor":
        from safetensors.torch import save_file

        save_file({k: v for k, v in load_file(weights).items() if k != "b_enc"}, folder / "new")
        (folder / "new").replace(weights)
    with pytest.raises(ValueError, match=message):
        load_sae(tiny_llama, folder)


def test_a_local_folder_with_an_id(tiny_llama: Model, sae_folder: Callable[..., Path]) -> None:
    folder = sae_folder("standard")
    assert load_sae(tiny_llama, folder.parent, folder.name).name == folder.name


def test_near_names_are_listed(tiny_llama: Model) -> None:
    with pytest.raises(ValueError, match="Near: .*gpt2-small-res-jb"):
        load_sae(tiny_llama, "gpt2-smal-res-jb", "blocks.3.hook_resid_pre")
    with pytest.raises(ValueError, match="near: .*blocks.3.hook_resid_pre"):
        load_sae(tiny_llama, "gpt2-small-res-jb", "blocks.3.hook_resid_prre")
    with pytest.raises(ValueError, match="jbloom.GPT2-Small-SAEs-Reformatted cannot be fetched: offline mode is on"):
        load_sae(tiny_llama, "gpt2-small-res-jb", "blocks.3.hook_resid_pre")
