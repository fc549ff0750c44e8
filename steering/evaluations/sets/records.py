"""The rows of a data file, whatever its format: JSON lines, JSON, CSV with or without a header, SARA's texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ...jobs import tables
from ...jobs.reading import bounded, decoded, located
from . import prose

MAX_BYTES = 50_000_000
FORMATS = (*tables.FORMATS, "txt")


class Record(NamedTuple):
    """A row of a file, and where it stands there."""

    where: str
    values: dict[str, Any]


def records(data: bytes | str, suffix: str, file: str = "") -> list[Record]:
    """The rows of a file's content; a CSV without a header gets its columns' numbers as names.

    Args:
        file: the file's name, for the messages.

    Raises:
        ValueError: another format, too large, no text, or a broken row, by its line.
    """
    suffix = suffix.lower().lstrip(".")
    if suffix not in FORMATS:
        raise ValueError(f"Evaluation sets come as one of {', '.join('.' + f for f in FORMATS)}; got {suffix!r}.")
    if suffix == "txt":
        text = decoded(data, file, MAX_BYTES) if isinstance(data, bytes) else data.removeprefix("\ufeff")
        found = [Record(where, values) for where, values in prose.rows(text)]
    else:
        rows = tables.table_rows(data, suffix, name=file, limit=MAX_BYTES, unnamed=_is_data)
        found = [_object(located(file, where), row) for where, row in rows]
    if not found:
        raise ValueError(f"An evaluation set holds at least one row; {file or 'this file'} has none.")
    return found


def read_file(path: Path) -> list[Record]:
    """The rows of a file on disk."""
    return records(bounded(path, MAX_BYTES), path.suffix, path.name)


def _object(where: str, row: Any) -> Record:
    if isinstance(row, str):  # a list of plain prompts
        row = {"prompt": row}
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected an object with named columns; got {str(row)[:60]!r}.")
    return Record(where, row)


def _is_data(row: list[str]) -> bool:
    """Whether the first row of a CSV is data already: MMLU's rows end with a letter."""
    return len(row) == 6 and row[-1].strip() in ("A", "B", "C", "D")
