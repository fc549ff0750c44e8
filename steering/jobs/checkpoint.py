"""A checkpoint: finished outcomes as lines of JSON, so that a killed run can be continued."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class Checkpoint:
    """Outcomes by key in a JSONL file; a line that a kill cut in two is ignored, so that outcome is computed again."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._known: dict[str, dict[str, Any]] = {}
        if path is not None and path.is_file():
            self._read(path)

    def _read(self, path: Path) -> None:
        whole = 0
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                try:
                    entry = json.loads(line)
                    self._known[str(entry.pop("key"))] = entry
                except (ValueError, KeyError, AttributeError):
                    continue  # torn in an earlier kill, before other lines were added
        if whole < path.stat().st_size:
            with path.open("r+b") as file:  # the next line must not be glued to the torn one
                file.truncate(whole)

    def get(self, key: str) -> dict[str, Any] | None:
        """The outcome of a key, or None."""
        return self._known.get(key)

    def add(self, entries: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Add entries and flush them to the disk before returning."""
        lines = []
        for key, entry in entries:
            self._known[key] = dict(entry)
            lines.append(json.dumps({"key": key, **entry}, ensure_ascii=False, allow_nan=True))
        if self.path is None or not lines:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write("".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass"))
            file.flush()
            os.fsync(file.fileno())

    def __len__(self) -> int:
        return len(self._known)
