"""The data folder, and atomic writes: a kill leaves either the old file or the complete new one."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import platformdirs


def home() -> Path:
    """The data folder: TILLER_HOME, or "tiller" in the user's data directory."""
    chosen = os.environ.get("TILLER_HOME")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("tiller", appauthor=False))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically: at every moment either the old or the complete new one is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns()}.tmp")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files in the place of the one that is there: all of the new ones, or all of the old ones.

    Between the two renames there is none for a moment; a kill just then leaves the old one beside it, and the next call
    begins with putting that back.
    """
    beside, before = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    if before.is_dir() and not folder.exists():
        before.replace(folder)
    for left in (beside, before):
        shutil.rmtree(left, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        for name, data in files.items():
            write_atomically(beside / name, data)
        if folder.exists():
            folder.replace(before)
        beside.replace(folder)
    except BaseException:
        if before.is_dir() and not folder.exists():
            before.replace(folder)
        raise
    finally:
        for left in (beside, before):
            shutil.rmtree(left, ignore_errors=True)


def write_rows(path: Path, rows: Iterable[dict[str, object]]) -> int:
    """Write rows as a JSONL file, one object a line; return how many there were."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)
