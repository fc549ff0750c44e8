"""All six lessons from beginning to end, by keyboard alone, on a phone and on a projector."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from served_app import Visitor

from steering.lessons.lesson import LessonStep, bundled_lessons, read_lesson

IN_FORM = "document.activeElement.closest('[data-testid=stForm]') !== null"
# What a keyboard reaches is also seen to be reached: the browser draws a ring, or the part itself changes.
KIND = {
    "radio": "document.activeElement.matches('input[type=radio]')",
    "slider": "document.activeElement.matches('[role=slider], input[type=range]')",
    "combobox": "document.activeElement.matches('[role=combobox], input')",
    "button": "document.activeElement.matches('button[kind=primaryFormSubmit], button[kind=secondaryFormSubmit]')",
}


def tab_to(page: Page, what: str) -> None:
    """Presses Tab until a part of the question's form has the focus."""
    for _ in range(80):
        if page.evaluate(f"{IN_FORM} && {KIND[what]}"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab reaches no {what} of the question")


def guess(visitor: Visitor, step: LessonStep) -> None:
    page, question = visitor.page, step.question
    assert question is not None
    if question.kind == "choose":
        tab_to(page, "radio")
        page.keyboard.press("Space")
    elif question.kind == "order":
        tab_to(page, "combobox")
        for _ in question.options:
            page.keyboard.press("ArrowDown")
            page.keyboard.press("Enter")
        page.keyboard.press("Escape")
    else:
        tab_to(page, "slider")
        page.keyboard.press("ArrowRight")
    tab_to(page, "button")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("stAlert").first).to_be_visible()
    visitor.idle()


@pytest.mark.parametrize("width", [390, 1440])
def test_every_lesson_by_keyboard(visit: Callable[..., Visitor], width: int) -> None:
    visitor = visit(viewport={"width": width, "height": 900})
    for name in bundled_lessons():
        model = "smollm2" if width == 1440 else "organism"
        lesson = read_lesson(name, model)
        page = visitor.open("lessons", lesson=name, on=model)
        for number, step in enumerate(lesson.steps):
            expect(page.get_by_role("heading", name=step.title, exact=True)).to_be_visible()
            visitor.idle()
            if step.question is not None:
                guess(visitor, step)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1"), (name, step.title)
            if number < len(lesson.steps) - 1:
                page.keyboard.press("PageDown")
        expect(page.get_by_text("Nobody has settled this yet.")).to_be_visible()
