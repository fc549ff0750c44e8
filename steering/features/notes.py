"""A user's notes on features, in one SQLite file of the data folder; they outlive any rebuild of an index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..models.tokenizing import well_formed
from .words import match

MAX_NOTE = 4000


@dataclass(frozen=True)
class Notes:
    """Notes by SAE (its fingerprint) and feature. A full-text table is the store itself, so search needs no second."""

    path: Path

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=10)) as base, base:
            base.execute("PRAGMA journal_mode=WAL")
            base.execute("CREATE VIRTUAL TABLE IF NOT EXISTS notes USING fts5(text, sae UNINDEXED, feature UNINDEXED)")
            yield base

    def read(self, sae: str, feature: int) -> str:
        """The note on a feature, or "" if there is none."""
        if not self.path.is_file():
            return ""
        with self._open() as base:
            row = base.execute("SELECT text FROM notes WHERE sae = ? AND feature = ?", (sae, feature)).fetchone()
        return row[0] if row else ""

    def write(self, sae: str, feature: int, text: str) -> None:
        """Save the note on a feature, replacing the old one; an empty text deletes it.

        Raises:
            ValueError: the note is longer than 4000 characters.
        """
        text = well_formed(text)
        if len(text) > MAX_NOTE:
            raise ValueError(f"A note holds at most {MAX_NOTE} characters; got {len(text)}. Shorten it.")
        with self._open() as base:
            base.execute("DELETE FROM notes WHERE sae = ? AND feature = ?", (sae, feature))
            if text.strip():
                base.execute("INSERT INTO notes (text, sae, feature) VALUES (?, ?, ?)", (text.strip(), sae, feature))

    def search(self, sae: str, query: str) -> dict[int, str]:
        """The features of an SAE whose note has all words of a query (every note, for an empty query)."""
        if not self.path.is_file():
            return {}
        words = match(well_formed(query))
        with self._open() as base:
            if query.strip() and not words:
                return {}
            where, values = ("AND notes MATCH ?", (sae, words)) if words else ("", (sae,))
            rows = base.execute(f"SELECT feature, text FROM notes WHERE sae = ? {where}", values).fetchall()
        return {int(feature): text for feature, text in rows}
