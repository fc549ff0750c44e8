"""`python -m benchmarks.real_experiments`: the experiments on the real chat model, as the end of EXPERIMENTS.md.

An experiment whose report is there (build/reports/NAME) is not done again; `--fresh` does all from nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from steering import experiments
from steering.checkpoints.bundled import CHAT_MODEL
from steering.experiments import __main__ as evaluate

HERE = Path(__file__).parent
MARK = "## On a real chat model"


def table(name: str, folder: Path, fresh: bool) -> str:
    """The report of a bundled experiment in Markdown, done now where there is none."""
    out = folder / name
    there = (out / "report.md").is_file() and not fresh
    if not there and evaluate.main([name, "--out", str(out), *(["--fresh"] if fresh else [])]):
        raise SystemExit(f"{name} could not be done.")
    if (out / "look.json").is_file():  # what Evaluate shows before anybody runs it
        (experiments.config.BUNDLED / f"{name}.look.json").write_bytes((out / "look.json").read_bytes())
    return (out / "report.md").read_text(encoding="utf-8")


def without_section(text: str, mark: str) -> tuple[str, str]:
    """What stands before a section of a Markdown text, and what stands after it, from the next one of its level on."""
    before, _, after = text.partition(mark)
    _, heading, rest = after.partition("\n## ")
    return before.rstrip(), heading.lstrip("\n") + rest


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_experiments", description=__doc__)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--reports", type=Path, default=HERE.parent / "build" / "reports")
    given = parser.parse_args()
    names = [name for name in experiments.bundled() if experiments.read(name).model == CHAT_MODEL]
    path = HERE / "EXPERIMENTS.md"
    head, rest = without_section(path.read_text(encoding="utf-8"), MARK)
    said = (
        "`python -m benchmarks.real_experiments`. SmolLM2-135M-Instruct, matrix products in bfloat16. Claims are read "
        "by preference: the log-probability a token of the true against the false statement, after the claim. What is "
        'chosen is chosen on the set "chosen on", which shares no fact with the others. Verdicts count all '
        "comparisons of a report."
    )
    parts = [head, "", MARK, "", said, "", *(table(name, given.reports, given.fresh) for name in names), rest]
    path.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {path.name}: {', '.join(names)}")


if __name__ == "__main__":
    main()
