"""Data with known features, what is measured of a dictionary there, and the codes that are no superposition."""

import math
from dataclasses import replace

import pytest
import torch

from steering.jobs.checkpoint import Checkpoint
from steering.saes.making.losses import dictionary
from steering.saes.making.recipe import SaeRecipe
from steering.saes.making.trainer import Trainer
from steering.saes.truth import trial
from steering.saes.truth.polysemy import codes, measure_code
from steering.saes.truth.report import codes_table, curves_of, losses_table, mutual_table
from steering.saes.truth.trial import TruthExperiment, by, interval, run
from steering.saes.truth.world import SparseWorld, found, mean_max_cosine, true_share

WORLD = SparseWorld(width=16, features=40, active=3.0, groups=4, seed=1)


def test_samples_are_sums_of_the_known_features():
    x, values = WORLD.sample(500, torch.Generator().manual_seed(0))
    torch.testing.assert_close(x, values @ WORLD.dictionary)
    assert set((values[values > 0] * 0 + 1).tolist()) == {1.0} and float(values.max()) <= 1.5
    assert float(values[values > 0].min()) >= 0.5


def test_features_occur_as_often_as_said_and_groups_together():
    _, values = WORLD.sample(40_000, torch.Generator().manual_seed(0))
    occurs = (values > 0).float()
    torch.testing.assert_close(occurs.mean(0), WORLD.frequency, atol=0.01, rtol=0.05)
    assert float(occurs.sum(1).mean()) == pytest.approx(3.0, rel=0.05)
    together = torch.corrcoef(occurs.T)
    same = torch.arange(40)[:, None] % 4 == torch.arange(40)[None] % 4
    same.fill_diagonal_(False)
    others = ~same & ~torch.eye(40, dtype=torch.bool)
    assert float(together[same].mean()) > 0.05 > abs(float(together[others].mean())) * 3


def test_the_truth_finds_itself_and_half_of_it_finds_half():
    truth = WORLD.dictionary
    half = -truth
    half[:20] = truth[:20]
    assert mean_max_cosine(truth, truth[torch.randperm(40)]) == pytest.approx(1.0)
    assert found(truth, half) == true_share(half, truth) == 0.5
    assert (
        found(truth, truth[:1].repeat(40, 1)) == pytest.approx(1 / 40)
        and true_share(truth[:1].repeat(40, 1), truth) == 1.0
    )


def test_mistakes_in_a_world_are_sentences():
    mistakes = (({"active": 30.0}, "half"), ({"correlation": 1.0}, "below 1"), ({"groups": 0}, "groups"))
    for values, said in mistakes:
        with pytest.raises(ValueError, match=said):
            SparseWorld(features=40, **values)
    with pytest.raises(ValueError, match="does not know 'loss'"):
        TruthExperiment.parse("loss = 3")
    with pytest.raises(ValueError, match="Losses are"):
        TruthExperiment(losses=("L2",))


def test_an_interval_by_hand():
    # 1, 2, 3: deviation 1, Student's t for 2 degrees of freedom 4.3027.
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert mean == 2.0 and high - mean == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4) and mean - low == high - mean


def test_a_penalty_with_an_aim_lets_so_many_features_fire():
    train = WORLD.sample(4_000, torch.Generator().manual_seed(2))[0]
    reached = []
    for aim in (2.0, 6.0):
        recipe = SaeRecipe("standard", d_sae=40, samples=60_000, batch=100, learning_rate=3e-3, sparsity=0.1, aim=aim)
        trainer = Trainer(recipe, 16)
        seen: list[float] = []
        trainer.train(
            (train[i % 40 * 100 : i % 40 * 100 + 100] * 4 for i in range(600)),
            lambda done, total, shown, seen=seen: seen.append(shown["l0"]) if shown else None,
        )
        reached.append(seen[-1])
    assert reached == pytest.approx([2.0, 6.0], rel=0.2)


def test_no_training_begins_with_the_truth():
    for seed in range(3):
        world = SparseWorld(width=16, features=40, active=3.0, seed=seed)
        for begun in (0, seed, 100 * seed):
            assert found(world.dictionary, dictionary(SaeRecipe("topk", d_sae=40, k=2), 16, begun).W_dec.detach()) < 0.1


