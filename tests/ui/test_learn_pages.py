"""Learn through app.py: every lesson on both models from its first step to its last, and a class in a room."""

from __future__ import annotations

from pathlib import Path

import pytest
from open_pages import fine, open_page
from streamlit.testing.v1 import AppTest

from steering.lessons.lesson import bundled_lessons, read_lesson
from steering.lessons.rooms import Rooms

LESSONS, CLASS = "pages/learn/lessons.py", "pages/learn/room.py"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import streamlit as st

    monkeypatch.setenv("TILLER_HOME", str(tmp_path))
    st.cache_resource.clear()
    return tmp_path


def press(at: AppTest, label: str) -> AppTest:
    return fine(next(button for button in at.button if button.label == label).click().run())


def clean(at: AppTest) -> AppTest:
    assert not [error.value for error in at.error]
    return fine(at)


def guess(at: AppTest, kind: str, options: tuple[str, ...]) -> None:
    if kind == "choose":
        at.radio[0].set_value(options[0])
    elif kind == "order":
        at.multiselect[0].set_value(list(options))
    press(at, "That is my guess")


@pytest.mark.parametrize("model", ["organism", "smollm2"])
@pytest.mark.parametrize("name", bundled_lessons())
def test_a_lesson_from_its_first_step_to_its_last(name: str, model: str) -> None:
    lesson = read_lesson(name, model)
    at = clean(open_page(LESSONS, lesson=name, on=model))
    for number, step in enumerate(lesson.steps):
        assert step.title in [one.value for one in at.subheader]
        if step.question is not None:
            hidden = step.after[:40]
            assert not hidden or not any(hidden in one.value for one in at.markdown)  # nothing before the guess
            guess(at, step.question.kind, step.question.options)
            clean(at)
            assert len(at.info) + len(at.success)
        if step.after:
            assert any(step.after[:40] in one.value for one in at.markdown)
        if number < len(lesson.steps) - 1:
            clean(press(at, "Next"))
    assert any("Nobody has settled" in one.value for one in at.markdown)


def test_the_gallery_begins_a_lesson() -> None:
    at = clean(open_page(LESSONS))
    assert sum("Begin" in button.label for button in at.button) == len(bundled_lessons())
    at = clean(next(button for button in at.button if "Begin" in button.label).click().run())
    assert read_lesson(bundled_lessons()[0]).title in [title.value for title in at.title]


def test_an_address_that_names_no_lesson_gets_a_sentence() -> None:
    at = fine(open_page(LESSONS, lesson="../../etc/passwd"))
    assert "There is no lesson" in at.error[0].value
    at = fine(open_page(LESSONS, room="ZZZZZ"))
    assert "There is no room" in at.error[0].value
    press(at, "All lessons")
    assert "Lessons" in [title.value for title in at.title] and "room" not in at.query_params


def test_a_class_guesses_before_the_teacher_reveals(folder: Path) -> None:
    teacher = clean(open_page(CLASS))
    clean(press(teacher, "Open"))
    code = teacher.selectbox(key="class_room").value
    rooms = Rooms(folder)
    students = [open_page(LESSONS, room=code, student=f"student{number:04d}") for number in range(3)]
    step = read_lesson(rooms.room(code).lesson, rooms.room(code).model).steps[0]
    assert step.question is not None
    for student in students:
        clean(student)
        guess(student, "choose", step.question.options)
        assert any("Your teacher shows" in one.value for one in student.info)
    assert rooms.answers(code, 0) == [step.question.options[0]] * 3
    clean(press(teacher, "Reveal"))
    assert rooms.room(code).revealed
    clean(students[0].run())
    assert any(step.after[:40] in one.value for one in students[0].markdown)
    clean(press(teacher, "Next"))
    assert (rooms.room(code).step, rooms.room(code).revealed) == (1, False)
    clean(students[1].run())
    assert read_lesson(rooms.room(code).lesson, rooms.room(code).model).steps[1].title in [
        one.value for one in students[1].subheader
    ]


def test_a_student_joins_with_a_name(folder: Path) -> None:
    room = Rooms(folder).open("1_push", "organism", "somebody else")
    at = clean(open_page(LESSONS, room=room.code))
    at.text_input(key="learn_name").set_value("Ada")
    clean(press(at, "Join"))
    assert Rooms(folder).students(room.code) == 1 and at.query_params["student"]
    assert "Reveal" not in [button.label for button in clean(open_page(CLASS)).button]


def test_a_question_of_ones_own_is_written_live() -> None:
    at = clean(open_page(LESSONS, lesson="1_push", on="organism", step="3"))
    guess(at, "turn", ())
    field = next(one for one in at.text_input if one.label == "Your question")
    before = len(at.text)
    field.set_value("Is 3 plus 4 equal to 7?")
    clean(press(at, "Write"))
    assert len(at.text) == before + 2 and all(one.value.strip() for one in at.text)
    field = next(one for one in at.text_input if one.label == "Your question")
    field.set_value("   ")
    press(at, "Write")
    assert "The question is empty" in at.error[0].value


def test_coins_are_flipped_and_arrows_share_a_plane() -> None:
    at = clean(open_page(LESSONS, lesson="3_real", on="organism"))
    guess(at, "number", ())
    clean(press(at, "Flip 10 coins 20 times"))
    assert any("of 10** heads" in one.value for one in at.markdown)
    at = clean(open_page(LESSONS, lesson="5_feature", on="organism", step="3"))
    guess(at, "choose", ("When two of them are there at once",))
    for slider in at.slider[:2]:
        slider.set_value(1.0)
    clean(at.run())
    assert [one.value for one in at.metric] == ["0.50", "0.50", "0.00"]
