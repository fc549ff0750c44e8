"""A sweep whose process is killed in the middle: the same command goes on and gives the same table."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
SCRIPT = """
    import sys, time
    from pathlib import Path
    import torch
    import steering as t
    from steering import evaluations as ev
    from steering.evaluations.sweeps import Grid, sweep

    checkpoint, table, pause = Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
    lm = t.load_model(sys.argv[1])
    words = ("the cat", "a dog", "one bird", "two trees")
    choice = ev.Item("the king", options=(" yes", " no"), matching=(1,))
    sets = [
        ev.EvaluationSet(tuple(map(ev.Item, words)), ev.scorer("rule: a"), "open"),
        ev.EvaluationSet((choice,), ev.scorer("forced_choice"), "choice"),
    ]
    grid = Grid({"layer": [0, 1], "alpha": [-2.0, 0.0, 2.0], "seed": [0, 1]})

    def make(layer, alpha):
        v = torch.randn(lm.d_model, generator=torch.Generator().manual_seed(layer))
        return [t.ActivationAddition(t.Direction(v, t.Site(layer)), alpha)]

    with t.Engine(lm) as engine:
        found = sweep(
            engine, make, grid, sets, ev.Settings(max_new_tokens=8, temperature=1.0, in_flight=6),
            checkpoint=checkpoint, tick=lambda *_: time.sleep(pause),
        )
        found.trials().to_json(table)
        print("decoded", engine.decoded_rows)
"""


def start(script: Path, model: Path, checkpoint: Path, table: Path, pause: float) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(model), str(checkpoint), str(table), str(pause)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_sweep_killed_in_the_middle_gives_the_same_table(tmp_path: Path, checkpoint: Callable[[str], Path]) -> None:
    script, model = tmp_path / "sweep.py", checkpoint("llama")
    script.write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    kept = tmp_path / "sweep.jsonl"
    killed = start(script, model, kept, tmp_path / "never.json", 0.3)
    deadline = time.monotonic() + 120
    while not kept.exists() or len(kept.read_bytes().splitlines()) < 20:
        assert killed.poll() is None and time.monotonic() < deadline, "the sweep was over before it could be killed"
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(30) == -signal.SIGKILL and not (tmp_path / "never.json").exists()
    done = len(kept.read_bytes().splitlines())
    resumed = start(script, model, kept, tmp_path / "resumed.json", 0.0)
    whole = start(script, model, tmp_path / "other.jsonl", tmp_path / "whole.json", 0.0)
    rows = [int(one.communicate(timeout=240)[0].split()[-1]) for one in (resumed, whole)]
    assert resumed.returncode == whole.returncode == 0
    tables = [pd.read_json(tmp_path / name) for name in ("resumed.json", "whole.json")]
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) == (12 + 2) * 5 and 20 <= done < 70
    assert rows[0] < rows[1]  # what was there was not decoded again
