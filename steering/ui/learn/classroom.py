"""A teacher's room: its code and QR code, the step that everybody follows, and the answers as they arrive."""

from __future__ import annotations

import streamlit as st

from ...lessons.lesson import Lesson, bundled_lessons, read_lesson
from ...lessons.rooms import Room
from ..shared import state
from ..widgets.basics import clear_errors, literal
from . import asking, showing
from .meeting import address, models_here, qr, rooms, served


def teach() -> None:
    """Draws the teacher's page: open a room, or steer one that was opened from this browser."""
    teacher = state.visitor()
    st.title("Class", anchor=False)
    st.caption(
        "A room for one lesson: students join with a code, answer, and follow your step. Nothing leaves this machine."
    )
    own = rooms().of_teacher(teacher)
    with clear_errors():
        _open(teacher, bool(own))
        if own:
            names = {room.code: f"{room.code} · {read_lesson(room.lesson, room.model).title}" for room in own}
            code = st.selectbox("Room", list(names), format_func=names.__getitem__, key="class_room")
            _room(rooms().room(code), teacher)


def _open(teacher: str, some: bool) -> None:
    with st.expander("Open another room" if some else "Open a room", expanded=not some):
        titles = {name: read_lesson(name).title for name in bundled_lessons()}
        lesson = st.selectbox("Lesson", list(titles), format_func=titles.__getitem__, key="class_lesson")
        model = st.segmented_control(
            "Model", models_here(read_lesson(lesson)), default=models_here(read_lesson(lesson))[0], required=True,
            key=f"class_model_{lesson}",
        )  # fmt: skip
        if st.button("Open", type="primary", key="class_open", icon=":material/meeting_room:"):
            room = rooms().open(lesson, model, teacher)
            st.session_state["class_room"] = room.code
            st.rerun()


def _steer(room: Room, teacher: str, step: int, follow: bool, revealed: bool) -> None:
    rooms().steer(room.code, teacher, step=step, follow=follow, revealed=revealed)


def _toggle(room: Room, teacher: str) -> None:
    now = rooms().room(room.code)
    _steer(now, teacher, now.step, bool(st.session_state[f"follow_{room.code}"]), now.revealed)


def _room(room: Room, teacher: str) -> None:
    lesson = read_lesson(room.lesson, room.model)
    number = min(room.step, len(lesson.steps) - 1)
    left, right = st.columns([1, 2], gap="large")
    with left:
        link = address(room.code)
        st.markdown(f"# {room.code}")
        st.image(qr(link), width=220, alt="QR code of the room's link")
        st.code(link, language=None, wrap_lines=True)
        if not served():
            st.caption(
                "Only this machine can open the link. To let others in its network join, start Tiller with "
                "`make class`: then everybody in that network who knows the address can use this Tiller."
            )
        st.toggle(
            "Students follow my step", value=room.follow, key=f"follow_{room.code}", on_change=_toggle,
            args=(room, teacher),
        )  # fmt: skip
        st.download_button(
            "Answers as CSV", rooms().table(room.code), f"room-{room.code}.csv", "text/csv", key=f"csv_{room.code}"
        )
        with st.popover("Close this room"):
            st.markdown("Its answers are deleted. Download them first.")
            st.button("Close and delete", key=f"close_{room.code}", on_click=rooms().close, args=(room.code, teacher))
    with right:
        _at(room, lesson, number, teacher)


def _at(room: Room, lesson: Lesson, number: int, teacher: str) -> None:
    step = lesson.steps[number]
    key = f"class_{room.code}_{number}"
    st.progress((number + 1) / len(lesson.steps), text=f"Step {number + 1} of {len(lesson.steps)}")
    with st.container(horizontal=True):
        st.button(
            "Back", key="class_back", disabled=number == 0, on_click=_steer, shortcut="PageUp",
            args=(room, teacher, number - 1, room.follow, True), icon=":material/arrow_back:",
        )  # fmt: skip
        if step.question is not None and not room.revealed:
            st.button(
                "Reveal", key="class_reveal", on_click=_steer, args=(room, teacher, number, room.follow, True),
                icon=":material/visibility:", type="primary", shortcut="PageDown",
            )  # fmt: skip
        else:
            st.button(
                "Next", key="class_next", disabled=number == len(lesson.steps) - 1, on_click=_steer, type="primary",
                args=(room, teacher, number + 1, room.follow, False), icon=":material/arrow_forward:",
                shortcut="PageDown",
            )  # fmt: skip
    st.subheader(step.title, anchor=False)
    if step.text:
        st.markdown(step.text)
    if step.before is not None:
        showing.show(lesson, step.before, f"{key}_before")
    if step.question is not None:
        st.markdown(f"**{step.question.question}**")
    shown = None
    if room.revealed or step.question is None:
        shown = showing.show(lesson, step.show, f"{key}_show") if step.show is not None else {}
        right = asking.right_answer(step.question, shown) if step.question is not None else None
        if right:
            st.success(literal(right, 300), icon=":material/check:")
        if step.after:
            st.markdown(step.after)
        for question, answer in step.pupils_ask:
            with st.expander(question):
                st.markdown(answer)
    _answers(room, lesson, number, shown, key)


def _answers(room: Room, lesson: Lesson, number: int, shown: dict | None, key: str) -> None:
    step = lesson.steps[number]

    @st.fragment(run_every=1.0)
    def live() -> None:
        there, given = rooms().students(room.code), rooms().answers(room.code, number)
        st.metric(
            "Students",
            there,
            f"{len(given)} have answered" if step.question else None,
            delta_color="off",
            delta_arrow="off",
        )
        if step.question is not None:
            asking.everybody(step.question, given, shown, None, f"{key}_everybody")

    live()
