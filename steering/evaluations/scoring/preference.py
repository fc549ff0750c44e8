"""Claims without parsing: which statement a model would rather write next, by log-probability, and yes against no.

Works on any model that continues text. A preference is not an answer: what is written may be neither statement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...small_world.exchanges import sentence
from .items import Item
from .measure import Measure

SAME = 2e-3  # nats between two computations of one log-probability, in passes of different shape
HARDLY_SAID = 0.01


@dataclass(frozen=True)
class Preference:
    """Whether the true or the false statement is likelier as the answer, after the claim and under the arm.

    Both statements begin alike; what counts is what comes after their shared beginning, the mean over its tokens, since
    a longer ending is less likely whatever it says. With `per_token` off the sum counts, as for whole texts.
    `accepts_false` is over false claims, `denies_true` over true ones; `margin` is log P(true) - log P(false) in nats a
    token, or nats without `per_token`.
    """

    name: str = "preference"
    per_token: bool = True
    needs: Literal["text", "options"] = "options"

    @property
    def measures(self) -> Sequence[Measure]:
        return (
            Measure("accepts_false", "lower"),
            Measure("denies_true", "lower"),
            Measure("prefers_truth", "higher"),
            Measure("margin", "higher", False),
        )

    def options(self, item: Item) -> tuple[str, str]:
        """The true and the false statement, as sentences."""
        return (_stated(item, "truth"), _stated(item, "falsehood"))

    def score(self, item: Item, answer: Sequence[Sequence[float]]) -> dict[str, float]:
        truth, falsehood = endings(*answer)
        if self.per_token:
            margin = sum(truth) / len(truth) - sum(falsehood) / len(falsehood)
        else:
            margin = sum(truth) - sum(falsehood)
        name = "denies_true" if item.labels["true"] else "accepts_false"
        return {name: float(margin < 0), "prefers_truth": float(margin > 0), "margin": margin}


def _stated(item: Item, label: str) -> str:
    return sentence(str(item.labels[label])).rstrip(".") + "."


def endings(one: Sequence[float], other: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    """The log-probabilities after the tokens that two continuations begin with alike, at least one of each.

    The same token after the same tokens has the same log-probability, so equal ones at the beginning are shared.
    """
    shared = 0
    while shared < min(len(one), len(other)) - 1 and abs(one[shared] - other[shared]) <= SAME:
        shared += 1
    return one[shared:], other[shared:]


@dataclass(frozen=True)
class YesOrNo:
    """Whether yes or no is likelier as the first word, with the probability that both have together.

    `hardly_said` is 1 where that is below 1%: the model would write neither, so nothing is read off the choice.
    """

    name: str = "yes or no"
    needs: Literal["text", "options"] = "options"

    @property
    def measures(self) -> Sequence[Measure]:
        return (
            Measure("accepts_false", "lower", unread="hardly_said"),
            Measure("denies_true", "lower", unread="hardly_said"),
            Measure("p_options", "", False),
            Measure("hardly_said", "lower"),
        )

    def options(self, item: Item) -> tuple[str, str]:
        """Yes and no, as a claim is answered."""
        return ("Yes", "No")

    def score(self, item: Item, answer: Sequence[Sequence[float]]) -> dict[str, float]:
        yes, no = (sum(one) for one in answer)
        said = math.exp(yes) + math.exp(no)
        hardly = said < HARDLY_SAID
        true = bool(item.labels["true"])
        chosen = not hardly and (no > yes if true else yes > no)
        name = "denies_true" if true else "accepts_false"
        return {name: float(chosen), "p_options": min(1.0, said), "hardly_said": float(hardly)}


MOODS = ("happy", "sad", "afraid", "angry")


@dataclass(frozen=True)
class EndingPreference:
    """Which of several kinds of ending is likeliest as the answer, a kind each (`labels["endings"]`).

    A share for each kind (the one with the largest mean log-probability a token), and its `lean`: how far that mean
    lies above the mean of the other kinds, in nats a token, which also moves where the likeliest kind stays the same.
    """

    name: str
    what: str
    kinds: tuple[str, ...]
    needs: Literal["text", "options"] = "options"

    @property
    def measures(self) -> Sequence[Measure]:
        shares = (Measure(f"{self.what}: {kind}") for kind in self.kinds)
        return (*shares, *(Measure(f"lean: {kind}", "", False) for kind in self.kinds))

    def options(self, item: Item) -> tuple[str, ...]:
        """The ending of each kind."""
        return tuple(str(item.labels["endings"][kind]) for kind in self.kinds)

    def score(self, item: Item, answer: Sequence[Sequence[float]]) -> dict[str, float]:
        means = [sum(one) / len(one) for one in answer]
        best, total = max(range(len(means)), key=means.__getitem__), sum(means)
        found = {f"{self.what}: {kind}": float(k == best) for k, kind in enumerate(self.kinds)}
        others = len(means) - 1
        return found | {
            f"lean: {kind}": mean - (total - mean) / others for kind, mean in zip(self.kinds, means, strict=True)
        }
