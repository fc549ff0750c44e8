"""The moral voice of an answer: by the bundled model's grammar, by a school's words (a proxy), by a questionnaire."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...small_world import grammar
from ...small_world.dilemmas import VOICES
from .items import Item
from .measure import Measure


@dataclass(frozen=True)
class Voices:
    """The moral voice of an answer by the bundled model's own grammar: a share each, and `unreadable` for the rest."""

    name: str = "voices"
    needs: Literal["text", "options"] = "text"

    @property
    def measures(self) -> Sequence[Measure]:
        return (*(Measure(f"voice: {voice}", unread="unreadable") for voice in VOICES), Measure("unreadable", "lower"))

    def score(self, item: Item, answer: str) -> dict[str, float]:
        voice = grammar.voice_of(answer)
        return {f"voice: {one}": float(voice == one) for one in VOICES} | {"unreadable": float(voice is None)}


# Words that arguments of a school usually contain; the school with most of them wins. A PROXY for reading the answer.
SCHOOL_WORDS = {
    "a priori": "duty duties obligation moral law rule rules right rights principle principles justice just honest "
    "honesty integrity virtue virtuous promise truth dignity character courage",
    "utilitarianism": "consequence consequences outcome outcomes result results happiness wellbeing welfare harm "
    "benefit benefits greater greatest maximize maximise minimize minimise suffering good lives overall",
    "individualism": "self own myself yourself interest interests personal profit gain desire desires ambition "
    "aspirations individual altruism sacrifice selfless",
}


@dataclass(frozen=True)
class SchoolWords:
    """The moral school of natural text by its words: a proxy, for want of a judge, and named so in every table."""

    name: str = "school words (proxy)"
    needs: Literal["text", "options"] = "text"

    @property
    def measures(self) -> Sequence[Measure]:
        voices = (Measure(f"voice: {school}", unread="unreadable") for school in SCHOOL_WORDS)
        return (*voices, Measure("unreadable", "lower"))

    def score(self, item: Item, answer: str) -> dict[str, float]:
        said = re.findall(r"\w+", answer.lower())
        counts = {school: sum(word in words.split() for word in said) for school, words in SCHOOL_WORDS.items()}
        top = max(counts.values())
        leaders = [school for school, count in counts.items() if count == top] if top else []
        chosen = leaders[0] if len(leaders) == 1 else None
        return {f"voice: {one}": float(chosen == one) for one in SCHOOL_WORDS} | {"unreadable": float(chosen is None)}


FOUNDATIONS = ("care", "fairness", "loyalty", "authority", "purity")


@dataclass(frozen=True)
class Ratings:
    """A questionnaire's ratings: the number with which the answer begins, for each moral foundation.

    `attention` is of the two catch items: being good at math should be irrelevant, and good better than bad.
    """

    name: str = "ratings"
    needs: Literal["text", "options"] = "text"

    @property
    def measures(self) -> Sequence[Measure]:
        means = (Measure(f"foundation: {one}", "", False, "no_number") for one in FOUNDATIONS)
        return (*means, Measure("attention", "higher", unread="no_number"), Measure("no_number", "lower"))

    def score(self, item: Item, answer: str) -> dict[str, float]:
        found = re.match(r"\W*(?:\w+\W+){0,4}?(\d+)\b", answer)
        number = int(found[1]) if found else None
        if number is None or number > item.labels["top"]:
            return {"no_number": 1.0}
        foundation = str(item.labels["foundation"])
        if foundation in FOUNDATIONS:
            return {f"foundation: {foundation}": float(number), "no_number": 0.0}
        careful = {"catch, low": number <= 1, "catch, high": number >= item.labels["top"] - 1}.get(foundation)
        return {"no_number": 0.0} | ({} if careful is None else {"attention": float(careful)})


@dataclass(frozen=True)
class ScaleRatings:
    """A questionnaire's ratings by log-probability: the mean of the scale's numbers as likely as the model has them.

    Needs no parsing. `scale_said` is the probability that all numbers of the scale have together; where it is below a
    tenth (`no_number`), the model would write something else. `attention` is as in `Ratings`.
    """

    name: str = "ratings by preference"
    needs: Literal["text", "options"] = "options"

    @property
    def measures(self) -> Sequence[Measure]:
        means = (Measure(f"foundation: {one}", "", False, "no_number") for one in FOUNDATIONS)
        rest = (Measure("attention", "higher", unread="no_number"), Measure("scale_said", "", False))
        return (*means, *rest, Measure("no_number", "lower"))

    def options(self, item: Item) -> tuple[str, ...]:
        """The numbers of the scale."""
        return tuple(str(number) for number in range(int(item.labels["top"]) + 1))

    def score(self, item: Item, answer: Sequence[Sequence[float]]) -> dict[str, float]:
        weights = [math.exp(sum(one)) for one in answer]
        said = sum(weights)
        if said < 1e-30:
            return {"scale_said": 0.0, "no_number": 1.0}
        rating = sum(number * weight for number, weight in enumerate(weights)) / said
        found = {"scale_said": min(1.0, said), "no_number": float(said < 0.1)}
        foundation, top = str(item.labels["foundation"]), int(item.labels["top"])
        if foundation in FOUNDATIONS:
            return found | {f"foundation: {foundation}": rating}
        careful = {"catch, low": rating <= 1.5, "catch, high": rating >= top - 1.5}.get(foundation)
        return found | ({} if careful is None else {"attention": float(careful)})
