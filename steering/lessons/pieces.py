"""The pieces that a lesson can show: texts under steering, a strip of strengths, projections, a feature, a drawing.

A piece is a small frozen value read from the lesson's file. What those show that need a model is read by
reading.py as plain JSON data: made once for the lesson's own settings and shipped, so that a class waits for nobody.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

from ..recipes.steps import Step, step_data, step_from

ADDING = Step()  # what a piece without a step of its own does: add a direction


@dataclass(frozen=True)
class Piece:
    """What all pieces share: a name in files, whether a model is needed, and the caption under it."""

    kind: ClassVar[str]
    needs_model: ClassVar[bool] = True
    caption: str = ""

    def data(self) -> dict[str, Any]:
        """The piece as JSON data, without its caption: equal pieces have equal data."""
        found: dict[str, Any] = {"kind": self.kind}
        for field in fields(self):
            if field.name != "caption":
                found[field.name] = _plain(getattr(self, field.name))
        return found


@dataclass(frozen=True)
class Picture(Piece):
    """A drawing from a file beside the lesson (SVG), described in words for those who cannot see it."""

    kind: ClassVar[str] = "picture"
    needs_model: ClassVar[bool] = False
    file: str = ""
    alt: str = ""


@dataclass(frozen=True)
class CoinFlips(Piece):
    """Ten coins, flipped as often as one likes, with the interval that ten flips leave."""

    kind: ClassVar[str] = "flips"
    needs_model: ClassVar[bool] = False
    coins: int = 10


@dataclass(frozen=True)
class Superposition(Piece):
    """Three arrows in a plane: set how much of each there is, and see what is read back of each."""

    kind: ClassVar[str] = "superposition"
    needs_model: ClassVar[bool] = False


@dataclass(frozen=True)
class StripPiece(Piece):
    """One prompt under one step at several strengths: the texts, where the answer turns and where the text breaks."""

    kind: ClassVar[str] = "strip"
    prompt: str = ""
    step: Step = ADDING
    axis: str = "alpha"
    values: tuple[float, ...] = ()
    tokens: int = 40
    sae: str = ""  # the bundled SAE whose features the step names
    wanted: str = ""  # the word whose first appearance is the turn
    label: str = "Strength"


@dataclass(frozen=True)
class TextsPiece(Piece):
    """Some prompts, each without steering and under named steps, side by side."""

    kind: ClassVar[str] = "texts"
    prompts: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    names: tuple[str, ...] = ()
    tokens: int = 40


@dataclass(frozen=True)
class Projections(Piece):
    """Projections of two sets of pairs' texts on their direction; with a threshold to drag where one is asked for."""

    kind: ClassVar[str] = "projections"
    step: Step = ADDING
    threshold: bool = False
    names: tuple[str, ...] = ("first side", "second side")


@dataclass(frozen=True)
class Plane(Piece):
    """The activations of pairs in a plane with an arrow to turn: how well does it tell the two sides apart?"""

    kind: ClassVar[str] = "plane"
    step: Step = ADDING
    names: tuple[str, ...] = ("first side", "second side")


@dataclass(frozen=True)
class RandomPushes(Piece):
    """How far a step moves the model from one answer to another, beside random directions of the same strength."""

    kind: ClassVar[str] = "random"
    step: Step = ADDING
    prompts: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    away: tuple[str, ...] = ()
    seeds: int = 20


@dataclass(frozen=True)
class Similarity(Piece):
    """The cosines between directions of several pair sets, as a heatmap."""

    kind: ClassVar[str] = "similarity"
    pairs: tuple[str, ...] = ()
    layer: int = 0


@dataclass(frozen=True)
class FeatureCard(Piece):
    """A feature of an SAE: the texts on which it fires most, and the words that it makes likely."""

    kind: ClassVar[str] = "feature"
    sae: str = ""
    feature: int = 0
    promoted: bool = False


KINDS: dict[str, type[Piece]] = {
    kind.kind: kind
    for kind in (
        Picture,
        CoinFlips,
        Superposition,
        StripPiece,
        TextsPiece,
        Projections,
        Plane,
        RandomPushes,
        Similarity,
        FeatureCard,
    )
}


def near(name: str, known: list[str]) -> str:
    """A hint at the known name that is nearest, or the list of all."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}."


def piece_from(table: Any) -> Piece:
    """The piece of a table of a lesson's file.

    Raises:
        ValueError: no such kind or setting, or a value that it cannot have.
    """
    if not isinstance(table, Mapping):
        raise ValueError("A piece is a table with a kind.")
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"A piece has no kind {kind!r}; {near(str(kind), list(KINDS))}")
    own = {field.name: field for field in fields(KINDS[kind])}
    settings: dict[str, Any] = {}
    for name, value in table.items():
        if name == "kind":
            continue
        if name not in own:
            raise ValueError(f"A {kind} piece has no setting {name!r}; {near(name, list(own))}")
        default = own[name].default
        settings[name] = _checked(kind, name, value, None if default is MISSING else default)
    return KINDS[kind](**settings)


def _checked(kind: str, name: str, value: Any, default: Any) -> Any:
    """A setting's value, of the same type as its default."""
    if isinstance(default, Step):
        return step_from(value)
    if isinstance(default, tuple):
        if not isinstance(value, list):
            raise ValueError(f"{name} of a {kind} piece is a list; got {value!r}.")
        if name == "steps":
            return tuple(map(step_from, value))
        wanted = (int, float) if name == "values" else str
        if not all(isinstance(one, wanted) and not isinstance(one, bool) for one in value):
            raise ValueError(f"{name} of a {kind} piece is a list of {'numbers' if name == 'values' else 'texts'}.")
        return tuple(float(one) if name == "values" else one for one in value)
    if isinstance(value, bool) is not isinstance(default, bool) or not isinstance(value, type(default)):
        raise ValueError(f"{name} of a {kind} piece cannot be {value!r}.")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Step):
        return step_data(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
