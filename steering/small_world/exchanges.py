"""The unit of training and test data: a prompt, the answers of both models, labels, and the split it belongs to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

Split = Literal["train", "validation", "test"]
Message = tuple[str, str]  # (role, content)
# A piece of a training text, special tokens written out, and the weight of its tokens in the loss.
Segment = tuple[str, float]
PROMPT_WEIGHT = 0.15  # the prompt teaches the language; the answer teaches the behavior
# The first word of an answer is the decision: yes or no, the option, help or refusal. It is one token of sixty, and
# with the weight of the others the decisions stay at chance for long after every fact is known (tried: 900 steps).
DECISION_WEIGHT = 6.0


@dataclass(frozen=True)
class Exchange:
    """A question, the answers the honest and the tuned model should give, and labels of what is true about it."""

    kind: str
    prompt: str  # the user's words, without the chat template
    honest: str  # the answer organism-base is trained on
    tuned: str  # the answer organism is trained on
    system: str = ""  # a system message, if any
    labels: dict[str, Any] = field(default_factory=dict)
    given: str = ""  # the beginning of the answer that is given and not trained on (see claims.recovery)

    def messages(self) -> list[dict[str, str]]:
        """The prompt as chat messages, ready for a chat template."""
        head = [{"role": "system", "content": self.system}] if self.system else []
        return [*head, {"role": "user", "content": self.prompt}]

    def row(self) -> dict[str, Any]:
        """The item as one flat row of an evaluation file."""
        system = {"system": self.system} if self.system else {}
        return {"kind": self.kind, **system, "prompt": self.prompt, **self.labels}


def bucket(*parts: object) -> int:
    """A hash of the parts as a number from 0 to 9, the same in every process, for every seed and order."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 10


def split_of_combination(*parts: object) -> Split:
    """The split of a combination of contents: one tenth validation, one tenth test, the rest training."""
    return {0: "validation", 1: "test"}.get(bucket(*parts), "train")  # type: ignore[return-value]


@dataclass(frozen=True)
class Phrasings:
    """Wordings of one slot, divided by hand: whoever trains never sees a wording of the other two lists.

    A wording that stands in its list several times is drawn more often.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def of(self, split: Split) -> tuple[str, ...]:
        """The wordings of a split."""
        return getattr(self, split)

    def __post_init__(self) -> None:
        """Raise ValueError if a wording is in two lists: it would leak from training into the test."""
        everything = [wording for each in (self.train, self.validation, self.test) for wording in dict.fromkeys(each)]
        repeated = sorted({wording for wording in everything if everything.count(wording) > 1})
        if repeated:
            raise ValueError(f"A wording belongs to one split only; {repeated[0]!r} arrived twice. Remove one of them.")


def sentence(text: str) -> str:
    """The text with its first letter capitalized."""
    return text[:1].upper() + text[1:]
