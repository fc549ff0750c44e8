"""Migrations of the library's database: each is run once, in order, and recorded by its number."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

# Never edit a released one; add the next.


def _m001_directions_and_runs(db: sqlite3.Connection) -> None:
    db.execute(
        """CREATE TABLE directions (id TEXT PRIMARY KEY, name TEXT NOT NULL, site TEXT NOT NULL, space TEXT NOT NULL,
        model TEXT NOT NULL, method TEXT NOT NULL, norm REAL NOT NULL, width INTEGER NOT NULL, about TEXT NOT NULL,
        created REAL NOT NULL, deleted REAL)"""
    )
    db.execute(
        """CREATE TABLE runs (id TEXT PRIMARY KEY, name TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL,
        data TEXT NOT NULL, created REAL NOT NULL, deleted REAL)"""
    )


def _m002_notes(db: sqlite3.Connection) -> None:
    # Nothing reads `note` any more. The column stays: SQLite before 3.35 cannot drop one.
    db.execute("ALTER TABLE directions ADD COLUMN note TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE runs ADD COLUMN note TEXT NOT NULL DEFAULT ''")


def _m003_measurements(db: sqlite3.Connection) -> None:
    db.execute(
        """CREATE TABLE measurements (id TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL,
        created REAL NOT NULL, deleted REAL, note TEXT NOT NULL DEFAULT '')"""
    )


MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [_m001_directions_and_runs, _m002_notes, _m003_measurements]
KINDS = ("directions", "runs", "measurements")


def migrate(db: sqlite3.Connection, upto: int | None = None) -> None:
    """Migrate a database to the newest schema, or to the migration with number `upto`, each step in a transaction."""
    db.execute("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT, applied REAL)")
    for number, step in enumerate(MIGRATIONS[:upto], start=1):
        db.execute("BEGIN IMMEDIATE")
        try:
            done = db.execute("SELECT 1 FROM migrations WHERE number = ?", (number,)).fetchone()
            if done is None:
                step(db)
                db.execute("INSERT INTO migrations VALUES (?, ?, ?)", (number, step.__name__, time.time()))
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
