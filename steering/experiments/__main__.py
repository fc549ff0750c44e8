"""`python -m steering.evaluate CONFIG`: an experiment from a TOML file to a report, without a browser.

A run that is stopped or killed goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# Before torch is imported: a waiting thread must not spin on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from .. import experiments
from ..jobs.checkpoint import Checkpoint
from ..models.loading import load_model
from . import report as reports
from .programs.registry import PROGRAMS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment that the arguments name; return 0, or 2 after a user's mistake, reported in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m steering.evaluate", description=__doc__)
    parser.add_argument("config", nargs="?", help="a .toml file or the name of a bundled experiment")
    parser.add_argument("--list", action="store_true", help="the bundled experiments")
    parser.add_argument("--out", type=Path, help="folder for the report (default: build/reports/NAME)")
    parser.add_argument("--model", help="another model than the file's")
    parser.add_argument("--fresh", action="store_true", help="do not go on with an earlier run")
    parser.add_argument(
        "--texts", type=Path, nargs="+", metavar="FOLDER", help="folders of texts, for an experiment that takes them"
    )
    parser.add_argument("--threads", type=int, help="threads of torch")
    given = parser.parse_args(arguments)
    try:
        if given.list or not given.config:
            for name in experiments.bundled():
                print(f"{name}: {experiments.read(name).title}")
            for name, study in PROGRAMS.items():
                print(f"{name}: {study.title}")
            return 0
        if given.config in PROGRAMS:
            studied(given)
            return 0
        if given.texts:
            raise ValueError(f"Folders of texts are for {_taking_texts()}; {given.config} takes none.")
        result = perform(given)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from here.", file=sys.stderr)
        return 130
    for line in (*(f"Note: {one}" for one in result.warnings), *reports.findings(result)):
        print(line)
    return 0


def perform(given: argparse.Namespace) -> experiments.Result:
    """The result of the experiment, after writing its report."""
    experiment = experiments.read(given.config)
    out = given.out or Path("build") / "reports" / experiment.name
    path = out / "outcomes.jsonl"
    if given.fresh:
        path.unlink(missing_ok=True)
    lm = load_model(given.model or experiment.model, threads=given.threads, products=experiment.products)
    result = experiments.run_experiment(experiment, lm, checkpoint=Checkpoint(path), tick=progress())
    print(file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)
    for name, data in reports.files(result).items():
        (out / name).write_bytes(data)
    print(f"{result.took}; report: {out / 'report.html'}")
    return result


def studied(given: argparse.Namespace) -> None:
    """Run an experiment that is a program, write its report and print it."""
    study = PROGRAMS[given.config]
    out = given.out or Path("build") / "reports" / given.config
    model = given.model or study.model
    if not given.texts:
        report = study.perform(model, progress())
    elif study.with_texts is not None:
        report = study.with_texts(model, progress(), given.texts)
    else:
        raise ValueError(f"Folders of texts are for {_taking_texts()}; {given.config} takes none.")
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text(report, encoding="utf-8")
    print(f"\n{report}\nreport: {out / 'report.md'}")


def _taking_texts() -> str:
    return ", ".join(name for name, study in PROGRAMS.items() if study.with_texts is not None)


def progress() -> experiments.performing.Tick:
    """A function that writes how far the run is, on one line of the error stream."""
    start, shown = time.monotonic(), 0.0

    def tick(done: int, total: int, note: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown > 0.5 or done == total:
            shown = now
            share = f"{done}/{total} " if total else ""
            print(f"\r{share}{note}, {now - start:.0f} s".ljust(70), end="", file=sys.stderr, flush=True)

    return tick


if __name__ == "__main__":
    sys.exit(main())
