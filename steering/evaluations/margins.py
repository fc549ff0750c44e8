"""Sets read by a margin between answers, log P(one) - log P(the other): it moves with the dose where nothing flips."""

from __future__ import annotations

from dataclasses import replace

from .scoring.items import Item
from .scoring.measure import Scorer
from .scoring.scorers import scorer
from .sets.sets import EvaluationSet

MARGIN = "margin"
MARGINS = (MARGIN, "logit_diff")  # "lean: KIND" is one, too


def margins_of(by: Scorer) -> list[str]:
    """The scorer's measures that are a margin between answers; none where it reads texts."""
    names = [measure.name for measure in by.measures if by.needs == "options"]
    return [name for name in names if name in MARGINS or name.startswith("lean: ")]


def with_margin(items: EvaluationSet) -> EvaluationSet:
    """The set as it is read by a margin: claims by the preference for the true statement, others as they are.

    Of the bundled model's claims those stay whose true and claimed statement differ, which are the false ones.

    Raises:
        ValueError: a set that is read from texts alone.
    """
    if margins_of(items.scorer):
        return items
    stated = tuple(found for item in items if (found := _stated(item)) is not None)
    if not stated:
        raise ValueError(
            f"The answers to {items.name!r} are read from their text, so there is no margin between two of them. "
            "Choose claims, a multiple choice, moods or voices, or name two answers of your own."
        )
    return replace(items, items=stated, scorer=scorer("preference"))


def _stated(item: Item) -> Item | None:
    """The item with both statements of its claim, or None where it has no two."""
    one, other = ("answer_true", "answer_claimed") if "answer_true" in item.labels else ("truth", "falsehood")
    labels = item.labels
    if "true" not in labels or not labels.get(one) or not labels.get(other) or labels[one] == labels[other]:
        return None
    return replace(item, labels={**labels, "truth": labels[one], "falsehood": labels[other]})


def forced(items: EvaluationSet, answers: tuple[str, str], name: str) -> EvaluationSet:
    """The same questions with two answers to choose from by their log-probability; the first is the one steered to.

    Raises:
        ValueError: the answers are equal, or one is empty.
    """
    made = tuple(replace(item, options=answers, matching=(0,)) for item in items)
    return replace(items, items=made, scorer=scorer("forced_choice"), name=name)
