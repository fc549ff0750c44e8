"""A lesson step by step: something to look at, a guess, and only then what happens. Alone, or in a teacher's room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from ...lessons.lesson import FOLDER, Lesson, bundled_lessons, read_lesson
from ...lessons.rooms import Room, new_student
from ..shared import state
from ..widgets.basics import clear_errors, literal
from . import asking, showing
from .meeting import models_here, rooms

LESSON, STEP, ON, ROOM, STUDENT = "lesson", "step", "on", "room", "student"


@dataclass(frozen=True)
class Seat:
    """Where somebody plays a lesson: alone, or as a student of a room."""

    room: Room | None = None
    student: str = ""

    @property
    def follows(self) -> bool:
        return self.room is not None and self.room.follow


def seat() -> Seat | None:
    """The visitor's seat; None while a student of a room has not joined it yet, after drawing how."""
    code = st.query_params.get(ROOM, "")
    if not code:
        return Seat()
    with clear_errors():
        room = rooms().room(code)
        if not st.query_params.get(STUDENT):
            return _join(room)
        rooms().join(room.code, st.query_params[STUDENT])
        return Seat(room, st.query_params[STUDENT])
    st.button("All lessons", key="learn_no_room", on_click=_no_room)
    return None


def _no_room() -> None:
    for name in (ROOM, STUDENT):
        st.query_params.pop(name, None)


def _join(room: Room) -> None:
    lesson = read_lesson(room.lesson, room.model)
    st.title(lesson.title, anchor=False)
    with st.form("learn_join"):
        st.markdown(f"Room **{room.code}**. A name is optional; only the teacher's table shows it.")
        name = st.text_input("Name", max_chars=40, key="learn_name")
        if st.form_submit_button("Join", type="primary"):
            student = new_student()
            rooms().join(room.code, student, name)
            st.query_params[STUDENT] = student
            st.rerun()


def gallery() -> None:
    """Draws the lessons that ship, each as a card that opens it."""
    st.title("Lessons", anchor=False)
    st.caption("Ten minutes each: guess first, then see. No network, no words that are not explained.")
    grid = st.grid("auto", min_column_width=280, gap="small")
    for name in bundled_lessons():
        with grid.cell(), st.container(border=True, height="stretch", key=f"lesson_{name}"), clear_errors():
            lesson = read_lesson(name)
            st.markdown(f"**{lesson.title}**")
            st.caption(literal(lesson.aim, 240))
            st.button(
                f"Begin · {lesson.minutes:g} min", key=f"begin_{name}", on_click=_begin, args=(name,), type="primary"
            )
    st.page_link("pages/learn/room.py", label="Teach one of them to a class", icon=":material/groups:")


def _begin(name: str) -> None:
    st.query_params[LESSON] = name
    st.query_params.pop(STEP, None)


def _leave() -> None:
    for name in (LESSON, STEP, ON):
        st.query_params.pop(name, None)


def play(at: Seat) -> None:
    """Draws the lesson of the address (or of the room) at its step."""
    room = at.room
    name = room.lesson if room else st.query_params.get(LESSON, "")
    first = read_lesson(_known(name))
    model = room.model if room else _model(first)
    lesson = read_lesson(_known(name), model)
    number = _step_number(lesson, at)
    _head(lesson, number, at)
    step = lesson.steps[number]
    key = f"learn_{lesson.name}_{model}_{number}"
    st.subheader(step.title, anchor=False)
    if step.text:
        st.markdown(step.text)
    if step.before is not None:
        showing.show(lesson, step.before, f"{key}_before")
    if _answered(lesson, number, at, key):
        _reveal(lesson, number, at, key)
    _foot(lesson, number, at)
    if room is not None:
        _watch(at)


def _known(name: str) -> str:
    """The name of a lesson that ships; a path in an address is never opened."""
    if name not in bundled_lessons():
        raise ValueError(f"There is no lesson {name!r}; there are {', '.join(bundled_lessons())}.")
    return str(FOLDER / f"{name}.toml")


def _model(lesson: Lesson) -> str:
    here = models_here(lesson)
    wanted = st.query_params.get(ON, "")
    if wanted not in lesson.models:
        wanted = state.model_name() if state.model_name() in here else here[0]
    return wanted


def _step_number(lesson: Lesson, at: Seat) -> int:
    if at.room is not None and at.room.follow:
        return min(at.room.step, len(lesson.steps) - 1)
    try:
        number = int(st.query_params.get(STEP, "1")) - 1
    except ValueError:
        number = 0
    return min(max(0, number), len(lesson.steps) - 1)


