"""The rows of a data file, whatever its format: JSON lines, JSON, CSV with or without a header, SARA's texts."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

from . import prose

MAX_BYTES = 50_000_000
FORMATS = ("jsonl", "json", "csv", "tsv", "txt")


class Record(NamedTuple):
    """A row of a file, and where it stands there."""

    where: str
    values: dict[str, Any]


def records(data: bytes | str, format: str) -> list[Record]:
    """The rows of a file's text; a CSV without a header gets its columns' numbers as names.

    Raises:
        ValueError: another format, too large, no UTF-8, or a broken row, by its line.
    """
    format = format.lower().lstrip(".")
    if format not in FORMATS:
        raise ValueError(f"Evaluation sets come as one of {', '.join('.' + f for f in FORMATS)}; got {format!r}.")
    if len(data) > MAX_BYTES:
        raise ValueError(f"A file may have {MAX_BYTES // 10**6} MB; this one has {len(data) / 1e6:.0f}.")
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8-sig")  # spreadsheets write a byte-order mark
        except UnicodeDecodeError as error:
            raise ValueError(f"Evaluation sets are UTF-8 text; byte {error.start} of this file is not.") from error
    found = {"jsonl": _jsonl, "json": _json, "csv": _csv, "tsv": _csv, "txt": _txt}[format](data.removeprefix("\ufeff"))
    if not found:
        raise ValueError("An evaluation set holds at least one row; this file has none.")
    return found


def read_file(path: Path) -> list[Record]:
    """The rows of a file on disk."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"A file may have {MAX_BYTES // 10**6} MB; {path.name} is larger.")
    return records(path.read_bytes(), path.suffix)


def _jsonl(text: str) -> list[Record]:
    lines = enumerate(text.split("\n"), start=1)  # not splitlines: a JSON text may hold U+2028
    return [_object(f"Line {number}", _decoded(line, f"Line {number}")) for number, line in lines if line.strip()]


def _json(text: str) -> list[Record]:
    rows = _decoded(text, "The file")
    if isinstance(rows, dict):  # {"data": [...]}, {"examples": [...]} and the like
        lists = [value for value in rows.values() if isinstance(value, list) and value]
        rows = lists[0] if len(lists) == 1 else rows
    if not isinstance(rows, list):
        raise ValueError("A .json evaluation set is a list of objects; this one is not.")
    return [_object(f"Item {number}", row) for number, row in enumerate(rows, start=1)]


def _object(where: str, row: Any) -> Record:
    if isinstance(row, str):  # a list of plain prompts
        row = {"prompt": row}
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected an object with named columns; got {str(row)[:60]!r}.")
    return Record(where, row)


def _decoded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at = f"Line {error.lineno}" if where == "The file" else where
        raise ValueError(f"{at}: expected JSON ({error.msg}); got {text[:60]!r}.") from error
    except RecursionError as error:
        raise ValueError(f"{where}: JSON nested too deeply.") from error


def _csv(text: str) -> list[Record]:
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)  # spreadsheets of many countries write semicolons
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[Record] = []
    names: list[str] | None = None
    try:
        for row in reader:
            where = f"Line {reader.line_num}"
            if not any(row):
                continue
            if names is None:
                names = _header(row)
                if names is not None:
                    continue
                names = [str(k) for k in range(len(row))]
            if len(row) > len(names):
                raise ValueError(
                    f"{where}: the first row has {len(names)} columns; got {len(row)}. Put a text that holds a "
                    "delimiter in double quotes."
                )
            found.append(Record(where, dict(zip(names, row, strict=False))))
    except csv.Error as error:
        raise ValueError(f"Line {reader.line_num}: not a CSV row ({error}).") from error
    return found


def _header(row: list[str]) -> list[str] | None:
    """The names of the columns, or None when the first row is data: MMLU's rows end with a letter."""
    if len(row) == 6 and row[-1].strip() in ("A", "B", "C", "D"):
        return None
    names = [name.strip() for name in row]
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(f"Line 1: every column has a name of its own; got {', '.join(names)}.")
    return names


def _txt(text: str) -> list[Record]:
    return [Record(where, values) for where, values in prose.rows(text)]
