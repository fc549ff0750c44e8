"""A room for a class: a short code, the step that the teacher is at, and everybody's answers, kept across a restart.

One SQLite file under TILLER_HOME. No accounts: a student is a random name that the student's own address carries, so
that a reload, or a server that was started again, finds the same student. Nothing leaves the machine.
"""

from __future__ import annotations

import csv
import io
import json
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that is read as another: no I, L, O, 0, 1
CODE = 5
MAX_STUDENTS, MAX_ANSWER, MAX_NAME, MAX_ROOMS = 500, 2000, 40, 500
KEPT_DAYS = 180

_TABLES = """
CREATE TABLE IF NOT EXISTS rooms (
    code TEXT PRIMARY KEY, teacher TEXT NOT NULL, lesson TEXT NOT NULL, model TEXT NOT NULL, step INTEGER NOT NULL,
    follow INTEGER NOT NULL, revealed INTEGER NOT NULL, made REAL NOT NULL);
CREATE TABLE IF NOT EXISTS students (
    room TEXT NOT NULL, student TEXT NOT NULL, name TEXT NOT NULL, seen REAL NOT NULL, PRIMARY KEY (room, student));
CREATE TABLE IF NOT EXISTS answers (
    room TEXT NOT NULL, student TEXT NOT NULL, step INTEGER NOT NULL, answer TEXT NOT NULL, given REAL NOT NULL,
    PRIMARY KEY (room, student, step));
"""


@dataclass(frozen=True)
class Room:
    """A room as it is now: its lesson, the step shown (from 0), and whether students follow it."""

    code: str
    lesson: str
    model: str
    step: int
    follow: bool
    revealed: bool


