"""The comparison of directions found without labels: what is found, and what counts as carrying a behavior."""

from __future__ import annotations

import pytest

import steering as t
from steering.experiments.unlabeled import (
    METHODS,
    UnlabeledResult,
    answer,
    compare_unlabeled,
    run_unlabeled,
    to_markdown,
)

SOURCE, TARGET = t.Site(0, "resid_post"), t.Site(1, "resid_post")
PAIRS = t.PairSet.from_lists(
    [f"The {thing} is good." for thing in ("cat", "dog", "moon", "mat")],
    [f"The {thing} is not." for thing in ("cat", "dog", "moon", "mat")],
    name="good",
)


@pytest.fixture(scope="module")
def result(tiny_llama) -> UnlabeledResult:
    with t.Engine(tiny_llama) as engine:
        return compare_unlabeled(
            engine, ["The cat sat on the mat."], SOURCE, TARGET, [PAIRS], n=2, random=3, tested=2, steps=5
        )


def test_every_vector_is_measured_on_every_behavior(result):
    assert [one.method for one in result.effects] == ["jacobian"] * 2 + ["melbo"] * 2 + ["random"] * 3
    assert result.cosines.shape == (2, 2) and 0 <= result.overlap <= 1 + 1e-6
    assert result.moved["jacobian"] > result.moved["random"] and result.moved["melbo"] > result.moved["random"]


def test_what_carries_is_beyond_every_random_vector(result):
    reach = max(one.effect.value for one in result.effects if one.method == "random")
    for one in result.effects:
        if one.carries:
            assert one.effect.low > 0
            assert one.method == "random" or one.effect.value > reach
    assert sum(one.carries for one in result.effects if one.method == "random") <= 1


def test_the_tables_name_every_method(result):
    text = to_markdown(result)
    assert "| good |" in text and "carries" in text and len(METHODS) == 3


def test_the_answer_names_shares_spans_and_costs(result):
    said = answer(result)
    assert f"share {result.overlap:.2f}" in said and f"{result.share_carrying('random'):.0%} of random" in said
    assert f"{result.cost['melbo'][0] / result.cost['jacobian'][0]:.0f} times the passes" in said


def test_a_model_without_settings_is_refused(tiny_llama):
    with t.Engine(tiny_llama) as engine, pytest.raises(ValueError, match="set up for organism and smollm2"):
        run_unlabeled(engine)
