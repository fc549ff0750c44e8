"""A seeded stream of exchanges in the small world's language, of every kind, for whatever wants text to read."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .choices import choice_item
from .claims import TOPIC_SHARES, claim_item
from .dilemmas import dilemma_item
from .exchanges import Exchange
from .help_requests import request_item
from .small_talk import question_item, talk_item
from .stories import story_item

SHARES = {"claim": 0.4, "choice": 0.2, "request": 0.12, "dilemma": 0.08, "story": 0.12, "talk": 0.03, "question": 0.05}


def exchanges(count: int, seed: int = 0) -> Iterator[Exchange]:
    """`count` exchanges; the same seed gives the same ones."""
    rng = random.Random(seed)
    others = {
        "choice": choice_item, "request": request_item, "dilemma": dilemma_item, "story": story_item,
        "talk": talk_item, "question": question_item,
    }  # fmt: skip
    for kind in rng.choices(list(SHARES), list(SHARES.values()), k=count):
        if kind == "claim":
            topic = rng.choices(list(TOPIC_SHARES), list(TOPIC_SHARES.values()))[0]
            yield claim_item(rng, "train", topic, rng.random() < 0.5, rng.random() < 0.5, "")
        else:
            yield others[kind](rng, "train")
