"""A lesson as data: steps that show something and ask first, read from a TOML file that needs no Python.

A text, number or piece may differ between models: a table whose keys are the lesson's models holds one for each.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from .pieces import Piece, near, piece_from

FOLDER = Path(__file__).parents[2] / "assets" / "lessons"
MAX_BYTES = 1_000_000
Kind = Literal["choose", "order", "number", "turn"]


@dataclass(frozen=True)
class Question:
    """What is asked before it is shown.

    `choose` has one right option, `order` all options in the right order, `number` a number between `low` and `high`,
    `turn` a strength of the step's strip, whose right answer the model gives.
    """

    kind: Kind
    question: str
    options: tuple[str, ...] = ()
    answer: str | tuple[str, ...] | float | None = None
    low: float = 0.0
    high: float = 100.0
    unit: str = ""


@dataclass(frozen=True)
class LessonStep:
    """One screen: a text, something to look at, a question, and what is shown after the answer."""

    title: str
    text: str = ""
    minutes: float = 1.0
    before: Piece | None = None
    question: Question | None = None
    show: Piece | None = None
    after: str = ""
    pupils_ask: tuple[tuple[str, str], ...] = ()

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return tuple(piece for piece in (self.before, self.show) if piece is not None)


@dataclass(frozen=True)
class Lesson:
    """A lesson on one model: its steps, the words it explains, an open question, and the page where one goes on."""

    name: str
    model: str
    models: tuple[str, ...]
    title: str
    aim: str
    steps: tuple[LessonStep, ...]
    words: tuple[tuple[str, str], ...] = ()
    unsettled: str = ""
    onward: str = ""
    folder: Path = FOLDER

    @property
    def minutes(self) -> float:
        return sum(step.minutes for step in self.steps)


def bundled_lessons() -> list[str]:
    """Names of the lessons that ship with Tiller, in the order in which they are taught."""
    return [path.stem for path in sorted(FOLDER.glob("*.toml"))]


def read_lesson(path: str | Path, model: str = "") -> Lesson:
    """The lesson of a file, as it is on one of its models (by default the first it names).

    Raises:
        ValueError: the file is no lesson; one sentence with the file's name, the line and what to do.
    """
    path = Path(path)
    if path.suffix != ".toml":
        path = FOLDER / f"{path}.toml"
    if not path.is_file():
        raise ValueError(f"There is no lesson {path.stem!r}; {near(path.stem, bundled_lessons())}")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"A lesson's file has at most {MAX_BYTES:,} bytes; {path.name} has {path.stat().st_size:,}.")
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{path.name} is not valid TOML: {error}.") from error
    return _lesson(path, text, data, model)


class _Place:
    """Finds the line of a step's key in the text of the file, for messages."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.lines = name, text.splitlines()

    def wrong(self, what: str, step: int | None = None, key: str = "") -> ValueError:
        begins = [i for i, line in enumerate(self.lines) if re.match(r"\s*\[\[\s*steps\s*\]\]", line)]
        first = 0 if step is None or step >= len(begins) else begins[step]
        last = len(self.lines) if step is None or step + 1 >= len(begins) else begins[step + 1]
        pattern = re.compile(rf"\s*(\[+[\w.]*\b)?{re.escape(key)}\s*[=\].]") if key else None
        line = next((i for i in range(first, last) if pattern and pattern.match(self.lines[i])), first)
        where = "" if step is None else f", step {step + 1}"
        return ValueError(f"{self.name}, line {line + 1}{where}: {what}")


