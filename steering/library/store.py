"""Saved directions, runs and measurements: tensors as safetensors files by content hash, the rest in SQLite.

The data folder is TILLER_HOME, by default in the user's data directory. A file is written beside its place, flushed and
then moved there, and the database (write-ahead log) refers to it afterwards: a kill at any moment leaves what was saved
before. Deleting hides for a while, so that it can be undone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..directions.direction import Direction
from ..jobs.files import home, write_atomically, write_folder
from ..models.tokenizing import well_formed
from ..saes.sae import Sae
from ..showing.one_line import one_line
from .migrations import KINDS, migrate
from .space import make_room

KEEP_DELETED = 30 * 24 * 3600.0  # seconds that a deleted thing can be brought back


@dataclass(frozen=True)
class SavedDirection:
    """A row of the library: what is known of a direction without reading its tensor."""

    id: str
    name: str
    site: str
    space: str
    model: str
    method: str
    norm: float
    width: int
    about: Mapping[str, Any]
    created: float
    deleted: float | None


@dataclass(frozen=True)
class SavedRun:
    """A row of the library: a run; its data is read by `Store.run`."""

    id: str
    name: str
    model: str
    prompt: str
    created: float
    deleted: float | None


@dataclass(frozen=True)
class SavedMeasurement:
    """A row of the library: a sweep or an experiment; its files are read by `Store.measurement`."""

    id: str
    name: str
    kind: str
    model: str
    created: float
    deleted: float | None


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Everything in the block is written, or nothing is."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _columns(direction: Direction) -> tuple[Any, ...]:
    """What the database knows of a direction, from name to about."""
    about = dict(direction.provenance)
    model = str((about.get("model") or {}).get("model") or "")
    space = "features" if direction.sae is not None else "residual"
    method = str(about.get("method") or about.get("made") or "by hand")
    size = direction.norm, direction.vector.numel()
    return direction.name, str(direction.site), space, model, method, *size, json.dumps(about, default=str)


class Store:
    """The library of one data folder. Safe to use from any thread: each call has a connection of its own."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or home()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "tiller.sqlite3"
        with self._connect() as db:
            db.execute("PRAGMA journal_mode = WAL")
            migrate(db)
        self._forget_old()

    def __repr__(self) -> str:
        return one_line(self, repr(str(self.folder)))

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous = FULL")
            db.row_factory = sqlite3.Row
            yield db
        finally:
            db.close()

    def _forget_old(self) -> None:
        limit = time.time() - KEEP_DELETED
        with self._connect() as db:
            old = [row["id"] for row in db.execute("SELECT id FROM directions WHERE deleted < ?", (limit,))]
            db.execute("DELETE FROM directions WHERE deleted < ?", (limit,))
            db.execute("DELETE FROM runs WHERE deleted < ?", (limit,))
            gone = [row["id"] for row in db.execute("SELECT id FROM measurements WHERE deleted < ?", (limit,))]
            db.execute("DELETE FROM measurements WHERE deleted < ?", (limit,))
        for old_id in old:
            self.file(old_id).unlink(missing_ok=True)
        for old_id in gone:
            shutil.rmtree(self.place(old_id), ignore_errors=True)

    # Directions -----------------------------------------------------------------------------------------------------

    def file(self, direction_id: str) -> Path:
        """The path of a direction's tensor.

        Raises:
            ValueError: no id (ids come from links, and must not name another file).
        """
        if len(direction_id) != 24 or not all(char in "0123456789abcdef" for char in direction_id):
            raise ValueError(f"A saved direction has an id of 24 hexadecimal digits; got {direction_id[:60]!r}.")
        return self.folder / "directions" / f"{direction_id}.safetensors"

    def save_direction(self, direction: Direction, name: str = "") -> SavedDirection:
        """Save a direction and return its row; saving the same one again only restores it."""
        return self.save_directions([replace(direction, name=name.strip() or direction.name)])[0]

    def save_directions(self, directions: Sequence[Direction]) -> list[SavedDirection]:
        """Save several directions and return their rows: all of them, or none if one cannot be saved.

        Raises:
            ValueError: the data folder has no room for all of them.
        """
        named = [replace(one, name=one.name.strip() or "direction") for one in directions]
        made = [(hashlib.sha256(data := one.to_bytes()).hexdigest()[:24], one, data) for one in named]
        make_room(sum(len(data) for _, _, data in made), self.folder)
        written: list[Path] = []
        try:
            for direction_id, _, data in made:
                new = not self.file(direction_id).exists()
                write_atomically(self.file(direction_id), data)
                written += [self.file(direction_id)] if new else []
            with self._connect() as db, _transaction(db):
                for direction_id, one, _ in made:
                    db.execute(
                        """INSERT INTO directions (id, name, site, space, model, method, norm, width, about, created)
                        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET deleted = NULL""",
                        (direction_id, *_columns(one), time.time()),
                    )
        except BaseException:
            for file in written:
                file.unlink(missing_ok=True)
            raise
        return [self.direction_row(direction_id) for direction_id, _, _ in made]

    def directions(self, search: str = "", *, deleted: bool = False) -> list[SavedDirection]:
        """The saved directions whose name, model, site or method holds the search text, the newest first."""
        return [
            SavedDirection(**{**_values(SavedDirection, row), "about": json.loads(row["about"])})
            for row in self._rows("directions", ("name", "model", "site", "method"), search, deleted)
        ]

    def direction_row(self, direction_id: str) -> SavedDirection:
        """The row of a saved direction.

        Raises:
            ValueError: there is none of that id.
        """
        for row in self.directions() + self.directions(deleted=True):
            if row.id == direction_id:
                return row
        raise ValueError(f"The Library has no direction with the id {direction_id[:24]!r}; it may have been deleted.")

    def direction(self, direction_id: str, sae: Sae | None = None) -> Direction:
        """A saved direction under its present name; one in feature space needs its SAE.

        Raises:
            ValueError: there is none, or its SAE is missing or another one.
        """
        path = self.file(direction_id)
        row = self.direction_row(direction_id)
        return replace(Direction.load(path, sae), name=row.name)

    # Runs -----------------------------------------------------------------------------------------------------------

    def save_run(self, data: Mapping[str, Any], name: str, *, model: str, prompt: str) -> SavedRun:
        """Save a run's data (JSON) and return its row."""
        text = well_formed(json.dumps(data, ensure_ascii=False, sort_keys=True))
        name, model, prompt = map(well_formed, (name, model, prompt))
        make_room(len(text), self.folder)
        run_id = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        with self._connect() as db:
            db.execute(
                """INSERT INTO runs (id, name, model, prompt, data, created) VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET deleted = NULL, name = excluded.name""",
                (run_id, name.strip() or prompt[:60] or "run", model, prompt, text, time.time()),
            )
        return next(run for run in self.runs() if run.id == run_id)

    def runs(self, search: str = "", *, deleted: bool = False) -> list[SavedRun]:
        """The saved runs whose name, model or prompt holds the search text, the newest first."""
        rows = self._rows("runs", ("name", "model", "prompt"), search, deleted)
        return [SavedRun(**_values(SavedRun, row)) for row in rows]

    def run(self, run_id: str) -> dict[str, Any]:
        """The data of a saved run.

        Raises:
            ValueError: there is none of that id.
        """
        with self._connect() as db:
            row = db.execute("SELECT data FROM runs WHERE id = ?", (run_id,)).fetchone()
        if row is None:
            raise ValueError(f"The Library has no run with the id {run_id[:24]!r}; it may have been deleted.")
        return json.loads(row["data"])

    # Measurements ---------------------------------------------------------------------------------------------------

    def place(self, measurement_id: str) -> Path:
        """The folder of a measurement's files.

        Raises:
            ValueError: no id (ids come from links, and must not name another folder).
        """
        if len(measurement_id) != 24 or not all(char in "0123456789abcdef" for char in measurement_id):
            raise ValueError(f"A measurement has an id of 24 hexadecimal digits; got {measurement_id[:60]!r}.")
        return self.folder / "measurements" / measurement_id

    def save_measurement(self, key: str, name: str, kind: str, model: str, files: Mapping[str, bytes]) -> str:
        """Save the files of a sweep or an experiment and return its id; the same key again replaces them."""
        name, model = well_formed(name), well_formed(model)
        measurement_id = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        make_room(sum(map(len, files.values())), self.folder)
        write_folder(self.place(measurement_id), {Path(file).name: data for file, data in files.items()})
        with self._connect() as db:
            db.execute(
                """INSERT INTO measurements (id, name, kind, model, created) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET deleted = NULL, created = excluded.created""",
                (measurement_id, name.strip()[:200] or kind, kind, model, time.time()),
            )
        return measurement_id

    def measurements(self, search: str = "", *, deleted: bool = False) -> list[SavedMeasurement]:
        """The saved measurements whose name, kind or model holds the search text, the newest first."""
        rows = self._rows("measurements", ("name", "kind", "model"), search, deleted)
        return [SavedMeasurement(**_values(SavedMeasurement, row)) for row in rows]

    def measurement(self, measurement_id: str) -> dict[str, Path]:
        """The files of a saved measurement by name.

        Raises:
            ValueError: there is none of that id.
        """
        if not self.place(measurement_id).is_dir():
            raise ValueError(f"The Library has no measurement with the id {measurement_id}; it may have been deleted.")
        files = sorted(self.place(measurement_id).iterdir())
        return {file.name: file for file in files if not file.name.startswith(".")}

    # All ------------------------------------------------------------------------------------------------------------

    def rename(self, kind: str, row_id: str, name: str) -> None:
        """Rename a direction, run or measurement (`kind` is "directions", "runs" or "measurements").

        Raises:
            ValueError: the name is empty.
        """
        if not name.strip():
            raise ValueError("A name holds at least one visible character.")
        self._update(kind, "name", well_formed(name).strip()[:200], row_id)

    def delete(self, kind: str, row_id: str) -> None:
        """Delete a direction, run or measurement; for thirty days `restore` can undo it."""
        self._update(kind, "deleted", time.time(), row_id)

    def restore(self, kind: str, row_id: str) -> None:
        """Restore something deleted."""
        self._update(kind, "deleted", None, row_id)

    def _update(self, kind: str, column: str, value: Any, row_id: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"The Library holds {', '.join(KINDS)}; got {kind!r}.")
        with self._connect() as db:
            db.execute(f"UPDATE {kind} SET {column} = ? WHERE id = ?", (value, row_id))

    def _rows(self, table: str, columns: tuple[str, ...], search: str, deleted: bool) -> list[sqlite3.Row]:
        where = "deleted IS NOT NULL" if deleted else "deleted IS NULL"
        words = well_formed(search).split()
        for _ in words:
            where += " AND (" + " OR ".join(f"instr(lower({column}), ?) > 0" for column in columns) + ")"
        values = [word.lower() for word in words for _ in columns]
        with self._connect() as db:
            return db.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY created DESC", values).fetchall()


def _values(kind: type, row: sqlite3.Row) -> dict[str, Any]:
    """The columns of a row that a class has fields for; databases hold others too, such as a run's data."""
    return {field.name: row[field.name] for field in fields(kind)}
