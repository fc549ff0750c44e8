"""Results of a lesson's own settings, made once and shipped, so that a class need not wait for a model.

`python -m steering.lessons make [LESSON ...]` makes them anew; one file a lesson and model, in `assets/lessons/made`.
A result is found by the piece's data: a piece whose settings were edited has none until it is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lesson import Lesson
from .pieces import Piece
from .reading import read

if TYPE_CHECKING:
    from ..recipes.workbench import Workbench

MAX_BYTES = 5_000_000


def key_of(piece: Piece) -> str:
    """The name of a piece's result: a hash of its settings."""
    return hashlib.sha256(json.dumps(piece.data(), sort_keys=True).encode()).hexdigest()[:16]


def file_of(lesson: Lesson) -> Path:
    return lesson.folder / "made" / f"{lesson.name}.{lesson.model}.json"


def made(lesson: Lesson, piece: Piece) -> dict[str, Any] | None:
    """The shipped result of a piece, or None where there is none for just these settings."""
    file = file_of(lesson)
    if not file.is_file() or file.stat().st_size > MAX_BYTES:
        return None
    return _read(file, file.stat().st_mtime_ns).get(key_of(piece))


@lru_cache(maxsize=16)
def _read(file: Path, changed: int) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["results"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def make(lesson: Lesson, bench: Workbench, say: Callable[[str], None] = lambda line: None) -> Path:
    """Compute every piece of a lesson on a model and write the file of its results.

    Raises:
        ValueError: the model is not the lesson's, or an edit did not arrive in the model.
    """
    if bench.lm.name != lesson.model:
        raise ValueError(f"These results are of {lesson.model}; the model here is {bench.lm.name}.")
    results: dict[str, Any] = {}
    for number, step in enumerate(lesson.steps, start=1):
        for piece in step.pieces:
            if piece.needs_model and key_of(piece) not in results:
                say(f"{lesson.name} on {lesson.model}, step {number}: {piece.kind}")
                found = read(bench, piece)
                if not found.get("agree", True):
                    raise ValueError(f"{lesson.name}, step {number}: an edit did not arrive in the model.")
                results[key_of(piece)] = found
    file = file_of(lesson)
    file.parent.mkdir(parents=True, exist_ok=True)
    about = {"model": bench.lm.identity, "results": results}
    file.write_text(json.dumps(about, ensure_ascii=False, sort_keys=True), encoding="utf-8")
    return file
