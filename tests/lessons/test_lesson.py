"""Lessons are read from data: what ships is whole, and a broken file gets one sentence with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from steering.lessons.lesson import FOLDER, Lesson, bundled_lessons, read_lesson
from steering.lessons.made import made

GOOD = """title = "A title"
aim = "An aim"
models = ["one", "two"]

[[steps]]
title = "First"
text.one = "for one"
text.two = "for two"

[[steps]]
title = "Second"

[steps.question]
kind = "choose"
question = "Which?"
options = ["a", "b"]
answer = "a"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_lesson_is_what_its_file_says_on_each_of_its_models(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    assert read_lesson(file).steps[0].text == "for one" and read_lesson(file, "two").steps[0].text == "for two"
    question = read_lesson(file).steps[1].question
    assert question is not None and (question.options, question.answer) == (("a", "b"), "a")


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ('answer = "a"', 'answer = "c"', 17, "one of the options"),
        ('kind = "choose"', 'kind = "chose"', 14, "kind is one of choose"),
        ('options = ["a", "b"]', 'options = ["a"]', 16, "at least two"),
        ('title = "Second"', 'titel = "Second"', 11, "did you mean 'title'?"),
        ('title = "Second"', 'title = "Second"\nshow = { kind = "texts", prompt = "x" }', 12, "no setting 'prompt'"),
        ('title = "Second"', 'title = "Second"\nshow = { kind = "strp" }', 12, "did you mean 'strip'?"),
        ('models = ["one", "two"]', "models = []", 3, "names its models"),
        ('text.two = "for two"', "", 5, None),
        ('aim = "An aim"', "", 1, "needs its aim"),
        ('kind = "choose"', 'kind = "turn"', None, "lies"),
        ('title = "A title"', 'title = "A title', None, "not valid TOML"),
    ],
)
def test_a_broken_file_gets_one_sentence_with_its_line(
    tmp_path: Path, old: str, new: str, line: int | None, says: str | None
) -> None:
    file = written(tmp_path, GOOD.replace(old, new))
    if says is None:  # a model that a text is not given for: only that model's lesson is broken
        read_lesson(file, "one")
        with pytest.raises(ValueError, match=r"line 5, step 1: nothing is given for the model 'two'"):
            read_lesson(file, "two")
        return
    with pytest.raises(ValueError) as error:
        read_lesson(file)
    said = str(error.value)
    assert "\n" not in said and "mine.toml" in said
    if line is not None:
        assert f"line {line}" in said and says in said


def test_other_mistakes_are_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean '1_push'"):
        read_lesson("1_psh")
    with pytest.raises(ValueError, match="not for 'three'"):
        read_lesson(written(tmp_path, GOOD), "three")
    file = tmp_path / "bytes.toml"
    file.write_bytes(b'title = "\xff"')
    with pytest.raises(ValueError, match="not UTF-8"):
        read_lesson(file)


@pytest.mark.parametrize("name", bundled_lessons())
def test_the_shipped_lessons_are_whole(name: str) -> None:
    """On both models: about ten minutes, every result made, every picture there, a way on, an unsettled question."""
    models = read_lesson(name).models
    assert set(models) == {"smollm2", "organism"}
    for model in models:
        lesson = read_lesson(name, model)
        assert 8 <= lesson.minutes <= 12 and lesson.unsettled and lesson.words
        assert (FOLDER.parents[1] / lesson.onward).is_file()
        assert any(step.question is not None for step in lesson.steps)
        for step in lesson.steps:
            for piece in step.pieces:
                assert not piece.needs_model or made(lesson, piece) is not None, (name, model, step.title)
                if piece.kind == "picture":
                    assert (lesson.folder / "pictures" / getattr(piece, "file")).is_file()  # noqa: B009


def test_six_lessons_ship() -> None:
    assert len(bundled_lessons()) == 6


TERMS = (
    "ablation", "activation", "baseline", "clamp", "control", "cosine", "dimension", "direction", "feature", "interval",
    "lambda", "layer", "nat", "norm", "projection", "regulator", "seed", "superposition", "surprise", "sycophancy",
    "tau", "threshold", "token", "weights",
)  # fmt: skip


def told(lesson: Lesson) -> str:
    """Everything that a lesson says itself, in lower case."""
    parts = [lesson.aim, lesson.unsettled]
    for step in lesson.steps:
        parts += [step.title, step.text, step.after, *(part for pair in step.pupils_ask for part in pair)]
        if step.question is not None:
            parts += [step.question.question, *step.question.options]
    return " ".join(parts).lower()


@pytest.mark.parametrize("model", ["smollm2", "organism"])
@pytest.mark.parametrize("name", bundled_lessons())
def test_a_lesson_explains_the_words_it_uses(name: str, model: str) -> None:
    lesson = read_lesson(name, model)
    explained = " ".join(word for word, _ in lesson.words).lower()
    text = told(lesson)
    missing = [term for term in TERMS if re.search(rf"\b{term}s?\b", text) and term not in explained]
    assert not missing, f"{name} uses {missing} and does not explain them"
