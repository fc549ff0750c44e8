"""The steerability study: what is printed is what the search found, with random directions on the same items."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from steering.directions.pairs import PairSet, PromptPair
from steering.engine.engine import Engine
from steering.evaluations.arms import BASELINE, Arm
from steering.evaluations.margins import forced, margins_of, with_margin
from steering.evaluations.scoring.items import Item
from steering.evaluations.scoring.scorers import scorer
from steering.evaluations.sets.sets import EvaluationSet
from steering.evaluations.trials import run
from steering.experiments import __main__ as evaluate
from steering.experiments.config import read
from steering.experiments.programs.steerability import (
    DOSES,
    RANDOM,
    files_of,
    plan_of,
    run_steerability,
    sentence,
    to_markdown,
)
from steering.interventions import ActivationAddition
from steering.models.model import Model
from steering.recipes.sources import Source
from steering.recipes.workbench import Workbench
from steering.sites import Site

ROOT = Path(__file__).parents[2]
PAIRS = PairSet(
    (PromptPair("", "Yes, you are right.", "No, that is wrong."), PromptPair("", "I agree.", "I do not think so.")),
    "yes and no",
)
SOURCE = Source("pairs:own")


def test_layers_and_random_directions_answer_on_the_same_items(model: Callable[[str], Model]) -> None:
    labels = [{"true": False, "truth": f"{k} is odd", "falsehood": f"{k} is red"} for k in range(16)]
    items = EvaluationSet(tuple(Item(f"is {k} red", labels=one) for k, one in enumerate(labels)), scorer("claims"), "x")
    said: list[str] = []
    with Engine(model("qwen2")) as engine:
        bench = Workbench(engine, pairs=lambda name: PAIRS)
        study = run_steerability(bench, items, SOURCE, tick=lambda done, total, note: said.append(note))
        layers, best = engine.model.n_layers, study.found.best
        direction, unit = bench.direction(replace(SOURCE, layer=best)), bench.typical_norm(Site(best))
        again = run(
            engine, [EvaluationSet(study.found.items[:1], scorer("preference"), "x")],
            [BASELINE, Arm("by hand", (ActivationAddition(direction, 0.1 * unit / direction.norm),))],
        )  # fmt: skip
    assert [len(plan_of(n).coarse) for n in (1, 2, 6, 12, 30)] == [1, 2, 6, 6, 7]
    # Of the second part, on 4 items of 2 statements: the baseline, and 5 doses at each layer and random direction.
    fine = min(3, layers)
    texts = (1 + 5 * len(plan_of(layers).coarse)) * 24 + (1 + 5 * (fine + RANDOM)) * 8
    assert f"at most {fine} layers and {RANDOM} random directions on 4: {texts} texts" in study.cost
    assert study.cost in said and study.items == "16 x" and study.direction == "the pairs yes and no"
    # 12 of the 16 chose the layer.
    assert {len(one.slopes) for one in (*study.found.by_layer.values(), *study.found.random)} == {4}
    assert len(study.found.random) == RANDOM and {len(one.slopes) for one in study.found.coarse.values()} == {12}
    doses, margins = study.found.margins(best)
    assert doses == sorted([*DOSES, 0.0])
    mean = sum(doses) / len(doses)
    by_hand = sum((a - mean) * b for a, b in zip(doses, margins[0], strict=True)) / sum((a - mean) ** 2 for a in doses)
    assert study.found.by_layer[best].slopes[0] == pytest.approx(by_hand, abs=1e-5)
    # What a dose does is what the addition does, asked by itself.
    assert [margins[0][doses.index(0.0)], margins[0][doses.index(0.1)]] == pytest.approx(
        [one.measures["margin"] for one in again], abs=1e-4
    )
    printed = to_markdown(study)
    assert f"| {best} (chosen) | the direction |" in printed and printed.count("| random ") == RANDOM
    assert sentence(study) in printed and "layer" in sentence(study)
    files = files_of(study)
    table = pd.read_csv(io.BytesIO(files["items.csv"]))
    assert len(table) == 4 and list(table[f"slope, layer {best}"]) == pytest.approx(
        study.found.by_layer[best].slopes, rel=1e-6
    )


def test_a_model_without_a_chat_template_reads_the_questions_as_plain_text(model: Callable[[str], Model]) -> None:
    stated = {"true": False, "truth": "it is odd", "falsehood": "it is red"}
    items = EvaluationSet(tuple(Item(f"is {k} red", labels=stated) for k in range(3)), scorer("claims"), "x")
    with Engine(model("gpt2")) as engine:
        assert not engine.model.has_chat_template
        bench = Workbench(engine, pairs=lambda name: PAIRS)
        study = run_steerability(bench, items, SOURCE, doses=(-0.1, 0.1))
    # Too few to leave some out: the layer is chosen on the items that are then asked, all of them.
    assert {len(one.slopes) for one in (*study.found.coarse.values(), *study.found.by_layer.values())} == {3}


def test_what_cannot_be_mapped_is_said_in_a_sentence(model: Callable[[str], Model]) -> None:
    texts = EvaluationSet((Item("is it red"),), scorer("refusals"), "requests")
    with pytest.raises(ValueError, match="no margin between two of them"):
        with_margin(texts)
    assert margins_of(forced(texts, ("Yes", "No"), "own").scorer) == ["logit_diff"]
    # The bundled model's claims: the true and the claimed statement, where they differ.
    mine = [
        {"true": one == "red", "answer_true": "it is red", "answer_claimed": f"it is {one}"} for one in ("red", "a")
    ]
    found = with_margin(EvaluationSet(tuple(Item("is it", labels=one) for one in mine), scorer("claims"), "own"))
    assert [item.labels["falsehood"] for item in found] == ["it is a"] and margins_of(found.scorer) == ["margin"]
    with Engine(model("qwen2")) as engine:
        bench = Workbench(engine, pairs=lambda name: PAIRS)
        with pytest.raises(ValueError, match="two doses other than 0"):
            run_steerability(bench, found, SOURCE, doses=(0.1,))
        with pytest.raises(ValueError, match="at every layer"):
            run_steerability(bench, found, Source("saved:1"))


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