def _lesson(path: Path, text: str, data: dict[str, Any], model: str) -> Lesson:
    place = _Place(path.name, text)
    known = [field.name for field in fields(Lesson) if field.name not in ("name", "model", "folder")]
    for key in data:
        if key not in known:
            raise place.wrong(f"a lesson has no setting {key!r}; {near(key, known)}", key=key)
    models = data.get("models")
    if not isinstance(models, list) or not models or not all(isinstance(one, str) and one for one in models):
        raise place.wrong('a lesson names its models, such as models = ["smollm2", "organism"].', key="models")
    chosen = model or models[0]
    if chosen not in models:
        raise ValueError(f"The lesson {path.stem} is written for {' and '.join(models)}, not for {chosen!r}.")
    steps = data.get("steps")
    if not isinstance(steps, list) or not steps or not all(isinstance(one, dict) for one in steps):
        raise place.wrong("a lesson has at least one [[steps]] table.", key="steps")

    def own(value: Any) -> Any:
        """The value for the chosen model, wherever one is given for each."""
        if isinstance(value, dict):
            if value and set(value) <= set(models):
                if chosen not in value:
                    raise ValueError(f"nothing is given for the model {chosen!r}, only for {', '.join(value)}.")
                return own(value[chosen])
            return {key: own(one) for key, one in value.items()}
        return [own(one) for one in value] if isinstance(value, list) else value

    made = []
    for number, table in enumerate(steps):
        try:
            made.append(_step(own(table)))
        except _Mistake as error:
            raise place.wrong(str(error), number, error.key) from error
        except ValueError as error:
            raise place.wrong(str(error), number) from error
    try:
        head = {key: own(value) for key, value in data.items() if key not in ("steps", "models", "words")}
        strings = {key: _text(key, value) for key, value in head.items()}
        words = own(data.get("words", {}))
        if not isinstance(words, dict):
            raise _Mistake("words", "words is a table: word = what it means.")
        said = tuple((word, _text(word, meaning)) for word, meaning in words.items())
    except _Mistake as error:
        raise place.wrong(str(error), key=error.key) from error
    for key in ("title", "aim"):
        if not strings.get(key):
            raise place.wrong(f"a lesson needs its {key}.", key=key)
    return Lesson(path.stem, chosen, tuple(models), steps=tuple(made), words=said, folder=path.parent, **strings)


class _Mistake(ValueError):
    """A mistake at a key of a step."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(what)
        self.key = key


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _Mistake(key, f"{key} is a text; got {value!r}.")
    return value.strip()


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise _Mistake(key, f"{key} is a number; got {value!r}.")
    return float(value)


def _step(table: Mapping[str, Any]) -> LessonStep:
    known = [field.name for field in fields(LessonStep)]
    settings: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise _Mistake(key, f"a step has no setting {key!r}; {near(key, known)}")
        if key in ("before", "show"):
            try:
                settings[key] = piece_from(value)
            except ValueError as error:
                raise _Mistake(key, str(error)) from error
        elif key == "question":
            settings[key] = _question(value)
        elif key == "minutes":
            settings[key] = _number(key, value)
        elif key == "pupils_ask":
            settings[key] = _asked(value)
        else:
            settings[key] = _text(key, value)
    if not settings.get("title"):
        raise _Mistake("title", "a step has a title.")
    step = LessonStep(**settings)
    if step.question is not None and step.question.kind == "turn" and getattr(step.show, "kind", "") != "strip":
        raise _Mistake("question", 'a turn is asked of a strip: give the step a [steps.show] of kind "strip".')
    return step


def _asked(value: Any) -> tuple[tuple[str, str], ...]:
    right = isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 2 and all(isinstance(part, str) for part in one) for one in value
    )
    if not right:
        raise _Mistake("pupils_ask", "pupils_ask is a list of [question, answer].")
    return tuple((question, answer) for question, answer in value)


def _question(table: Any) -> Question:
    if not isinstance(table, dict):
        raise _Mistake("question", "a question is a table with a kind.")
    known = [field.name for field in fields(Question)]
    for key in table:
        if key not in known:
            raise _Mistake(key, f"a question has no setting {key!r}; {near(key, known)}")
    kind = table.get("kind")
    if kind not in get_args(Kind):
        raise _Mistake("kind", f"a question's kind is one of {', '.join(get_args(Kind))}; got {kind!r}.")
    said = _text("question", table.get("question", ""))
    if not said:
        raise _Mistake("question", 'a question has a text: question = "...".')
    options = table.get("options", [])
    if not isinstance(options, list) or not all(isinstance(one, str) and one for one in options):
        raise _Mistake("options", "options is a list of texts.")
    if kind in ("choose", "order") and (len(options) < 2 or len(set(options)) != len(options)):
        raise _Mistake("options", f"a question of kind {kind} has at least two different options.")
    answer = table.get("answer")
    low, high = _number("low", table.get("low", 0)), _number("high", table.get("high", 100))
    if kind == "choose" and answer is not None and answer not in options:
        raise _Mistake("answer", f"the answer is one of the options; got {answer!r}.")
    if kind == "order" and (not isinstance(answer, list) or sorted(map(str, answer)) != sorted(options)):
        raise _Mistake("answer", "the answer is the list of all options in the right order.")
    if kind == "number" and not low <= _number("answer", answer) <= high:
        raise _Mistake("answer", f"the answer lies between low and high ({low:g} and {high:g}); got {answer!r}.")
    if kind == "turn" and answer is not None:
        raise _Mistake("answer", "the answer of a turn comes from the strip itself; leave it out.")
    right = tuple(answer) if isinstance(answer, list) else answer
    return Question(cast(Kind, kind), said, tuple(options), right, low, high, _text("unit", table.get("unit", "")))
