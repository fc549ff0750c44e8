"""The steerability study: what is printed is what the search found, with random directions on the same items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from steering.directions.pairs import PairSet, PromptPair
from steering.engine.engine import Engine
from steering.evaluations.scoring.items import Item
from steering.evaluations.scoring.scorers import scorer
from steering.evaluations.sets.sets import EvaluationSet
from steering.experiments import __main__ as evaluate
from steering.experiments.config import read
from steering.experiments.programs.steerability import DOSES, RANDOM, run_steerability, to_markdown
from steering.models.model import Model

ROOT = Path(__file__).parents[2]
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
    # Baseline and 5 doses at one layer, 2 statements an item: on the one item passed over, and on the 5 that are left.
    assert f"{RANDOM} random directions at the best layer: {RANDOM * (6 * 2 * 1 + 6 * 2 * 5)} texts more" in study.cost
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


def test_the_questionnaire_s_configuration_asks_for_the_file_that_does_not_ship(tmp_path, capsys) -> None:
    experiment = read(ROOT / "benchmarks" / "foundations.toml")
    assert len(experiment.data["arms"]) == 5 and experiment.model == "smollm2"
    copy = experiment.text.replace('model = "smollm2"', 'model = "organism"').replace("layer = [15]", "layer = [3]")
    for layer in ("general_voice_duty", "general_voice_consequences"):
        copy = copy.replace(layer, "sycophancy")
    (tmp_path / "foundations.toml").write_text(
        copy.replace("blocks.15", "blocks.3").replace('products = "bfloat16"', "")
    )
    assert evaluate.main([str(tmp_path / "foundations.toml"), "--out", str(tmp_path / "out")]) == 2
    assert "'MFQ_Prompt.txt' is neither" in capsys.readouterr().err
