"""A questionnaire asked in several orders of its scale, since a model may like the first or the last number shown."""

from __future__ import annotations

import random
import re
from dataclasses import replace

from ..scoring.items import Item
from .sets import EvaluationSet

_STEP = re.compile(r"^\[(\d+)\].*$", re.MULTILINE)


def in_orders(found: EvaluationSet, orders: int, seed: int = 0) -> EvaluationSet:
    """Each item with the lines of its scale in `orders` orders: as published, reversed, then drawn ones.

    Raises:
        ValueError: fewer than one order, or items without a scale of lines like "[0] = not at all".
    """
    if orders < 1:
        raise ValueError(f"A questionnaire is asked in at least one order of its scale; got {orders}.")
    rng = random.Random(seed)
    return replace(found, items=tuple(_ordered(item, k, rng) for item in found for k in range(orders)))


def _ordered(item: Item, number: int, rng: random.Random) -> Item:
    lines = [one[0] for one in _STEP.finditer(item.text)]
    if len(lines) < 2 or not isinstance(item.prompt, str):
        raise ValueError(
            f"Orders are of a scale, lines like '[0] = not at all'; this item has none: {item.text[:80]!r}."
        )
    shown = list(lines) if number == 0 else lines[::-1] if number == 1 else rng.sample(lines, len(lines))
    rest = iter(shown)
    text = _STEP.sub(lambda _: next(rest), item.prompt)
    return replace(item, prompt=text, labels={**item.labels, "order": number})
