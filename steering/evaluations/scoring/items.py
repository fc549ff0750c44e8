"""An evaluation's item: one question and what is known about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...models.tokenizing import all_well_formed
from ...showing.one_line import counted, one_line, quoted

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
        for name in ("prompt", "system", "options", "labels"):  # half an emoji could be neither tokenized nor saved
            object.__setattr__(self, name, all_well_formed(getattr(self, name)))
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

    def __repr__(self) -> str:
        labels = ", ".join(f"{name}={value!r}" for name, value in self.labels.items())
        options = counted(len(self.options), "option") if self.options else ""
        return one_line(self, quoted(self.text, 80), options, labels)

    @property
    def id(self) -> str:
        """A hash of everything the item holds."""
        data = [self.prompt, self.system, self.options, self.matching, dict(self.labels)]
        text = json.dumps(data, sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    @property
    def text(self) -> str:
        """The question as one text to show."""
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
