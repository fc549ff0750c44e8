"""Reports: an experiment's result as one HTML file, as Markdown and CSV, and as a notebook that repeats it."""

from __future__ import annotations

import json
from dataclasses import asdict

from ..jobs.tables import to_csv
from . import Result
from .first_look import first_look
from .report_page import PAPER, to_html
from .report_words import (
    chance,
    command,
    costs,
    findings,
    guessing,
    how_read,
    inattentive,
    interval,
    kind_of,
    measures_of,
    named_arm,
    notebook,
    rows,
    rule,
    sentence,
    sets_of,
    smallest,
    summary,
    tally,
    test_of,
    to_markdown,
    trials,
    unreadable,
    with_values,
)

__all__ = [
    "PAPER",
    "chance",
    "command",
    "costs",
    "files",
    "findings",
    "guessing",
    "how_read",
    "inattentive",
    "interval",
    "kind_of",
    "measures_of",
    "named_arm",
    "notebook",
    "rows",
    "rule",
    "sentence",
    "sets_of",
    "smallest",
    "summary",
    "tally",
    "test_of",
    "to_html",
    "to_markdown",
    "trials",
    "unreadable",
    "with_values",
]


def files(result: Result) -> dict[str, bytes]:
    """Everything of a report by file name: the page, both tables, the notebook, and the numbers as JSON."""
    numbers = {
        "about": dict(result.about),
        "table": result.table.rows(),
        "overlaps": [asdict(one) for one in result.overlaps],
        "warnings": list(result.warnings),
        "spillovers": {name: asdict(one) for name, one in result.spillovers.items()},
        "side_effects": [asdict(one) for one in result.side_effects],
        "calibration": [asdict(one) | {"tau": one.tau} for one in result.calibrated],
        "seconds": result.seconds,
    }
    look = first_look(result)
    return {
        "report.html": to_html(result).encode("utf-8", "replace"),
        "report.md": to_markdown(result).encode("utf-8", "replace"),
        "table.csv": to_csv(summary(result)),
        "trials.csv": to_csv(trials(result)),
        "experiment.toml": result.experiment.text.encode(),
        "again.ipynb": notebook(result).encode(),
        "numbers.json": json.dumps(numbers, indent=1, default=str).encode(),
        **({"look.json": json.dumps(look.plain()).encode()} if look is not None else {}),
    }
