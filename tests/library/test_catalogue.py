"""The catalogue: every SAE of the registry is a row with a place, a model offers its SAEs and the other way round."""

from __future__ import annotations

import pytest

from steering.library import catalogue
from steering.library.catalogue import MODELS, fitting_models, fitting_saes, saes, search
from steering.saes.loading import registry
from steering.saes.origins import canonical_model
from steering.sites import Site


def row(release: str, sae_id: str) -> catalogue.SaeEntry:
    return next(one for one in saes() if (one.release, one.id) == (release, sae_id))


def test_every_sae_of_the_registry_is_a_row() -> None:
    assert len(saes()) == sum(len(about.saes_map) for about in registry().values()) > 10_000
    placed = [one for one in saes() if one.site is not None]
    assert len(placed) > 0.99 * len(saes())
    assert all("/" in one.model for one in saes()), {one.model for one in saes() if "/" not in one.model}


@pytest.mark.parametrize(
    ("release", "sae_id", "site", "width", "l0", "explained"),
    [
        ("gpt2-small-res-jb", "blocks.8.hook_resid_pre", Site(8, "resid_pre"), 24576, 60.0, 0.9),
        ("gpt2-small-res-jb-feature-splitting", "blocks.8.hook_resid_pre_768", Site(8, "resid_pre"), 768, 36.0, 0.61),
        ("gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_82", Site(12), 16384, 82.0, None),
        ("gemma-scope-2b-pt-mlp-canonical", "layer_3/width_65k/canonical", Site(3, "mlp_out"), 65536, None, None),
        ("gemma-scope-2b-pt-att", "layer_0/width_16k/average_l0_104", Site(0, "attn_z"), 16384, 104.0, None),
        ("gemma-scope-2-1b-it-res", "layer_13_width_16k_l0_big", Site(13), 16384, 150.0, None),
        ("gemma-scope-9b-pt-res", "layer_9/width_1m/average_l0_9", Site(9), 1 << 20, 9.0, None),
        ("llama_scope_lxa_8x", "l0a_8x", Site(0, "attn_out"), 32768, 50.0, None),
        ("mwhanna-qwen3-4b-transcoders", "layer_0", Site(0, "mlp_in"), None, None, None),
        ("sae_bench_gemma-2-2b_topk_width-2pow14_date-1109", "blocks.12.hook_resid_post__trainer_0", Site(12), 16384,
         None, None),
    ],
)  # fmt: skip
def test_rows_by_hand(release, sae_id, site, width, l0, explained) -> None:
    found = row(release, sae_id)
    assert (found.site, found.width, found.explained_variance) == (site, width, explained)
    assert found.l0 == l0 or l0 is None


def test_what_is_refused_says_why() -> None:
    reasons = {one.release: one.refused for one in saes()}
    assert "pickle" in reasons["qwen-scope-3-1.7b-base-w32k-l50"]
    assert "other tokens" in reasons["temporal-sae-gemma-2-2b"]
    assert not reasons["gpt2-small-res-jb"] and not reasons["gemma-scope-2b-pt-res-canonical"]
    assert "embedding" in row("gemma-scope-2b-pt-res", "embedding/width_4k/average_l0_6").refused


def test_search_by_words() -> None:
    found = search("gpt2 resid_pre layer 8 24576")
    assert next(one.release for one in found if one.width == 24576) == "gpt2-small-res-jb"
    assert {one.site for one in found} == {Site(8, "resid_pre")}
    assert search("no such thing anywhere") == []
    assert len(search()) == len(saes())
    assert not any(one.refused for one in search("qwen3-1.7b", readable=True))
    assert any(one.refused for one in search("qwen3-1.7b"))


def test_a_model_offers_its_saes_and_an_sae_its_models() -> None:
    own = fitting_saes("google/gemma-2-2b")
    assert len(own) > 1000 and {one.model for one in own} == {"google/gemma-2-2b"}
    tuned = fitting_saes("google/gemma-2-9b-it")
    models = [one.model for one in tuned]
    assert models[0] == "google/gemma-2-9b-it" and models[-1] == "google/gemma-2-9b"  # its own first
    assert fitting_saes("/home/me/models/gpt2") == fitting_saes("openai-community/gpt2") != []
    assert fitting_saes("organism") == []
    offered = fitting_models(row("gemma-scope-2b-pt-res-canonical", "layer_12/width_16k/canonical"))
    assert [one.hub_id for one in offered] == ["google/gemma-2-2b", "google/gemma-2-2b-it"]


def test_no_sae_of_a_layer_that_is_not_there() -> None:
    for entry in MODELS:
        layers = {one.site.layer for one in fitting_saes(entry) if one.site is not None}
        assert not layers or max(layers) < entry.shape.n_layers


def test_memory_of_the_recommended_models() -> None:
    entry = next(one for one in MODELS if one.hub_id == "google/gemma-2-2b")
    assert 10e9 < entry.memory["float32"] < 13e9 and 5e9 < entry.memory["bfloat16"] < 7e9
    assert len({one.hub_id for one in MODELS}) == len(MODELS)
    assert canonical_model("gpt2-small") == "openai-community/gpt2"
