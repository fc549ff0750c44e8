"""A conversation as plain data: what was asked, what both sides answered, and what the second was steered with.

A turn keeps the recipe and the sampling that it was written with, so that a saved conversation can be written again.
What is read from a file is checked field by field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from ...recipes.steps import Recipe, from_data

if TYPE_CHECKING:
    from ...models.model import Model, Prompt

FORMAT = "tiller-chat"
MAX_TURNS, MAX_TEXT = 200, 200_000
SIDES = ("plain", "steered")


@dataclass
class Turn:
    """A question, and what both sides answered (None while it is to be written).

    Attributes:
        recipe: what the second side was steered with, in words; `variant` is the same as a recipe's data, and `raw`
            what its strengths came to.
    """

    user: str
    seed: int
    plain: str | None = None
    steered: str | None = None
    recipe: str = ""
    receipts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    variant: list[dict[str, Any]] = field(default_factory=list)
    raw: list[list[dict[str, Any]]] = field(default_factory=list)
    max_new_tokens: int = 128
    temperature: float = 0.0

    @property
    def open(self) -> bool:
        return self.plain is None or self.steered is None

    @property
    def steps(self) -> Recipe:
        """The variant that steered the second side, or none."""
        return tuple(variant for variant in from_data(self.variant) if variant.on)


@dataclass
class Conversation:
    """Turns with the model that answered them and the instructions that stood before them ("" for the template's)."""

    model: str
    turns: list[Turn]
    system: str = ""
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The first question, for a list."""
        return " ".join(self.turns[0].user.split())[:60] if self.turns else "Conversation"


def prompt_of(lm: Model, history: Sequence[Turn], side: str, system: str = "") -> Prompt:
    """What one side reads: the instructions, its own conversation so far, and the open question at the end."""
    if not lm.has_chat_template:
        return " ".join(part for turn in history for part in (turn.user, getattr(turn, side) or "") if part)
    messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system.strip() else []
    for turn in history:
        messages.append({"role": "user", "content": turn.user})
        if getattr(turn, side) is not None:
            messages.append({"role": "assistant", "content": getattr(turn, side)})
    return messages


def to_data(talk: Conversation) -> dict[str, Any]:
    """The conversation as JSON data."""
    return {"format": FORMAT, "version": 1, **asdict(talk)}


def is_chat(data: Any) -> bool:
    """Whether data is a conversation's, right or damaged."""
    return isinstance(data, Mapping) and data.get("format") == FORMAT


def checked_chat(data: Any, file: str = "") -> Conversation:
    """The conversation of JSON data that `to_data` gave.

    Raises:
        ValueError: it is none, or a field of it is not what it must be; the sentence names the field.
    """
    name = file or "This file"
    if not is_chat(data):
        raise ValueError(f"A conversation is imported from the JSON that Chat's Export writes; {name} is none.")
    try:
        turns = data.get("turns")
        if not isinstance(turns, list) or not 1 <= len(turns) <= MAX_TURNS:
            raise ValueError(f"turns is a list of 1 to {MAX_TURNS}")
        about = data.get("about")
        return Conversation(
            _text(data, "model"), [_turn(turn, number) for number, turn in enumerate(turns, start=1)],
            _text(data, "system", ""), dict(about) if isinstance(about, Mapping) else {},
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{name} is no whole conversation: {error}. Export it again.") from None


def _text(data: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = data.get(name, default)
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError(f"{name} is a text of at most {MAX_TEXT} characters; got {str(value)[:40]!r}")
    return value


def _turn(data: Any, number: int) -> Turn:
    where, known = f"turn {number}", {one.name for one in fields(Turn)}
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} is an object")
    if unknown := sorted(str(name)[:40] for name in data if name not in known):
        raise ValueError(f"{where} has no field {unknown[0]!r}")
    try:
        user, plain, steered = (_text(data, name) for name in ("user", *SIDES))
        receipts, problems = (
            [str(line)[:2000] for line in data.get(name) or []][:100] for name in ("receipts", "problems")
        )
        variant = data.get("variant") or []
        from_data(variant)
        return Turn(
            user, _number(data, "seed", 0, 2**63, int), plain, steered, _text(data, "recipe", ""), receipts, problems,
            variant, [[_numbers(step) for step in one] for one in data.get("raw") or []],
            _number(data, "max_new_tokens", 1, 100_000, int), float(_number(data, "temperature", 0, 100, float)),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: {str(error)[:300]}") from None


def _number(data: Mapping[str, Any], name: str, low: float, high: float, kind: type) -> Any:
    value = data.get(name)
    fits = type(value) is int or (kind is float and type(value) is float)
    if not fits or not low <= value <= high:  # type: ignore[operator]
        raise ValueError(f"{name} is a number from {low:g} to {high:g}; got {str(value)[:40]!r}")
    return value


def _numbers(step: Any) -> dict[str, Any]:
    """What a step's strengths came to: they are written into Python, so each is a number or a flag."""
    if not isinstance(step, Mapping):
        raise ValueError("raw holds objects of numbers")
    found: dict[str, Any] = {}
    for name, value in step.items():
        if isinstance(value, Mapping):
            found[str(name)[:100]] = _numbers(value)
        elif type(value) in (bool, int, float) and math.isfinite(value):
            found[str(name)[:100]] = value
        else:
            raise ValueError(f"raw {str(name)[:40]} is a number")
    return found