def test_an_aim_is_only_for_penalties():
    with pytest.raises(ValueError, match="k counts"):
        SaeRecipe("topk", aim=3.0)
    with pytest.raises(ValueError, match="to start from"):
        SaeRecipe("standard", aim=3.0, sparsity=0.0)


def test_codes_are_told_from_superposition():
    measured = {code.name: measure_code(code) for code in codes()}
    aligned, rotated, leveled, composed, superposed = measured.values()
    assert aligned.answers == 1 and all(other.answers > 1.5 for other in (rotated, leveled, composed, superposed))
    assert rotated.interference.max() < 1e-5 and rotated.alignment.max() < 0.99 and rotated.linear[-1] == 1.0
    assert leveled.interference.min() > 0.999 and leveled.linear[-1] < 0.2 and set(leveled.own) == {1.0}
    assert composed.rank == 7 and composed.linear == (1.0,) and composed.interference == pytest.approx(0.5)
    assert superposed.superposed and superposed.own[0] == 1.0 and superposed.own[-1] < 0.9 > superposed.linear[-1]
    assert not aligned.superposed and not rotated.superposed
    assert codes_table([(code, measured[code.name]) for code in codes()]).count("\n") == 6


def test_an_experiment_runs_whole_and_its_rows_are_joined():
    plan = TruthExperiment(
        world=WORLD, losses=("L1", "TopK"), l0=(2.0, 4.0), seeds=2, d_sae=40, samples=20_480, pool=2_000, group=2,
        mutual=(0.0, 0.5), mutual_l0=3.0, model_l0=(2.0,), model_d_sae=32, model_samples=4_096,
    )  # fmt: skip
    told = []
    train = WORLD.sample(1_500, torch.Generator().manual_seed(5))[0]
    result = run(plan, lambda *now: told.append(now), (train, train[:300]))
    assert len(result["losses"]) == 8 and len(result["mutual"]) == 4 and len(result["model"]) == 4
    joined = by(result["losses"], "loss", "wanted")
    values = [row["found"] for row in result["losses"] if row["loss"] == "TopK" and row["wanted"] == 2.0]
    assert joined["TopK", 2.0]["found"][0] == pytest.approx(sum(values) / 2) and len(values) == 2
    assert losses_table(result["losses"], [("found", "x")]).count("\n") == 5
    *_, plain, regularized, change = mutual_table(result["mutual"]).splitlines()
    assert plain.startswith("| 0 |") and regularized.startswith("| 0.5 |") and change.startswith("| 0.5 less 0 |")
    means = [float(line.split("|")[3].split()[0]) for line in (plain, regularized, change)]
    assert means[1] - means[0] == pytest.approx(means[2], abs=2e-3)  # of the true features found
    assert {name: len(points) for name, points in curves_of(result["losses"], "variance").items()} == {
        "L1": 2,
        "TopK": 2,
    }
    assert {what for what, _, _ in told} == {"losses", "mutual", "model"}


def test_a_stopped_experiment_goes_on_and_finds_the_same(tmp_path, monkeypatch):
    plan = TruthExperiment(
        world=WORLD, losses=("L1", "TopK"), l0=(2.0,), seeds=2, d_sae=40, samples=5_120, pool=1_000, group=2,
        mutual=(0.0, 0.5), mutual_l0=3.0,
    )  # fmt: skip
    whole = run(plan, lambda *_: None)
    trained = []
    original = trial.train_group

    def counted(train, recipe):
        if len(trained) == 5:
            raise KeyboardInterrupt
        trained.append(recipe)
        return original(train, recipe)

    monkeypatch.setattr(trial, "train_group", counted)
    with pytest.raises(KeyboardInterrupt):
        run(plan, lambda *_: None, kept=Checkpoint(tmp_path / "rows.jsonl"))
    monkeypatch.setattr(
        trial, "train_group", lambda train, recipe: (trained.append(recipe), original(train, recipe))[1]
    )
    assert str(run(plan, lambda *_: None, kept=Checkpoint(tmp_path / "rows.jsonl"))) == str(whole)
    assert len(trained) == len(set(map(repr, trained))) == 8  # nothing twice
    run(replace(plan, samples=6_144, seeds=3), lambda *_: None, kept=Checkpoint(tmp_path / "rows.jsonl"))
    assert len(trained) == 20  # another experiment takes nothing of it
