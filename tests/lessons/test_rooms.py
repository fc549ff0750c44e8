"""Rooms: answers of many students at once, none lost or mixed, and still there when the room is opened anew."""

from __future__ import annotations

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from steering.lessons.rooms import LETTERS, Rooms, new_student


def test_thirty_at_once_and_after_a_restart(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path)
    one, other = (rooms.open("1_push", "organism", "the teacher") for _ in range(2))
    students = [new_student() for _ in range(30)]

    def sit(number: int) -> None:
        own = Rooms(tmp_path)  # every student through a connection of their own
        room = (one, other)[number % 2]
        own.join(room.code, students[number], f"S{number}")
        for step in range(4):
            own.answer(room.code, students[number], step, f"{number}-{step}")

    with ThreadPoolExecutor(30) as pool:
        list(pool.map(sit, range(30)))
    again = Rooms(tmp_path)
    for number, student in enumerate(students):
        code = (one, other)[number % 2].code
        assert again.answered(code, student) == {step: f"{number}-{step}" for step in range(4)}
    assert again.students(one.code) == again.students(other.code) == 15
    assert sorted(again.answers(one.code, 2)) == sorted(f"{number}-2" for number in range(0, 30, 2))


def test_the_first_answer_counts(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path)
    code, student = rooms.open("1_push", "organism", "t").code, new_student()
    rooms.answer(code, student, 0, "yes")
    rooms.answer(code, student, 0, "no")
    assert rooms.answers(code, 0) == ["yes"]


def test_only_the_teacher_steers_and_closes(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path)
    room = rooms.open("1_push", "organism", "the teacher")
    assert rooms.steer(room.code, "the teacher", step=2, follow=False, revealed=True).step == 2
    with pytest.raises(ValueError, match="Only the teacher"):
        rooms.steer(room.code, "a student", step=0, follow=True, revealed=False)
    with pytest.raises(ValueError, match="Only the teacher"):
        rooms.close(room.code, "a student")
    rooms.answer(room.code, new_student(), 0, 1)
    rooms.close(room.code, "the teacher")
    assert rooms.of_teacher("the teacher") == [] and rooms.answers(room.code, 0) == []
    with pytest.raises(ValueError, match="There is no room"):
        rooms.room(room.code)


def test_a_code_is_read_as_people_write_it(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path)
    code = rooms.open("1_push", "organism", "t").code
    assert len(code) == 5 and set(code) <= set(LETTERS)
    assert rooms.room(f" {code.lower()[:2]}-{code.lower()[2:]} ").code == code


def test_bad_input_gets_a_sentence(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path)
    code = rooms.open("1_push", "organism", "t").code
    with pytest.raises(ValueError, match="8 to 40 letters"):
        rooms.join(code, "../../etc")
    with pytest.raises(ValueError, match="at most 2000 characters"):
        rooms.answer(code, new_student(), 0, "x" * 3000)


def test_the_table_is_csv_that_no_spreadsheet_runs(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path)
    code, student = rooms.open("1_push", "organism", "t").code, new_student()
    rooms.join(code, student, "=HYPERLINK(1)")
    rooms.answer(code, student, 1, ["b", "a"])
    (row,) = csv.DictReader(io.StringIO(rooms.table(code)))
    assert (row["student"], row["step"], row["answer"], row["name"]) == ("1", "2", "b > a", "'=HYPERLINK(1)")
