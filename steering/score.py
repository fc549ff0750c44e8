"""`python -m steering.score FILE.jsonl`: scores answers that another program produced; a line out for each in.

A row has an item's fields (`prompt`, `true`, `truth`, `claimed`, `answers`, `harmful`, ...) and `text`. Out comes
{"stance": "agrees|denies|neither", "measures": {...}}. A line that cannot be read gives {"line": n, "error": "..."} in
its place; the others are scored all the same, and the command ends with status 1. `-` reads from standard input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .evaluations.scoring.agreement import report
from .evaluations.scoring.given import score_lines
from .evaluations.scoring.scorers import scorer
from .jobs.reading import decoded, read_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Score the file that the arguments name; return 0, 1 where lines could not be read, 2 where nothing could."""
    parser = argparse.ArgumentParser(
        prog="python -m steering.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", help="a .jsonl file, or - for standard input")
    parser.add_argument("--check", action="store_true", help="how often every scorer agrees with labeled answers")
    parser.add_argument("--scorer", help="one scorer for all rows, instead of the one that fits each row's labels")
    given = parser.parse_args(arguments)
    if given.check:
        print(report())
        return 0
    try:
        if not given.file:
            raise ValueError("Name a .jsonl file of answers, or - for standard input; --check needs none.")
        chosen = scorer(given.scorer) if given.scorer else None
        if chosen is not None and chosen.needs != "text":
            raise ValueError(f"The scorer {chosen.name!r} compares options by their log-probability; these are texts.")
        text = decoded(sys.stdin.buffer.read(), "standard input") if given.file == "-" else _text_of(Path(given.file))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    broken = lines = 0
    for one in score_lines(text, chosen):
        print(one, flush=True)
        lines += 1
        if one.error:
            broken += 1
            print(one.error, file=sys.stderr)
    if not lines:
        print(f"error: {given.file} has no lines; each is an object with an item's fields and 'text'.", file=sys.stderr)
        return 2
    return 1 if broken else 0


def _text_of(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"A file of answers is a .jsonl file; {str(path)!r} is none. Check the path.")
    return read_text(path)


if __name__ == "__main__":
    sys.exit(main())
