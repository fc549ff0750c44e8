"""What is asked in an evaluation: items, and sets of them with the scorer that reads the answers."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .measure import Scorer

MAX_ITEMS = 50_000
Message = Mapping[str, str]


@dataclass(frozen=True)
class Item:
    """One question: the user's words or a whole conversation, and what is known about it.

    Attributes:
        prompt: the user's words, or chat messages ({"role", "content"}); a last message of the assistant's is the
            beginning of its answer.
        system: a system message, or "".
        options: answers to choose from by their log-probability, as they continue the assistant's turn.
        matching: the numbers of the options that are right, or that match the behavior.
        labels: what is true about the item; scorers read it, tables can be split by it.
    """

    prompt: str | tuple[Message, ...]
    system: str = ""
    options: tuple[str, ...] = ()
    matching: tuple[int, ...] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.prompt or (isinstance(self.prompt, str) and not self.prompt.strip()):
            raise ValueError("An item asks something; its prompt is empty.")
        bad = [k for k in self.matching if not 0 <= k < len(self.options)]
        if bad or (self.options and not self.matching):
            raise ValueError(
                f"An item with {len(self.options)} options names at least one that matches, from 0 to "
                f"{len(self.options) - 1}; got {list(self.matching)}."
            )
        if self.options and (len(self.options) < 2 or not all(self.options) or len(set(self.options)) < 2):
            raise ValueError(f"A choice has two options or more, none of them empty; got {list(self.options)}.")

    @property
    def id(self) -> str:
        """A hash of everything the item holds."""
        data = [self.prompt, self.system, self.options, self.matching, dict(self.labels)]
        text = json.dumps(data, sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    @property
    def text(self) -> str:
        """What is asked, as one text to show."""
        return self.prompt if isinstance(self.prompt, str) else "\n".join(turn["content"] for turn in self.prompt)

    def messages(self, instruction: str = "", place: str = "system") -> list[dict[str, str]]:
        """The chat messages, with an instruction added in the system message, or before or after the user's words."""
        turns = [{"role": "user", "content": self.prompt}] if isinstance(self.prompt, str) else list(self.prompt)
        turns = [dict(turn) for turn in turns]
        system = self.system
        if instruction and place == "system":
            system = f"{instruction} {system}".strip()
        elif instruction:
            last = max(k for k, turn in enumerate(turns) if turn["role"] == "user")
            words = turns[last]["content"]
            turns[last]["content"] = f"{instruction} {words}" if place == "before" else f"{words} {instruction}"
        return [{"role": "system", "content": system}, *turns] if system else turns

    def plain(self, instruction: str = "", place: str = "system") -> str:
        """The same as one text, for a model without a chat template."""
        return "\n".join(turn["content"] for turn in self.messages(instruction, place))


@dataclass(frozen=True)
class EvaluationSet:
    """Items in their order, the name they came under, and the scorer that reads the answers."""

    items: tuple[Item, ...]
    scorer: Scorer
    name: str = ""
    format: str = ""

    def __post_init__(self) -> None:
        if not 0 < len(self.items) <= MAX_ITEMS:
            raise ValueError(f"An evaluation set holds 1 to {MAX_ITEMS} items; got {len(self.items)}.")

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    @property
    def content_hash(self) -> str:
        """A hash of the items in their order."""
        return hashlib.sha256("".join(item.id for item in self.items).encode()).hexdigest()[:16]

    def limit(self, n: int | None, seed: int = 0, by: str | None = None) -> EvaluationSet:
        """At most `n` of the items, drawn by `seed`, in their order; with `by`, equally many of each value of a label.

        Raises:
            ValueError: n is below 1, or no item has the label.
        """
        if n is None or n >= len(self):
            return self
        if n < 1:
            raise ValueError(f"A set is limited to at least one item; got {n}.")
        rng = random.Random(seed)
        groups: dict[Any, list[int]] = {}
        for k, item in enumerate(self.items):
            groups.setdefault(str(item.labels.get(by)) if by else None, []).append(k)
        if by and list(groups) == ["None"]:
            raise ValueError(
                f"The items of {self.name!r} have no label {by!r}; labels: {', '.join(self.label_names())}."
            )
        queues = [rng.sample(group, len(group)) for _, group in sorted(groups.items(), key=lambda entry: str(entry[0]))]
        chosen: list[int] = []
        while len(chosen) < n:
            for queue in queues:
                if queue and len(chosen) < n:
                    chosen.append(queue.pop())
        return replace(self, items=tuple(self.items[k] for k in sorted(chosen)))

    def where(self, **labels: Any) -> EvaluationSet:
        """The items whose labels have these values.

        Raises:
            ValueError: none has.
        """
        found = tuple(item for item in self.items if all(item.labels.get(k) == v for k, v in labels.items()))
        if not found:
            raise ValueError(f"No item of {self.name!r} has {labels}; its labels are {', '.join(self.label_names())}.")
        return replace(self, items=found)

    def label_names(self) -> list[str]:
        """The names of the labels that the items have."""
        return list(dict.fromkeys(name for item in self.items for name in item.labels))


def unique(sets: Sequence[EvaluationSet]) -> None:
    """Nothing; a ValueError when two sets have the same name, which their results would be mixed up under."""
    names = [one.name for one in sets]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"Each evaluation set has a name of its own; {repeated[0]!r} comes twice.")
