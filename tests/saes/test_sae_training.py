"""Training SAEs on activations: the folder loads with SAELens, the numbers are what they say, mistakes are reported."""

import json

import pytest
import torch
from sae_lens import SAE

from steering.saes.making.recipe import SaeRecipe
from steering.saes.making.training import save_sae, train_sae
from steering.saes.quality import quality
from steering.sites import Site


def planted(tokens: int = 3000, d_model: int = 12, features: int = 24, seed: int = 0) -> torch.Tensor:
    """Sums of three of 24 fixed directions a token: what a dictionary of 24 can say well."""
    generator = torch.Generator().manual_seed(seed)
    dictionary = torch.nn.functional.normalize(
        torch.randn(features, d_model, generator=torch.Generator().manual_seed(9)), dim=1
    )
    active = torch.stack([torch.randperm(features, generator=generator)[:3] for _ in range(tokens)])
    return (dictionary[active] * (1 + torch.rand(tokens, 3, 1, generator=generator))).sum(1)


SMALL = {"d_sae": 32, "k": 4, "samples": 12_800, "batch": 128, "learning_rate": 3e-3, "sparsity": 0.05}


@pytest.mark.parametrize("architecture", ["standard", "gated", "topk", "batchtopk", "jumprelu"])
def test_a_trained_sae_loads_with_sae_lens_and_says_most(architecture, tmp_path):
    site = Site(1, "resid_post")
    sae = train_sae(planted(), SaeRecipe(architecture, **SMALL), site, "tiny")
    measured = quality(sae, planted(seed=1))
    assert measured.explained_variance > 0.4
    save_sae(sae, tmp_path / "sae", {"explained_variance": measured.explained_variance})
    loaded = SAE.load_from_disk(tmp_path / "sae")
    assert loaded.cfg.metadata.hook_name == "blocks.1.hook_resid_post" and loaded.cfg.metadata.model_name == "tiny"
    # The scale is folded in, so decoding is affine and a change of features is a change of the residual stream.
    assert loaded.cfg.normalize_activations == "none"
    x = planted(20, seed=2)
    torch.testing.assert_close(loaded.decode(loaded.encode(x)), sae.decode(sae.encode(x)))
    kept = json.loads((tmp_path / "sae" / "cfg.json").read_text())["metadata"]
    assert kept["explained_variance"] == pytest.approx(measured.explained_variance)
    assert "bos" in kept["exclude_special_tokens"]


def test_the_same_recipe_gives_the_same_sae():
    recipe = SaeRecipe("topk", **{**SMALL, "samples": 1280})
    first, second = (train_sae(planted(), recipe, Site(0, "resid_post"), "tiny") for _ in range(2))
    assert torch.equal(first.W_dec, second.W_dec)


def test_quality_by_hand():
    # One feature, encoder and decoder the first axis: of h = (3, 4) and (-3, -4) the first is said as (3, 0), the other
    # as (0, 0). Mean 0, spread 50; left 16 + 25 = 41; explained 1 - 41 / 50. One of two tokens has one active feature.
    sae = SAE.from_dict({"architecture": "standard", "d_in": 2, "d_sae": 2, "apply_b_dec_to_input": False})
    with torch.no_grad():
        sae.W_enc.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        for bias in (sae.b_enc, sae.b_dec):
            bias.zero_()
    found = quality(sae, torch.tensor([[3.0, 4.0], [-3.0, -4.0]]))
    assert found.explained_variance == pytest.approx(1 - 41 / 50)
    assert (found.l0, found.dead, found.tokens) == (0.5, 0.5, 2)


def test_progress_counts_up_and_can_cancel():
    class Stop(Exception):
        pass

    seen = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) > 30:
            raise Stop

    with pytest.raises(Stop):
        train_sae(planted(), SaeRecipe("topk", **SMALL), Site(0, "resid_post"), "tiny", progress)
    assert seen == sorted(seen) and seen[0][1] == SMALL["samples"]


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="At least one batch"):
        SaeRecipe(samples=10)
    with pytest.raises(ValueError, match="k counts features"):
        SaeRecipe("topk", d_sae=8, k=9)
    with pytest.raises(ValueError, match="at least one batch of 128"):
        train_sae(planted(50), SaeRecipe("topk", **SMALL), Site(0, "resid_post"), "tiny")
