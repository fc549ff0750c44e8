"""`python -m steering.library`: what the data folder holds, its limit, and `clean` for what can be made again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..checkpoints.memory import size
from ..jobs.files import home
from . import space


def main(arguments: Sequence[str] | None = None) -> int:
    """Shows or cleans the data folder; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m steering.library", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("show", "clean"), default="show")
    parser.add_argument(
        "parts", nargs="*", metavar="part", help=f"of clean: {', '.join(space.REMAKEABLE)}; all if none"
    )
    given = parser.parse_args(arguments)
    try:
        if given.command == "clean":
            for name in given.parts or space.REMAKEABLE:
                print(f"{name}: {size(space.clean(name))} freed")
        limit = space.limit_bytes()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{home()}, at most {size(limit)} ({space.LIMIT_VARIABLE})")
    for part in space.parts():
        kept = "can be made again" if part.remakeable else "kept"
        print(f"  {part.name or '.':<14}{size(part.bytes):>12}  {part.what} ({kept})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
