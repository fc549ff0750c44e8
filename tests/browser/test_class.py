"""A class of thirty as raw WebSocket clients: 0 lost or mixed answers, also when the server is killed in between."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import urlencode

from raw_client import connected, receive, rerun
from served_app import serving

from steering.lessons.lesson import read_lesson
from steering.lessons.rooms import Rooms

STUDENTS = 30


def answer(url: str, query: str, option: str) -> bool:
    """Gives one student's answer, as the browser would; whether the page then said that it has it."""
    with connected(url) as socket:
        rerun(socket, query, "lessons")
        radio = button = ""
        while True:
            got = receive(socket)
            kind = got.WhichOneof("type")
            if kind == "delta":
                element = got.delta.new_element
                assert element.WhichOneof("type") != "exception"
                if element.WhichOneof("type") == "alert" and "You said" in element.alert.body:
                    return option in element.alert.body.replace("\\", "")
                radio = element.radio.id or radio
                button = element.button.id if element.button.is_form_submitter else button
            if kind == "script_finished" and radio and button:
                rerun(socket, query, "lessons", {radio: option, button: True})
                radio = button = ""


def everybody(url: str, code: str, options: tuple[str, ...], part: range) -> dict[int, bool]:
    found: dict[int, bool] = {}

    def one(number: int) -> None:
        query = urlencode({"room": code, "student": f"student{number:04d}"})
        found[number] = answer(url, query, options[number % len(options)])

    threads = [threading.Thread(target=one, args=(number,)) for number in part]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_no_answer_of_thirty_is_lost_or_mixed_though_the_server_is_killed(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path / "home")
    room = rooms.open("1_push", "organism", "the teacher")
    question = read_lesson("1_push", "organism").steps[0].question
    assert question is not None
    with serving(tmp_path) as server:
        assert all(everybody(server.url, room.code, question.options, range(20)).values())
        server.process.kill()
    with serving(tmp_path) as server:
        assert all(everybody(server.url, room.code, question.options, range(20, STUDENTS)).values())
        server.check()
    assert rooms.students(room.code) == STUDENTS
    for number in range(STUDENTS):
        student = f"student{number:04d}"
        assert rooms.answered(room.code, student) == {0: question.options[number % len(question.options)]}, number
