"""The steerability study: what is printed is what the search found, with random directions on the same items."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from steering.directions.pairs import PairSet, PromptPair
from steering.engine.engine import Engine
from steering.evaluations.scoring.items import Item
from steering.evaluations.scoring.scorers import scorer
from steering.evaluations.sets.sets import EvaluationSet
from steering.experiments.programs.steerability import DOSES, RANDOM, run_steerability, to_markdown
from steering.models.model import Model

PAIRS = PairSet(
    (PromptPair("", "Yes, you are right.", "No, that is wrong."), PromptPair("", "I agree.", "I do not think so.")),
    "yes and no",
)


def test_layers_and_random_directions_answer_on_the_same_items(model: Callable[[str], Model]) -> None:
    labels = [{"true": False, "truth": f"{k} is odd", "falsehood": f"{k} is red"} for k in range(16)]
    items = EvaluationSet(tuple(Item(f"is {k} red", labels=one) for k, one in enumerate(labels)), scorer("claims"), "x")
    said: list[str] = []
    with Engine(model("qwen2")) as engine:
        study = run_steerability(engine, items, PAIRS, tick=lambda done, total, note: said.append(note))
    assert study.cost in said[0] and "16 items" not in study.items and study.items.startswith("16 ")
    best = study.found.best
    # 12 of the 16 chose the layer.
    assert {len(one.slopes) for one in (*study.found.by_layer.values(), *study.random)} == {4}
    assert len(study.random) == RANDOM
    outcomes = {(one.arm, one.item): one.measures["margin"] for one in study.found.second.outcomes}
    arm = {one.settings.get("dose"): one.name for one in study.found.second.arms if one.settings.get("layer") == best}
    x = [*DOSES, 0.0]
    y = [*(outcomes[arm[dose], 0] for dose in DOSES), outcomes["Baseline", 0]]
    mean = sum(x) / len(x)
    by_hand = sum((a - mean) * b for a, b in zip(x, y, strict=True)) / sum((a - mean) ** 2 for a in x)
    assert study.found.by_layer[best].slopes[0] == pytest.approx(by_hand, abs=1e-5)
    printed = to_markdown(study)
    assert f"| {best} (chosen) | from pairs |" in printed and printed.count("| random ") == RANDOM
