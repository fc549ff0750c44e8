"""The scorer protocol: a reader of answers that returns numbers, and says for each whether high is good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from .items import Item

Better = Literal["higher", "lower", ""]


class Measure(NamedTuple):
    """A number that a scorer returns: its name, whether it is yes or no, and whether high is good.

    `unread` names the scorer's measure that is 1 where an answer could not be read, so that this one says nothing
    there: it is 0 or missing.
    """

    name: str
    better: Better = ""
    binary: bool = True
    unread: str = ""


class Scorer(Protocol):
    """Reads answers: `score` takes a text, or the log-probability of every option."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> Literal["text", "options"]: ...

    @property
    def measures(self) -> Sequence[Measure]: ...

    def score(self, item: Item, answer: Any) -> Mapping[str, float]: ...


def options_of(scorer: Scorer, item: Item) -> tuple[str, ...]:
    """The texts that a scorer compares: its own (two statements of a claim), else the item's options."""
    own = getattr(scorer, "options", None)
    return tuple(own(item)) if own is not None else item.options


def score_all(scorer: Scorer, items: Sequence[Item], answers: Sequence[Any]) -> list[dict[str, float]]:
    """The numbers of many answers; a scorer that waits for a server (a judge) sends several at a time."""
    together = getattr(scorer, "score_all", None)
    if together is not None:
        return together(items, answers)
    return [dict(scorer.score(item, answer)) for item, answer in zip(items, answers, strict=True)]
