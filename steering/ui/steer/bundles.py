"""Read a run's JSON bundle: every field has a type and a range, or the file is refused.

What a bundle holds is shown and written into HTML and Python code, so every field is checked: a number must be a
number (not a text that is code), lists that belong together must have one length, and unknown fields are errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ...models.tokenizing import all_well_formed
from ...recipes.steps import from_data
from ...showing.one_line import clipped
from .results import Run

BUNDLE = "tiller-run"
MAX_BYTES = 20_000_000
MAX_TOKENS, MAX_ROWS, MAX_TEXT = 100_000, 2000, 200_000
Check = Callable[[Any, str], Any]


def checked_run(data: Any, file: str = "") -> Run:
    """The run of a bundle's data.

    Raises:
        ValueError: it is no bundle, or a field of it is not what it must be; the sentence names the field.
    """
    name, data = file or "This file", all_well_formed(data)
    if not isinstance(data, Mapping) or data.get("format") != BUNDLE:
        raise ValueError(f"A run is imported from the JSON bundle that Export writes; {file or 'this file'} is none.")
    known = {key: value for key, value in data.items() if key not in ("format", "version", "versions")}
    try:
        if _whole(1, 1)(data.get("version", 1), "version"):
            found = _RUN(known, "")
        from_data(found["recipe"])
        for number, row in enumerate(found["rows"]):
            _aligned(row, f"rows {number + 1}", len(found["settings"]["prompts"]), found["labels"])
        return Run.from_data(found)
    except _Wrong as error:
        raise ValueError(f"{name} is no whole bundle: {error}. Export the run again.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name} is no whole bundle: recipe: {clipped(error, 300)}") from None


class _Wrong(ValueError):
    pass


def _fail(where: str, rule: str, value: Any) -> _Wrong:
    shown = repr(value[:40] if isinstance(value, str) else type(value).__name__ if _is_box(value) else value)
    return _Wrong(f"{where or 'the bundle'} is {rule}; got {shown[:60]}")


def _is_box(value: Any) -> bool:
    return isinstance(value, list | tuple | Mapping)


def _text(most: int = MAX_TEXT) -> Check:
    def check(value: Any, where: str) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise _fail(where, f"a text of at most {most} characters", value)
        return value

    return check


def _whole(least: int, most: int) -> Check:
    def check(value: Any, where: str) -> int:
        if type(value) is not int or not least <= value <= most:
            raise _fail(where, f"a whole number from {least} to {most}", value)
        return value

    return check


def _number(least: float = -math.inf, most: float = math.inf) -> Check:
    """Also NaN and infinity, which a broken model's log-probabilities are."""

    def check(value: Any, where: str) -> float:
        if (
            type(value) not in (int, float)
            or value < least
            or value > most
            or (type(value) is int and abs(value) > 2**63)  # no float holds it
        ):
            raise _fail(where, f"a number from {least:g} to {most:g}", value)
        return value

    return check


def _flag(value: Any, where: str) -> bool:
    if type(value) is not bool:
        raise _fail(where, "true or false", value)
    return value


def _one_of(*names: str) -> Check:
    def check(value: Any, where: str) -> str:
        if not isinstance(value, str) or value not in names:
            raise _fail(where, f"one of {', '.join(names)}", value)
        return value

    return check


def _or_none(check: Check) -> Check:
    return lambda value, where: None if value is None else check(value, where)


