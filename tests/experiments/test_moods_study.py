"""The study of moods: labels shuffled give chance, a dose of zero is the baseline, and halves share no ending."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from steering.directions.class_means import against_others
from steering.directions.direction import Direction
from steering.directions.pairs import PairSet, PromptPair
from steering.engine.engine import Engine
from steering.evaluations.arms import BASELINE
from steering.evaluations.scoring.items import Item
from steering.evaluations.scoring.preference import MOODS
from steering.evaluations.scoring.scorers import scorer
from steering.evaluations.sets.sets import EvaluationSet
from steering.evaluations.trials import run
from steering.experiments import __main__ as evaluate
from steering.experiments.programs import mood_reading, mood_steering, registry
from steering.experiments.programs.mood_reading import areas, best_layer, by_random, by_shuffling, reading, valence
from steering.experiments.programs.mood_report import to_markdown
from steering.experiments.programs.mood_steering import added, halves, texts_scored
from steering.experiments.programs.mood_texts import EmotionTexts
from steering.experiments.programs.moods import asked, run_moods
from steering.models.model import Model
from steering.sites import Site

FEELINGS = ("happy", "sad", "afraid")


def classes(rng: np.random.Generator, apart: float, n: int = 40, width: int = 12) -> dict[str, np.ndarray]:
    """Texts of three feelings around unit vectors, `apart` standard deviations from the origin."""
    return {name: rng.normal(size=(n, width)) + apart * np.eye(width)[k] for k, name in enumerate(FEELINGS)}


def test_what_separates_is_found_and_shuffled_labels_are_chance() -> None:
    rng = np.random.default_rng(0)
    train, validation, test = ({3: classes(rng, 0.2), 7: classes(rng, 3.0)} for _ in range(3))
    found = reading(train, validation, test)
    assert found.layer == 7 and found.validation[7] > 0.95 > 0.8 > found.validation[3]
    for name in FEELINGS:
        assert found.found[name].low > 0.9
        assert abs(found.shuffled[name].mean - 0.5) < 0.1 and abs(found.random[name].mean - 0.5) < 0.1
        assert found.shuffled[name].low < 0.5 < found.shuffled[name].high < found.found[name].low
    # Where nothing separates the chosen layer's direction is chance as well.
    values = []
    for _ in range(12):
        train, validation, test = ({1: classes(rng, 0.0), 2: classes(rng, 0.0)} for _ in range(3))
        vectors = against_others(train[best_layer(train, validation)[0]])
        values += [one.value for one in areas(vectors, test[1]).values()]
    assert abs(np.mean(values) - 0.5) < 0.04


def test_by_hand() -> None:
    """Means (3, 0) and (0, 3): happy is (3, -3), so that texts (1, 0) and (0, 1), (2, 1) project 3 against -3 and 3."""
    train = {"happy": np.array([[2.0, 0.0], [4.0, 0.0]]), "sad": np.array([[0.0, 3.0]])}
    test = {"happy": np.array([[1.0, 0.0], [1.0, 0.0]]), "sad": np.array([[0.0, 1.0], [2.0, 1.0]])}
    layer, means = best_layer({5: train}, {5: test})
    assert (layer, means) == (5, {5: pytest.approx(0.75)})  # 3 above -3, and level with 3
    assert areas({"happy": np.array([3.0, -3.0])}, test)["happy"].value == pytest.approx(0.75)
    assert by_random(test, 1) == by_random(test, 1) and by_shuffling(train, test, 1) == by_shuffling(train, test, 1)
    along = valence(
        np.array([2.0, 0.0]), np.array([0.0, 9.0]), np.array([[1, 0], [2, 0], [0, 1], [0, 2]]), [1, 2, -1, -2]
    )
    assert along.found.value == pytest.approx(1) and along.texts == 4 and along.random.low < 0 < along.random.high


def story(k: int, group: int) -> Item:
    ends = {mood: f"{mood} {'abcd'[group]}" for mood in MOODS}
    return Item(f"tell {k}", labels={"endings": ends})


def stories(n: int = 12, groups: int = 4) -> EvaluationSet:
    return EvaluationSet(tuple(story(k, k % groups) for k in range(n)), scorer("moods by preference"), "stories")


def test_halves_share_no_story_and_no_ending() -> None:
    first, second = halves(stories())
    assert len(first) == len(second) == 6
    ends = [{str(item.labels["endings"]) for item in half} for half in (first, second)]
    assert not ends[0] & ends[1] and {i.id for i in first}.isdisjoint({i.id for i in second})
    with pytest.raises(ValueError, match="'stories' has 1 sets of endings for 12 stories"):
        halves(stories(groups=1))


TEXTS = EmotionTexts(
    {mood: tuple(f"{mood} {k}" for k in range(12)) for mood in MOODS},
    {"happy and sad": ("a b", "c d", "e f")},
    {"happy": ("yes", "oh", "ah"), "sad": ("no", "why", "ow")},
    tuple((f"text {k}", 1 + k % 5) for k in range(12)),
    ("own (a 12)",),
    ("own",),
    ("b.json",),
)
PAIRS = {mood: PairSet((PromptPair("", f"so {mood}", "so so"), PromptPair("", mood, "or")), mood) for mood in MOODS}


def test_a_dose_of_zero_is_the_baseline(model: Callable[[str], Model]) -> None:
    lm = model("qwen2")
    vector = torch.randn(lm.d_model, generator=torch.Generator().manual_seed(0))
    zero = added(Direction(vector, Site(1), name="x"), 0.0, 5.0)
    some = added(Direction(vector, Site(1), name="x"), 0.5, 5.0)
    assert some.interventions[0].alpha * float(vector.norm()) == pytest.approx(2.5)
    with Engine(lm) as engine:
        found = run(engine, [stories(3)], [BASELINE, zero, some])
    measures = {arm: [one.measures for one in found if one.arm == arm] for arm in ("Baseline", zero.name, some.name)}
    assert measures["Baseline"] == measures[zero.name] != measures[some.name]


def test_the_study_on_a_tiny_model(model: Callable[[str], Model], monkeypatch) -> None:
    monkeypatch.setattr(mood_steering, "NEUTRAL", 2)
    monkeypatch.setattr(mood_reading, "DRAWS", 20)
    said: list[tuple[int, int, str]] = []
    with Engine(model("qwen2")) as engine:
        study = run_moods(engine, TEXTS, stories(), PAIRS, tick=lambda *one: said.append(one))
        assert asked(engine.model, "a b").tokens[-1] == engine.model.encode("I feel")[-1]
    assert said[0] == (0, 100, study.cost) and {total for _, total, _ in said} == {100}
    assert [done for done, _, _ in said] == sorted(done for done, _, _ in said)
    assert f"{texts_scored(8, 1, (6, 6))} endings" in study.cost and "69 texts of" in study.cost
    assert study.sizes["sad"] == (6, 2, 4) and set(study.reading.found) == set(MOODS)
    assert len(study.steered) == 8
    for one in study.steered:
        assert len(one.random) == mood_steering.RANDOM and one.opposite.dose == -one.direction.dose < 0
        assert {r.dose for r in one.random} == {one.direction.dose}
        total = sum(lean.value for lean in one.direction.leans.values())
        assert total == pytest.approx(0, abs=1e-4)  # a lean is against the others
        assert sum(one.direction.shares.shares.values()) == pytest.approx(1)
    assert study.stories == "6 of 12 stories of stories" and study.rated is not None and study.rated.texts == 12
    assert [one.feeling for one in study.other] == ["happy", "sad", "happy", "sad"]
    printed = to_markdown(study)
    assert "moods --texts own`" in printed and "Passed over: b.json." in printed and printed.count("| random |") == 8
    assert printed.count("opposite sign") == 8 and "text 1" not in printed
    tables = [block.splitlines() for block in printed.split("\n\n") if block.startswith("| ")]
    assert len(tables) == 3 and all(len({line.count("|") for line in lines}) == 1 for lines in tables)


def test_what_cannot_be_studied_is_said_in_one_sentence(model: Callable[[str], Model]) -> None:
    with Engine(model("qwen2")) as engine, pytest.raises(ValueError, match="the texts are disgusted, surprised alone"):
        run_moods(engine, EmotionTexts({"disgusted": ("x",) * 12, "surprised": ("y",) * 12}), stories(), PAIRS)


def test_folders_of_texts_are_for_the_program_that_takes_them(monkeypatch, tmp_path: Path, capsys) -> None:
    assert evaluate.main(["moods", "--texts", str(tmp_path / "none")]) == 2
    assert "there is none at" in capsys.readouterr().err
    for name in ("steerability", "regulator"):
        assert evaluate.main([name, "--texts", str(tmp_path)]) == 2
        assert f"Folders of texts are for moods; {name} takes none." in capsys.readouterr().err
    program = registry.Program("x", "organism", lambda m, t: "without", lambda m, t, texts: f"with {texts[0].name}")
    monkeypatch.setitem(registry.PROGRAMS, "moods", program)
    for given, report in ((["--texts", str(tmp_path)], f"with {tmp_path.name}"), ([], "without")):
        assert evaluate.main(["moods", "--out", str(tmp_path / "out"), *given]) == 0
        assert (tmp_path / "out" / "report.md").read_text() == report
