"""A shipped direction is used only where everything that made it is the same."""

from __future__ import annotations

import pytest
import torch

import steering as t
from steering.directions import shipped as module
from steering.recipes.sources import Source
from steering.recipes.workbench import Workbench

PAIRS = t.PairSet.from_lists(["The cat is good."], ["The cat is not."], name="good")
SITE = t.Site(1, "resid_post")


@pytest.fixture
def file(tiny_llama, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "MADE", {tiny_llama.name: (("good", str(SITE)),)})
    monkeypatch.setattr(module, "_file", lambda model, pairs, site: tmp_path / f"{pairs}.safetensors")
    made = t.mean_difference(tiny_llama, PAIRS, SITE)
    return made, tmp_path / "good.safetensors"


def test_it_is_found_for_the_same_weights_and_pairs_alone(tiny_llama, tiny_gpt2, file):
    made, path = file
    assert module.shipped(tiny_llama, PAIRS, SITE, "mean_difference", "completion_mean") is None
    made.save(path)
    found = module.shipped(tiny_llama, PAIRS, SITE, "mean_difference", "completion_mean")
    assert found is not None and torch.equal(found.vector, made.vector)
    assert module.shipped(tiny_llama, PAIRS, SITE, "pca", "completion_mean") is None
    assert module.shipped(tiny_llama, PAIRS, SITE, "mean_difference", "last") is None
    assert module.shipped(tiny_llama, PAIRS, t.Site(0), "mean_difference", "completion_mean") is None
    assert module.shipped(tiny_gpt2, PAIRS, SITE, "mean_difference", "completion_mean") is None
    others = t.PairSet.from_lists(["Another."], ["Text."], name="good")
    assert module.shipped(tiny_llama, others, SITE, "mean_difference", "completion_mean") is None


def test_the_workbench_takes_it_instead_of_reading_the_pairs(tiny_llama, file, monkeypatch):
    made, path = file
    made.save(path)
    bench = Workbench(tiny_llama, pairs=lambda name: PAIRS)
    monkeypatch.setattr("steering.recipes.workbench.FITS", {})
    found = bench.direction(Source("pairs:good", layer=1))
    assert torch.equal(found.vector, made.vector) and found.name == "good, layer 1"


def test_what_ships_is_there():
    for model, made in module.MADE.items():
        for pairs, site in made:
            assert t.Direction.load(module._file(model, pairs, t.Site.parse(site))).norm > 0