def _list(of: Check, most: int, least: int = 0) -> Check:
    def check(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            raise _fail(where, f"a list of {least} to {most}", value)
        return [of(one, f"{where} {number}") for number, one in enumerate(value, start=1)]

    return check


def _by_name(of: Check, most: int = 200) -> Check:
    def check(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, Mapping) or len(value) > most:
            raise _fail(where, f"an object of at most {most} names", value)
        return {_text(500)(name, where): of(one, f"{where} {name[:40]}") for name, one in value.items()}

    return check


def _object(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    def check(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _fail(where, "an object", value)
        if unknown := sorted(str(name)[:40] for name in set(value) - set(required) - set(optional)):
            raise _Wrong(f"{where or 'the bundle'} has no field {unknown[0]!r}")
        if missing := [name for name in required if name not in value]:
            raise _Wrong(f"{where or 'the bundle'} lacks {missing[0]!r}")
        every = {**required, **optional}
        return {name: every[name](one, f"{where} {name}".strip()) for name, one in value.items()}

    return check


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """Texts, numbers and flags in lists and objects, a few deep: what is known of a model, only ever shown."""
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, str):
        return _text(2000)(value, where)
    if depth < 3 and isinstance(value, list | tuple):
        return _list(lambda one, at: _plain(one, at, depth + 1), 200)(value, where)
    if depth < 3 and isinstance(value, Mapping):
        return _by_name(lambda one, at: _plain(one, at, depth + 1))(value, where)
    raise _fail(where, "a text, a number, or a list or object of them", value)


def _recipe(value: Any, where: str) -> Any:
    return value  # `from_data` checks every setting of every step


def _raw(value: Any, where: str) -> Any:
    """A step's strengths as raw numbers and flags, by name; those of a step inside it are under its knob.

    An earlier version wrote them as one text, of which only the numbers are read.
    """
    if isinstance(value, str):
        return _text(2000)(value, where)
    if not isinstance(value, Mapping):
        raise _fail(where, "an object of numbers", value)
    return {
        _text(100)(name, where): (
            _raw(one, f"{where} {name[:40]}")
            if isinstance(one, Mapping)
            else one
            if type(one) is bool
            else _number()(one, f"{where} {name[:40]}")
        )
        for name, one in value.items()
    }


_TOKENS = _list(_whole(0, 2**31), MAX_TOKENS)
_NUMBERS = _list(_number(), MAX_TOKENS)


def _alternative(value: Any, where: str) -> list[Any]:
    pair = _list(lambda one, at: one, 2, 2)(value, where)
    return [_text(2000)(pair[0], where), _number()(pair[1], where)]


_SETTINGS = _object(
    {"model": _text(1000), "prompts": _list(_text(), 100, 1)},
    {
        "max_new_tokens": _whole(1, MAX_TOKENS), "temperature": _number(0, 100), "top_p": _number(0, 1),
        "seed": _whole(0, 2**63), "controls": _whole(0, 1000), "steer_bos": _flag, "chat": _flag,
    },
)  # fmt: skip
_RECEIPT = _object(
    {
        "intervention": _text(2000), "tokens": _whole(0, MAX_TOKENS), "expected": _number(), "measured": _number(),
        "positions": _list(_whole(0, MAX_TOKENS), MAX_TOKENS),
    },
    {},
)  # fmt: skip
_ROW = _object(
    {"title": _text(2000), "kind": _one_of("baseline", "steered", "control"), "variant": _whole(-1, 100)}
    | {"prompt": _whole(0, 99)},
    {
        "text": _text(), "prompt_tokens": _TOKENS, "tokens": _TOKENS, "pieces": _list(_text(2000), MAX_TOKENS),
        "logprobs": _NUMBERS, "alternatives": _list(_list(_alternative, 100), MAX_TOKENS),
        "projections": _by_name(_object({}, {"before": _NUMBERS, "after": _NUMBERS})),
        "receipts": _list(lambda value, where: _receipt(value, where), 100), "finish_reason": _or_none(_text(100)),
        "surprise": _or_none(_number()),
    },
)  # fmt: skip
_RUN = _object(
    {"settings": _SETTINGS, "recipe": _recipe, "labels": _list(_text(2000), 100), "rows": _list(_ROW, MAX_ROWS)},
    {"seconds": _number(0), "raw": _list(_list(_raw, 100), 100), "about": _by_name(_plain)},
)


def _receipt(value: Any, where: str) -> dict[str, Any]:
    """A receipt; besides what is read of it, fields of other versions are kept as plain data."""
    if not isinstance(value, Mapping):
        raise _fail(where, "an object", value)
    known = ("intervention", "tokens", "expected", "measured", "positions")
    first = _RECEIPT({name: one for name, one in value.items() if name in known}, where)
    rest = _by_name(lambda one, at: _long(one, at))(
        {name: one for name, one in value.items() if name not in known}, where
    )
    return {name: (first | rest)[name] for name in value}  # in the order of the file


def _long(value: Any, where: str) -> Any:
    """Plain data, or numbers a token each."""
    if isinstance(value, list | tuple) and all(type(one) in (int, float) for one in value):
        return _NUMBERS(value, where)
    return _plain(value, where)


def _aligned(row: Mapping[str, Any], where: str, prompts: int, labels: list[str]) -> None:
    """Raise ValueError where parts of a row that belong together have different lengths."""
    if row["prompt"] >= prompts:
        raise _fail(f"{where} prompt", f"the number of one of the {prompts} prompts, from 0", row["prompt"])
    whole = len(row.get("prompt_tokens", ())) + len(row.get("tokens", ()))
    for name, expected in (("pieces", whole), ("logprobs", len(row.get("tokens", ())))):
        if len(row.get(name, ())) != expected:
            raise _fail(f"{where} {name}", f"a list of {expected}, one a token", row.get(name, ()))
