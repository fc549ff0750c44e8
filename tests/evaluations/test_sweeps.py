"""Sweeps: a killed one gives the same table, and the grid by teacher forcing is what scoring gives cell by cell."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from steering import evaluations as ev
from steering.directions.direction import Direction
from steering.engine.engine import Engine
from steering.evaluations.sweeps import Grid, forced_grid, label, sweep, to_files, to_parquet
from steering.interventions import ActivationAddition, DirectionalAblation, Intervention
from steering.jobs.tables import to_csv
from steering.measurements.numbers import kl_divergence
from steering.models.model import Model
from steering.sites import Site

SETS = [
    ev.EvaluationSet(tuple(ev.Item(w) for w in ("the cat", "a dog", "one bird")), ev.scorer("rule: a"), "open"),
    ev.EvaluationSet(
        (ev.Item("the king", options=(" yes", " no"), matching=(1,)),), ev.scorer("forced_choice"), "choice"
    ),
]
SETTINGS = ev.Settings(max_new_tokens=6, temperature=1.0, in_flight=6)
GRID = Grid({"layer": [0, 1], "alpha": [-1.0, 0.0, 1.0], "seed": [0, 1]})


@pytest.fixture(scope="module")
def engine(tiny_llama: Model) -> Iterator[Engine]:
    with Engine(tiny_llama) as made:
        yield made


def add(layer: int, alpha: float) -> list[Intervention]:
    v = torch.randn(32, generator=torch.Generator().manual_seed(layer))
    return [ActivationAddition(Direction(v, Site(layer)), alpha)]


@pytest.fixture(scope="module", autouse=True)
def width(tiny_llama: Model) -> None:
    assert tiny_llama.d_model == 32


def test_a_grid_is_every_combination_in_order() -> None:
    assert len(GRID) == 12
    assert [label(point) for point in GRID.points()][:3] == [
        "layer 0, alpha -1, seed 0",
        "layer 0, alpha -1, seed 1",
        "layer 0, alpha 0, seed 0",
    ]
    for axes, said in (
        ({"alpha": []}, "'alpha' has"),
        ({"alpha": "123"}, "An axis is a list"),
        ({"alpha": [1.0, 1.0]}, "values of an axis differ"),
        ({"a": range(100), "b": range(100)}, "at most 5000 points; this one has 10000"),
    ):
        with pytest.raises(ValueError, match=said):
            Grid(axes)
    with pytest.raises(ValueError, match="layer 0, strength nan: alpha is a finite number"):
        Grid({"layer": [0], "strength": [float("nan")]}).arms(lambda layer, strength: add(layer, strength))


class Killed(Exception):
    pass


def test_a_killed_sweep_resumes_to_the_same_table(engine: Engine, tmp_path: Path) -> None:
    whole = sweep(engine, add, GRID, SETS, SETTINGS)
    path, calls = tmp_path / "sweep.jsonl", []

    def kill(done: int, total: int, note: str) -> None:
        calls.append(done)
        if done > 0.4 * total:
            raise Killed

    with pytest.raises(Killed):
        sweep(engine, add, GRID, SETS, SETTINGS, checkpoint=path, tick=kill)
    path.write_bytes(path.read_bytes()[:-7])  # the last line was being written
    before = engine.decoded_rows
    resumed = sweep(engine, add, GRID, SETS, SETTINGS, checkpoint=path)
    pd.testing.assert_frame_equal(resumed.trials(), whole.trials())
    pd.testing.assert_frame_equal(resumed.summary(), whole.summary())
    assert engine.decoded_rows - before < len(whole.outcomes)
    assert len(whole.outcomes) == (12 + 2) * (3 + 1)


def test_the_table_says_what_was_varied_and_strength_zero_is_the_baseline(engine: Engine) -> None:
    found = sweep(engine, add, GRID, SETS, SETTINGS)
    table = found.summary()
    assert {"layer", "alpha", "seed", "items", "matches", "p_match", "repetition"} <= set(table.columns)
    trials = found.trials()
    texts = {name: part["text"].tolist() for name, part in trials[trials["set"] == "open"].groupby("arm")}
    assert texts["layer 0, alpha 0, seed 0"] == texts["Baseline"] != texts["layer 0, alpha 1, seed 0"]
    assert texts["layer 1, alpha 0, seed 1"] == texts["Baseline, seed 1"] != texts["Baseline"]
    steered = table[(table["arm"] == "layer 1, alpha 1, seed 0") & (table["set"] == "open")]
    assert int(steered["items"].iloc[0]) == 3


def test_a_grid_for_each_method(engine: Engine) -> None:
    def make(method: str, layer: int = 0, alpha: float = 0.0) -> list[Intervention]:
        return [DirectionalAblation(add(0, 1.0)[0].direction)] if method == "ablate" else add(layer, alpha)  # type: ignore[attr-defined]

    both = [Grid({"method": ["add"], "layer": [0, 1], "alpha": [1.0], "seed": [0, 1]}), Grid({"method": ["ablate"]})]
    found = sweep(engine, make, both, SETS, SETTINGS)
    assert [arm.name for arm in found.arms] == [
        "Baseline", "Baseline, seed 1", "method add, layer 0, alpha 1, seed 0", "method add, layer 0, alpha 1, seed 1",
        "method add, layer 1, alpha 1, seed 0", "method add, layer 1, alpha 1, seed 1", "method ablate",
    ]  # fmt: skip
    files = to_files(found)
    assert sorted(files) == ["grid.csv", "grid.parquet", "trials.csv", "trials.parquet"]
    assert len(pd.read_parquet(io.BytesIO(files["trials.parquet"]))) == len(found.outcomes)


def test_exports_read_back_and_run_nothing(engine: Engine) -> None:
    table = sweep(engine, add, Grid({"layer": [0], "alpha": [1.0]}), SETS, SETTINGS).summary()
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(to_parquet(table))), table)
    back = pd.read_csv(io.BytesIO(to_csv(table)))
    assert back["repetition"].tolist() == pytest.approx(table["repetition"].tolist(), nan_ok=True)
    nasty = to_csv(pd.DataFrame({"text": ["=1+1", "@x", "fine", "-2"], "n": [-1, 2, 3, 4]})).decode()
    assert nasty.splitlines() == ["text,n", "'=1+1,-1", "'@x,2", "fine,3", "'-2,4"]


def test_the_forced_grid_is_what_scoring_gives(engine: Engine) -> None:
    prompts = ["the cat", "one bird and the king"]
    found = forced_grid(engine, prompts, " a dog", add, [0, 1], [-1.0, 0.0, 2.0])
    assert [row[1] for row in found.change] == [0.0, 0.0] and [row[1] for row in found.kl] == [0.0, 0.0]
    for i, layer in enumerate((0, 1)):
        for j, alpha in ((0, -1.0), (2, 2.0)):
            both = engine.score_all([(p, " a dog", v) for v in ((), tuple(add(layer, alpha))) for p in prompts])
            totals = [sum(one) for one in both]
            by_hand = (totals[2] + totals[3] - totals[0] - totals[1]) / 2
            assert found.change[i][j] == pytest.approx(by_hand, abs=1e-4)
            assert found.kl[i][j] > 0
    assert found.baseline == pytest.approx(sum(sum(one) for one in both[:2]) / 2, abs=1e-4)


def test_the_kl_of_a_cell_by_hand(engine: Engine) -> None:
    lm = engine.model
    tokens, targets = lm.tokens("the cat"), lm.tokenizer.encode(" a", add_special_tokens=False)
    v = add(1, 1.0)[0].direction.vector  # type: ignore[attr-defined]
    mask = torch.ones(len(tokens) + len(targets), 1)
    mask[0] = float(tokens[0] != lm.tokenizer.bos_token_id)
    with torch.no_grad():
        clean = lm.forward(torch.tensor([tokens + targets]))
        steered = lm.forward(torch.tensor([tokens + targets]), hooks={Site(1): lambda h: h + mask * v})
    at = slice(-len(targets) - 1, -1)
    expected = float(kl_divergence(clean[0, at], steered[0, at]).mean())
    assert forced_grid(engine, ["the cat"], " a", add, [1], [1.0]).kl[0][0] == pytest.approx(expected, rel=1e-3)


def test_the_forced_grid_in_small_batches(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def grid() -> object:
        return forced_grid(engine, ["the cat", "a"], " dog", lambda layer, s: ablate(layer), [0, 1], [1])

    def ablate(layer: int) -> list[Intervention]:
        return [DirectionalAblation(add(layer, 1.0)[0].direction)]  # type: ignore[attr-defined]

    whole = grid()
    monkeypatch.setattr("steering.engine.scoring.LOGIT_BYTES", 1)
    alone = grid()
    for a, b in zip((*whole.change, *whole.kl), (*alone.change, *alone.kl), strict=True):  # type: ignore[attr-defined]
        assert a == pytest.approx(b, abs=1e-5)
    with pytest.raises(ValueError, match="at least one prompt and a target"):
        forced_grid(engine, ["the cat"], "", add, [0], [1.0])
