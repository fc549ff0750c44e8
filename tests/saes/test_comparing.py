"""Dictionaries beside each other: matching under permutation, what one lacks, stability, which there are on disk."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from steering.saes.comparing.comparison import SAME, alike, compare, table_of
from steering.saes.comparing.known import at_site, known_dictionaries, stability_of


def rows(n: int, d: int = 24, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_a_dictionary_is_itself_in_any_order_and_at_any_length():
    one = rows(40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    found = compare(one, 3.0 * one[order])
    assert found.shared == 1.0 and found.matching.mean == pytest.approx(1.0, abs=1e-5)
    assert [int(order[right]) for right in found.matching.right] == found.matching.left.tolist()
    values, places = table_of(one, 3.0 * one[order], found, 10)
    assert len(places) == 10 and values.diagonal() == pytest.approx(1.0, abs=1e-5)


def test_what_one_has_and_the_other_lacks_comes_first():
    one = rows(30)
    other = one.clone()
    other[7] = -one[[i for i in range(30) if i != 7]].mean(0)
    found = compare(one, other)
    assert found.lacking(True, 1)[0][0] == 7 and found.lacking(False, 1)[0][0] == 7
    assert found.lacking(True, 1)[0][1] < SAME < float(sorted(found.best_left)[1])
    assert found.spread(5)[0] == found.matching.cosine.argmax() and len(set(found.spread(99))) == 30


def test_chance_is_what_random_directions_reach():
    found = compare(rows(2000, seed=3), rows(50, seed=4))
    best = (rows(4000, seed=5) @ rows(50, seed=4).T).max(1).values
    assert found.chance == pytest.approx(float(best.quantile(0.99)), abs=0.03)


def test_alike_is_one_only_with_itself():
    values = alike([rows(30), rows(30, seed=1)])
    assert values[0][0] == pytest.approx(1.0, abs=1e-5) and values[0][1] < 0.7


def write(folder, name: str, model: str, tensor: torch.Tensor) -> None:
    place = folder / "dictionaries" / name / "blocks.1.hook_resid_post"
    place.mkdir(parents=True)
    about = {"model_name": model, "hook_name": "blocks.1.hook_resid_post", "l0": 3.5, "training_architecture": "gated"}
    config = {"architecture": "gated", "d_sae": len(tensor), "metadata": about}
    (place / "cfg.json").write_text(json.dumps(config))
    save_file({"W_dec": tensor.half().contiguous()}, place / "sae_weights.safetensors")


def test_dictionaries_of_a_model_are_found_and_torn_ones_are_not(tmp_path):
    write(tmp_path, "a", "tiny", rows(20))
    write(tmp_path, "b", "tiny", rows(20)[torch.randperm(20)])
    write(tmp_path, "c", "another", rows(20))
    torn = tmp_path / "dictionaries" / "d" / "blocks.1.hook_resid_post"
    torn.mkdir(parents=True)
    (torn / "cfg.json").write_text("{")
    found = known_dictionaries("tiny", tmp_path)
    assert [one.name for one in found] == ["layer 1 post · gated · a", "layer 1 post · gated · b"]
    assert found[0].measure("l0") == 3.5 and found[0].measure("training_architecture") is None
    values = stability_of(found[0], at_site(found, found[0]))
    assert values is not None and float(values.min()) == pytest.approx(1.0, abs=1e-3)
    assert stability_of(found[0], []) is None


def test_the_shipped_ones_come_first(tmp_path):
    names = [one.name for one in known_dictionaries("organism", tmp_path)]
    assert "layer 3 post · gated" in names and "layer 3 post · batchtopk" in names
