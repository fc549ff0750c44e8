"""Discover: what is found is longer reaching than chance, one batch writes the texts, and refusals are sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import steering as t
from steering.measurements.discovery import METHODS, Discovery, _groups, discover, nearest_features
from steering.models.model import Model

PROMPT = "The cat sat on the mat and looked at the moon."
SOURCE, TARGET = t.Site(0, "resid_post"), t.Site(1, "resid_post")


@pytest.fixture(scope="module")
def found(tiny_llama: Model) -> dict[str, Discovery]:
    with t.Engine(tiny_llama) as engine:
        return {
            method: discover(engine, [PROMPT], SOURCE, TARGET, method=method, n=3, steps=10, max_new_tokens=4)
            for method in METHODS
        }


@pytest.mark.parametrize("method", METHODS)
def test_each_method_finds_directions_with_texts_beside_random_ones(found, method):
    one = found[method]
    assert [each.random for each in one.found] == [False] * 3 + [True] * 3
    assert all(each.direction.norm == pytest.approx(1, abs=1e-4) for each in one.found)
    assert all(0 <= each.share <= 1 + 1e-6 and all(each.texts) and len(each.promoted[0]) == 5 for each in one.found)
    assert one.norm > 0 and one.passes > 0 and one.baseline
    assert max(one.found[0].moved) > max(max(each.moved) for each in one.found if each.random)


def test_texts_are_those_of_an_addition_of_that_length(found, tiny_llama):
    one = found["jacobian"]
    with t.Engine(tiny_llama) as engine:
        pushed = t.ActivationAddition(one.found[0].direction, -one.norm)
        (row,) = engine.generate(PROMPT, [(pushed,)], max_new_tokens=4)
    assert row.text == one.found[0].texts[1]


def test_a_given_length_and_named_directions(tiny_llama):
    v = t.Direction(torch.randn(tiny_llama.d_model), SOURCE, name="mine")
    with t.Engine(tiny_llama) as engine:
        one = discover(
            engine, [PROMPT, "No"], SOURCE, TARGET, n=2, norm=0.5, named=[v], random=0, energy=0.9, max_new_tokens=2
        )
    assert one.norm == 0.5 and len(one.found) == 2
    assert one.found[0].similar[0][0] == "mine" and abs(one.found[0].similar[0][1]) <= 1
    with t.Engine(tiny_llama) as engine, pytest.raises(ValueError, match="jacobian, melbo, dct"):
        discover(engine, [PROMPT], SOURCE, TARGET, method="luck")


def test_features_that_write_alike_are_found_either_way(tiny_llama, tiny_sae):
    rows = tiny_sae.written
    three, minus_five = (torch.nn.functional.normalize(row, dim=0) for row in (rows[3], -rows[5]))
    (first, _), (second, _) = nearest_features(tiny_sae, torch.stack([three, minus_five]))
    assert first == (3, pytest.approx(1, abs=1e-5)) and second == (5, pytest.approx(-1, abs=1e-5))
    here = replace(tiny_sae, site=SOURCE)
    with t.Engine(tiny_llama) as engine:
        with_sae, elsewhere = (
            discover(engine, [PROMPT], SOURCE, TARGET, n=2, norm=0.5, random=1, sae=sae, max_new_tokens=1)
            for sae in (here, replace(tiny_sae, site=TARGET))
        )
    assert with_sae.sae == here.name and all(len(one.features) == 2 for one in with_sae.found)
    assert not elsewhere.sae and not any(one.features for one in elsewhere.found)


def test_like_responses_share_a_group_whatever_their_sign():
    a, b = torch.eye(4)[:2]
    assert _groups(torch.stack([a, b, -3 * a, b + 0.1 * a])) == [1, 2, 1, 2]
    assert _groups(a[None]) == [1]


def test_it_can_be_cancelled(tiny_llama):
    def stop(done: int, total: int, note: str) -> None:
        if done > 100:
            raise KeyboardInterrupt

    with t.Engine(tiny_llama) as engine, pytest.raises(KeyboardInterrupt):
        discover(engine, [PROMPT], SOURCE, TARGET, n=2, tick=stop)
