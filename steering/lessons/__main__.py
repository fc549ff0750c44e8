"""`python -m steering.lessons make [LESSON ...] [--model NAME]`: compute the shipped results of lessons."""

from __future__ import annotations

import argparse
import sys

from ..engine.engine import Engine
from ..models.loading import load_model
from ..recipes.workbench import Workbench
from .address import own_address
from .lesson import bundled_lessons, read_lesson
from .made import make


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m steering.lessons", description=__doc__)
    parser.add_argument(
        "what",
        choices=["make", "check", "address"],
        help="make the results, only read the files, or say where a class finds this",
    )
    parser.add_argument("lessons", nargs="*", help="names or .toml files (default: all that ship)")
    parser.add_argument("--model", default="", help="only this model")
    chosen = parser.parse_args(arguments)
    if chosen.what == "address":
        print(own_address())
        return 0
    try:
        for name in chosen.lessons or bundled_lessons():
            for model in read_lesson(name).models:
                lesson = read_lesson(name, model)
                if chosen.what == "check" or chosen.model not in ("", model):
                    print(f"{lesson.name} on {model}: {len(lesson.steps)} steps, {lesson.minutes:g} minutes")
                    continue
                with Engine(load_model(model)) as engine:
                    print(make(lesson, Workbench(engine), print).name)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
