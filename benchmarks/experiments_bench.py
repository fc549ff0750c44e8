"""`python -m benchmarks.experiments_bench`: the bundled experiments, timed, and what they measured, as EXPERIMENTS.md.

The regulator's experiment is run from nothing and timed as a whole; a sample of its rows is decoded in full batches and
one at a time, interleaved. `--programs` does the experiments that are programs and puts their tables in their places.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from steering import experiments
from steering.engine.engine import Engine
from steering.engine.requests import Request
from steering.evaluations import Checkpoint
from steering.evaluations.trials import Trial, plan, prompt_of
from steering.experiments import Result, Workshop
from steering.experiments import __main__ as evaluate
from steering.experiments import report as reports
from steering.experiments.programs.registry import PROGRAMS
from steering.models.loading import load_model
from steering.models.model import Model
from steering.saes.loading import load_sae

from .machine import load

HERE = Path(__file__).parent
SAMPLE = 384
AIM_SECONDS, AIM_RATIO = 300, 4
# Programs whose tables are theirs alone; those of `unlabeled` are discover_bench's, on both models.
NAMES = [name for name in PROGRAMS if name != "unlabeled"]


def requests(lm: Model, workshop: Workshop) -> list[Request]:
    """A sample of the experiment's rows as it decodes them: all arms of items that are drawn over its sets."""
    settings = workshop.settings
    sets = [workshop.set(spec) for spec in workshop.experiment.data["sets"]]
    arms = workshop.arms()
    whole = plan(lm, sets, arms, settings)
    starts = random.Random(0).sample(range(0, len(whole), len(arms)), max(1, SAMPLE // len(arms)))
    trials: list[Trial] = [trial for start in starts for trial in whole[start : start + len(arms)]]
    return [
        Request(
            prompt_of(lm, trial, None), trial.arm.interventions, max_new_tokens=settings.max_new_tokens,
            top_alternatives=0,
        )
        for trial in trials
    ]  # fmt: skip


def batched(lm: Model, rows: Sequence[Request]) -> float:
    """Seconds for all rows together, on a fresh engine that remembers nothing."""
    with contextlib.closing(Engine(lm)) as engine:
        start = time.perf_counter()
        for handle in engine.submit_all(rows):
            handle.result()
        return time.perf_counter() - start


def alone(lm: Model, rows: Sequence[Request]) -> float:
    """Seconds for the same rows, each begun when the one before is done."""
    with contextlib.closing(Engine(lm)) as engine:
        start = time.perf_counter()
        for row in rows:
            engine.submit(row).result()
        return time.perf_counter() - start


def whole(name: str) -> Result:
    """The result of a bundled experiment done from nothing, with its report in build/reports."""
    experiment = experiments.read(name)
    out = HERE.parent / "build" / "reports" / name
    (out / "outcomes.jsonl").unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Engine(load_model(experiment.model))) as engine:
        checkpoint = Checkpoint(out / "outcomes.jsonl")
        result = experiments.perform(experiment, engine, checkpoint=checkpoint, tick=evaluate.progress())
    print(file=sys.stderr)
    for file, data in reports.files(result).items():
        (out / file).write_bytes(data)
    return result


def with_report(text: str, made: str) -> str:
    """A Markdown text with a report under "###" in the place of the one with its heading, or at the end."""
    heading = made.partition("\n")[0] + "\n"
    before, there, after = text.partition(heading)
    if not there:
        return f"{text.rstrip()}\n\n{made}"
    ends = [at for mark in ("\n### ", "\n## ") if (at := after.find(mark)) >= 0]
    return f"{before}{made.rstrip()}\n{after[min(ends) :] if ends else ''}"


def main() -> None:
    """Measures, prints, and writes the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments_bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "EXPERIMENTS.md")
    parser.add_argument("--programs", nargs="*", help="instead the experiments that are programs, all or those named")
    given = parser.parse_args()
    old = given.out.read_text(encoding="utf-8") if given.out.is_file() else ""
    if given.programs is not None:
        for name in given.programs or NAMES:
            started, study = time.perf_counter(), PROGRAMS[name]
            old = with_report(old, study.perform(study.model, evaluate.progress()))
            given.out.write_text(old, encoding="utf-8")
            print(f"\n{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        return
    before = load()
    regulator = whole("regulator")
    lm = load_model("organism")
    with contextlib.closing(Engine(lm)) as engine:
        named = regulator.experiment.data["sae"]
        workshop = Workshop(regulator.experiment, engine, load_sae(lm, named["release"], named["id"]))
        rows = requests(lm, workshop)
    pairs = [(batched(lm, rows), alone(lm, rows)) for _ in range(given.repeats)]
    ratio = statistics.median(b / a for a, b in pairs)
    together, apart = (statistics.median(side) for side in zip(*pairs, strict=True))
    answers, seconds = len(regulator.outcomes), regulator.seconds
    found = [
        "# The bundled experiments, measured",
        "",
        f"`python -m benchmarks.experiments_bench`, {torch.get_num_threads()} thread; load average {before} before, "
        f"{load()} after.",
        "",
        "| what | measured | aim |",
        "| --- | --- | --- |",
        f"| the regulator's experiment from nothing: {answers} answers, tables, report's numbers | {seconds:.0f} s "
        f"| under {AIM_SECONDS} s |",
        f"| {len(rows)} of its rows (all arms of some items) in full batches | {together:.2f} s | |",
        f"| the same rows one at a time | {apart:.2f} s | |",
        f"| ratio, median of {given.repeats} interleaved pairs | {ratio:.1f} | at least {AIM_RATIO} |",
        "",
        reports.to_markdown(regulator),
        reports.to_markdown(whole("sara")),
    ]
    _, mark, rest = old.partition("\n## ")  # what other commands and hands wrote below is kept
    given.out.write_text("\n".join(found).rstrip() + "\n" + mark + rest, encoding="utf-8")
    print(f"{seconds:.0f} s for {answers} answers; {ratio:.1f} times faster than one at a time; wrote {given.out.name}")


if __name__ == "__main__":
    main()