class Rooms:
    """The rooms of this machine."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "rooms.db"
        with self._base() as base:
            base.execute("PRAGMA journal_mode = WAL")
            base.executescript(_TABLES)

    @contextmanager
    def _base(self) -> Iterator[sqlite3.Connection]:
        base = sqlite3.connect(self.file, timeout=30)
        base.row_factory = sqlite3.Row
        # An answer that was confirmed must be there after the power goes.
        base.execute("PRAGMA synchronous = FULL")
        try:
            with base:
                yield base
        finally:
            base.close()

    def open(self, lesson: str, model: str, teacher: str) -> Room:
        """A new room of a teacher, who alone steers it; rooms of half a year ago are removed.

        Raises:
            ValueError: there are too many rooms.
        """
        with self._base() as base:
            old = time.time() - KEPT_DAYS * 86_400
            for (code,) in base.execute("SELECT code FROM rooms WHERE made < ?", (old,)).fetchall():
                self._remove(base, code)
            if base.execute("SELECT count(*) FROM rooms").fetchone()[0] >= MAX_ROOMS:
                raise ValueError(f"This machine keeps at most {MAX_ROOMS} rooms; close one that is over.")
            while True:
                code = "".join(secrets.choice(LETTERS) for _ in range(CODE))
                if not base.execute("SELECT 1 FROM rooms WHERE code = ?", (code,)).fetchone():
                    break
            row = (code, teacher, lesson, model, 0, 1, 0, time.time())
            base.execute("INSERT INTO rooms VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return self.room(code)

    def room(self, code: str) -> Room:
        """The room of a code.

        Raises:
            ValueError: there is none.
        """
        with self._base() as base:
            row = base.execute("SELECT * FROM rooms WHERE code = ?", (_code(code),)).fetchone()
        if row is None:
            raise ValueError(f"There is no room {_code(code) or '(no code)'} on this machine; ask for the code again.")
        return Room(row["code"], row["lesson"], row["model"], row["step"], bool(row["follow"]), bool(row["revealed"]))

    def of_teacher(self, teacher: str) -> list[Room]:
        """The rooms that somebody opened, the newest first."""
        with self._base() as base:
            rows = base.execute("SELECT code FROM rooms WHERE teacher = ? ORDER BY made DESC", (teacher,)).fetchall()
        return [self.room(row["code"]) for row in rows]

    def teaches(self, code: str, teacher: str) -> bool:
        """Whether somebody is the room's teacher."""
        with self._base() as base:
            row = base.execute("SELECT teacher FROM rooms WHERE code = ?", (_code(code),)).fetchone()
        return row is not None and secrets.compare_digest(row["teacher"], teacher)

    def steer(self, code: str, teacher: str, *, step: int, follow: bool, revealed: bool) -> Room:
        """The room after its teacher went to a step.

        Raises:
            ValueError: somebody else opened it.
        """
        if not self.teaches(code, teacher):
            raise ValueError("Only the teacher who opened a room steers it.")
        with self._base() as base:
            base.execute(
                "UPDATE rooms SET step = ?, follow = ?, revealed = ? WHERE code = ?",
                (max(0, step), int(follow), int(revealed), _code(code)),
            )
        return self.room(code)

    def close(self, code: str, teacher: str) -> None:
        """Remove a room with its students and answers.

        Raises:
            ValueError: somebody else opened it.
        """
        if not self.teaches(code, teacher):
            raise ValueError("Only the teacher who opened a room closes it.")
        with self._base() as base:
            self._remove(base, _code(code))

    @staticmethod
    def _remove(base: sqlite3.Connection, code: str) -> None:
        for table, column in (("answers", "room"), ("students", "room"), ("rooms", "code")):
            base.execute(f"DELETE FROM {table} WHERE {column} = ?", (code,))

    def join(self, code: str, student: str, name: str = "") -> None:
        """Take a student into a room, or note that the student is there.

        Raises:
            ValueError: there is no such room, it is full, or the student's name is none.
        """
        room = self.room(code)
        student = _student(student)
        with self._base() as base:
            base.execute("BEGIN IMMEDIATE")
            known = base.execute("SELECT 1 FROM students WHERE room = ? AND student = ?", (room.code, student))
            if known.fetchone() is None:
                taken = base.execute("SELECT count(*) FROM students WHERE room = ?", (room.code,)).fetchone()[0]
                if taken >= MAX_STUDENTS:
                    raise ValueError(f"A room takes at most {MAX_STUDENTS} students, and this one is full.")
            base.execute(
                "INSERT INTO students VALUES (?, ?, ?, ?) ON CONFLICT (room, student) DO UPDATE SET "
                "seen = excluded.seen, name = CASE excluded.name WHEN '' THEN name ELSE excluded.name END",
                (room.code, student, " ".join(name.split())[:MAX_NAME], time.time()),
            )

    def answer(self, code: str, student: str, step: int, value: Any) -> None:
        """Keep a student's answer to a step; the first one counts, for the guess is given before the reveal.

        Raises:
            ValueError: there is no such room, or the answer is too long.
        """
        room, text = self.room(code), json.dumps(value)
        if len(text) > MAX_ANSWER:
            raise ValueError(f"An answer has at most {MAX_ANSWER} characters; this one has {len(text)}.")
        self.join(code, student)
        with self._base() as base:
            base.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (room.code, _student(student), step, text, time.time()),
            )

    def answered(self, code: str, student: str) -> dict[int, Any]:
        """What a student has answered: step -> answer."""
        with self._base() as base:
            rows = base.execute(
                "SELECT step, answer FROM answers WHERE room = ? AND student = ?", (_code(code), _student(student))
            ).fetchall()
        return {row["step"]: json.loads(row["answer"]) for row in rows}

    def answers(self, code: str, step: int) -> list[Any]:
        """Everybody's answers to a step, in the order in which they came."""
        with self._base() as base:
            rows = base.execute(
                "SELECT answer FROM answers WHERE room = ? AND step = ? ORDER BY given, student", (_code(code), step)
            ).fetchall()
        return [json.loads(row["answer"]) for row in rows]

    def students(self, code: str) -> int:
        """How many students have joined."""
        with self._base() as base:
            return base.execute("SELECT count(*) FROM students WHERE room = ?", (_code(code),)).fetchone()[0]

    def table(self, code: str) -> str:
        """All answers as CSV: room, student's number, name, step (from 1), answer, when (UTC)."""
        with self._base() as base:
            rows = base.execute(
                "SELECT s.rowid AS number, s.name, a.step, a.answer, a.given FROM answers a JOIN students s "
                "ON s.room = a.room AND s.student = a.student WHERE a.room = ? ORDER BY a.step, a.given",
                (_code(code),),
            ).fetchall()
        numbers = {number: place for place, number in enumerate(sorted({row["number"] for row in rows}), start=1)}
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["room", "student", "name", "step", "answer", "given_utc"])
        for row in rows:
            value = json.loads(row["answer"])
            said = " > ".join(map(str, value)) if isinstance(value, list) else value
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row["given"]))
            cells = [_cell(one) for one in (row["name"], said)]
            writer.writerow([_code(code), numbers[row["number"]], cells[0], row["step"] + 1, cells[1], when])
        return out.getvalue()


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula, made one that it shows."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _code(code: str) -> str:
    """A code as it is written: capital letters and digits."""
    return "".join(char for char in code.upper() if char in LETTERS)[:CODE]


def _student(student: str) -> str:
    if not student.isascii() or not student.replace("-", "").replace("_", "").isalnum() or not 8 <= len(student) <= 40:
        raise ValueError("A student's name in the address has 8 to 40 letters and digits; open the room's link again.")
    return student


def new_student() -> str:
    """A random name for a student."""
    return secrets.token_hex(8)
