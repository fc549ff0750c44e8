"""A class of thirty as raw WebSocket clients: 0 lost or mixed answers, also when the server is killed in between."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import urlencode

from served_app import serving
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from steering.lessons.lesson import read_lesson
from steering.lessons.rooms import Rooms

STUDENTS = 30


def answer(url: str, query: str, option: str, timeout: float = 240.0) -> bool:
    """Gives one student's answer, as the browser would; whether the page then said that it has it."""
    address = url.replace("http://", "ws://") + "/_stcore/stream"
    with connect(address, subprotocols=["streamlit"], origin=url, max_size=None, open_timeout=timeout) as socket:  # type: ignore[arg-type]
        message = BackMsg()
        message.rerun_script.query_string, message.rerun_script.page_name = query, "lessons"
        socket.send(message.SerializeToString())
        radio = button = ""
        while True:
            got = ForwardMsg()
            got.ParseFromString(socket.recv(timeout=timeout))  # type: ignore[arg-type]
            kind = got.WhichOneof("type")
            if kind == "delta":
                element = got.delta.new_element
                assert element.WhichOneof("type") != "exception"
                if element.WhichOneof("type") == "alert" and "You said" in element.alert.body:
                    return option in element.alert.body.replace("\\", "")
                radio = element.radio.id or radio
                button = element.button.id if element.button.is_form_submitter else button
            if kind == "script_finished" and radio and button:
                message = BackMsg()
                message.rerun_script.query_string, message.rerun_script.page_name = query, "lessons"
                chosen = message.rerun_script.widget_states.widgets.add()
                chosen.id, chosen.string_value = radio, option
                pressed = message.rerun_script.widget_states.widgets.add()
                pressed.id, pressed.trigger_value = button, True
                socket.send(message.SerializeToString())
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
