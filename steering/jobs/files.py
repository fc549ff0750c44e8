"""The data folder, and atomic writes: a kill leaves either the old file or the complete new one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
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


def write_rows(path: Path, rows: Iterable[dict[str, object]]) -> int:
    """Write rows as a JSONL file, one object a line; return how many there were."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)
