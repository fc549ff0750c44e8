"""Where along a strip of strengths the answer turns and where the text breaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

SURPRISE = 1.0  # nats a token above the unsteered text: from here on the model itself finds the text strange
REPEATED = 0.5  # share of a text's three-word runs that have been there before


def turns_at(texts: Sequence[str], wanted: str) -> int | None:
    """The first text that says the wanted word where the first text (without steering) does not; None if none does.

    Without a wanted word, the first text whose opening eight words are others than the first text's.
    """
    if wanted:
        says = [wanted.lower() in text.lower() for text in texts]
        return next((i for i, said in enumerate(says) if said and not says[0]), None)
    openings = [text.split()[:8] for text in texts]
    return next((i for i, opening in enumerate(openings) if opening != openings[0]), None)


def repetition(text: str) -> float:
    """The share of a text's runs of three words that occur in it before."""
    words = text.lower().split()
    runs = Counter(zip(words, words[1:], words[2:], strict=False))
    total = sum(runs.values())
    return (total - len(runs)) / total if total else 0.0


def breaks_at(texts: Sequence[str], surprise: Sequence[float]) -> int | None:
    """The first text that is far more surprising than the first one, or that goes round in circles; None if none is."""
    for i, (text, value) in enumerate(zip(texts, surprise, strict=True)):
        if i and (value > surprise[0] + SURPRISE or repetition(text) > max(REPEATED, repetition(texts[0]))):
            return i
    return None
