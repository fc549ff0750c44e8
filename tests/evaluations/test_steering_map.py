"""Coarse to fine: which layers and items are tried, what it costs, and the slope of every item by hand."""

from __future__ import annotations

import pytest
import torch

from steering import evaluations as ev
from steering.directions.direction import Direction
from steering.engine.engine import Engine
from steering.evaluations.steering_map import SearchPlan, search
from steering.interventions import ActivationAddition
from steering.models.model import Model
from steering.sites import Site

WORDS = ("the cat", "a dog", "the king", "one bird")
CLAIMS = ev.EvaluationSet(
    tuple(
        ev.Item(f"is {word} here", labels={"true": k % 2 == 0, "truth": f"{word} is here", "falsehood": f"{word} went"})
        for k, word in enumerate(WORDS)
    ),
    ev.scorer("preference"),
    "claims",
)


def test_the_cost_is_said_first() -> None:
    plan = SearchPlan(tuple(range(12)), (-1.0, 1.0), step=4, few=2)
    assert plan.coarse == (2, 6, 10) and plan.fine(2) == (1, 2, 3) and plan.fine(10) == (9, 10, 11)
    # Baseline and 3 layers x 2 doses on 2 items of 2 statements; then baseline and 3 x 2 on the 2 other items.
    assert plan.rows(CLAIMS) == (7 * 4, 7 * 4)
    assert "56 texts, about 28 seconds at 2 texts a second" in plan.cost(CLAIMS, 2.0)
    # 5 random directions more, and the items that there are, where the layer is chosen on all of them.
    beside = SearchPlan(tuple(range(12)), (-1.0, 0.0, 1.0), step=4, few=9, random=5)
    assert beside.doses == (-1.0, 1.0) and beside.rows(CLAIMS) == (7 * 8, 17 * 8)
    for doses in ((0.0,), (0.0, 1.0), ()):
        with pytest.raises(ValueError, match="at least two doses other than 0"):
            SearchPlan((1, 2), doses)


def test_a_search_gives_a_slope_to_every_item_and_leaves_out_what_the_layer_was_chosen_on(tiny_llama: Model) -> None:
    vector = torch.randn(tiny_llama.d_model, generator=torch.Generator().manual_seed(0))

    def make(layer: int, dose: float) -> list[ActivationAddition]:
        return [ActivationAddition(Direction(vector, Site(layer)), dose)]

    plan = SearchPlan(tuple(range(tiny_llama.n_layers)), (-0.5, 0.5), step=1, few=1, around=0)
    with Engine(tiny_llama) as engine:
        told: list[tuple[int, int]] = []
        found = search(engine, CLAIMS, make, plan, lambda done, total, note: told.append((done, total)))
        assert told == sorted(told) and told[-1][0] == told[-1][1]  # one progress for both parts
        assert list(found.by_layer) == [found.best] and len(found.by_layer[found.best].slopes) == 3
        by_hand = {(one.arm, one.item): one.measures["margin"] for one in found.second.outcomes}
    low, high = (next(a.name for a in found.second.arms if a.settings.get("dose") == dose) for dose in (-0.5, 0.5))
    # Doses -0.5, 0, 0.5: the least-squares slope is (high - low) / 1.
    slopes = [by_hand[high, item] - by_hand[low, item] for item in range(3)]
    assert found.by_layer[found.best].slopes == pytest.approx(slopes, abs=1e-6)
    with pytest.raises(ValueError, match="gives none"), Engine(tiny_llama) as engine:
        search(engine, ev.EvaluationSet(CLAIMS.items, ev.scorer("claims"), "x"), make, plan)