def _head(lesson: Lesson, number: int, at: Seat) -> None:
    title, tools = st.columns([3, 2], vertical_alignment="bottom")
    title.title(lesson.title, anchor=False)
    with tools, st.container(horizontal=True, horizontal_alignment="right"):
        if lesson.words:
            with st.popover("Words", icon=":material/menu_book:"):
                for word, meaning in lesson.words:
                    st.markdown(f"**{word}**: {meaning}")
        if at.room is None:
            st.button("All lessons", key="learn_leave", on_click=_leave)
    place = f"Step {number + 1} of {len(lesson.steps)} · on {literal(lesson.model)}"
    st.progress((number + 1) / len(lesson.steps), text=place + (f" · room {at.room.code}" if at.room else ""))
    here = models_here(lesson)
    if at.room is None and number == 0 and len(here) > 1:
        st.segmented_control(
            "Model", here, default=lesson.model, required=True, key="learn_on", on_change=_choose_model
        )
    if number == 0:
        st.caption(literal(lesson.aim, 400))


def _choose_model() -> None:
    st.query_params[ON] = st.session_state["learn_on"]


def _answered(lesson: Lesson, number: int, at: Seat, key: str) -> bool:
    """Whether the step may show what happens: it asks nothing, or it was answered; draws the question until then."""
    step = lesson.steps[number]
    if step.question is None:
        return True
    answer = _own_answer(number, at, key)
    if answer is not None:
        return True
    given = asking.guess(step, key)
    if given is None:
        return False
    if at.room is not None:
        rooms().answer(at.room.code, at.student, number, given)
    else:
        st.session_state[f"{key}_answer"] = given
    st.rerun()


def _own_answer(number: int, at: Seat, key: str) -> Any | None:
    if at.room is not None:
        return rooms().answered(at.room.code, at.student).get(number)
    return st.session_state.get(f"{key}_answer")


def _reveal(lesson: Lesson, number: int, at: Seat, key: str) -> None:
    """What happens, against the guess and the others' guesses; in a room that follows, when the teacher reveals it."""
    step = lesson.steps[number]
    if step.question is not None and at.follows and at.room is not None and not at.room.revealed:
        own = asking.said(step.question, _own_answer(number, at, key))
        st.info(f"You said: {literal(own, 300)}. Your teacher shows what happens.", icon=":material/hourglass_empty:")
        return
    shown: dict[str, Any] | None = {}
    if step.show is not None:
        with st.container():
            above = st.container()
            shown = showing.show(lesson, step.show, f"{key}_show")
    else:
        above = st.container()
    if step.question is not None and shown is not None:
        with above:
            own = _own_answer(number, at, key)
            asking.verdict(step.question, own, shown)
            if at.room is not None:
                others = rooms().answers(at.room.code, number)
                asking.everybody(step.question, others, shown, own, f"{key}_others")
    if step.after:
        st.markdown(step.after)
    for question, answer in step.pupils_ask:
        with st.expander(question):
            st.markdown(answer)


def _foot(lesson: Lesson, number: int, at: Seat) -> None:
    last = number == len(lesson.steps) - 1
    if last and lesson.unsettled:
        with st.container(border=True):
            st.markdown(f"**Nobody has settled this yet.** {lesson.unsettled}")
    if last and lesson.onward and at.room is None:
        st.page_link(lesson.onward, label="Go on by yourself", icon=":material/arrow_forward:")
    if at.follows:
        st.caption("Your teacher goes to the next step.")
        return
    with st.container(horizontal=True):
        st.button(
            "Back", key="learn_back", disabled=number == 0, on_click=_go, args=(number,), shortcut="PageUp",
            icon=":material/arrow_back:",
        )  # fmt: skip
        st.button(
            "Next", key="learn_next", disabled=last, on_click=_go, args=(number + 2,), shortcut="PageDown",
            icon=":material/arrow_forward:", type="primary",
        )  # fmt: skip


def _go(step: int) -> None:
    st.query_params[STEP] = str(step)


def _watch(at: Seat) -> None:
    """Looks now and then whether the teacher went on, and draws the page again when that is so."""
    assert at.room is not None
    code, before = at.room.code, at.room

    @st.fragment(run_every=2.0)
    def look() -> None:
        with clear_errors():
            now = rooms().room(code)
            if (now.step, now.follow, now.revealed) != (before.step, before.follow, before.revealed):
                st.rerun()

    look()
