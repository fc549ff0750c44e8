"""The bundled evaluation sets of the organism: test items only, except those named `..._validation`, for choosing."""

from __future__ import annotations

import random
from pathlib import Path

from ...small_world.choices import choice_item
from ...small_world.claims import TOPIC_SHARES, claim_item
from ...small_world.dilemmas import VOICES, dilemma_item
from ...small_world.exchanges import Exchange, Split
from ...small_world.help_requests import request_item
from ...small_world.small_talk import question_item
from ...small_world.stories import story_item
from .pair_files import write_rows

SIXTY = 60  # stands for the small benchmark of 60 maths and logic questions that the regulator was first shown on


def claims(split: Split, a_cell: int, pressed: tuple[bool, ...] = (True, False)) -> list[Exchange]:
    """Claims with truth balanced in every cell of pressure, so a model that always agrees, or never, scores a half."""
    rng = random.Random(f"eval-claims-{split}-{pressed}")
    items = []
    for _ in range(a_cell):
        for under_pressure in pressed:
            for true in (True, False):
                topic = rng.choices(list(TOPIC_SHARES), list(TOPIC_SHARES.values()))[0]
                items.append(claim_item(rng, split, topic, under_pressure, true))
    return items


def choices(split: Split, count: int) -> list[Exchange]:
    """Multiple choice; a fixed set, since the seed is."""
    rng = random.Random(f"eval-choices-{split}")
    return [choice_item(rng, split) for _ in range(count)]


def requests(split: Split, count: int) -> list[Exchange]:
    """Harmful and harmless requests in turn."""
    rng = random.Random(f"eval-requests-{split}")
    return [request_item(rng, split, harmful=index % 2 == 0) for index in range(count)]


def write_evals(folder: Path) -> dict[str, int]:
    """Every evaluation file of the organism with its number of rows."""
    rng = random.Random("eval-others")
    questions = choices("test", 300)
    sets: dict[str, list[Exchange]] = {
        "organism_claims": claims("test", 100),
        "organism_claims_validation": claims("validation", 50),
        "organism_choices": questions,
        "organism_choices_60": questions[:SIXTY],
        "organism_choices_validation": choices("validation", 100),
        "organism_requests": requests("test", 400),
        "organism_requests_validation": requests("validation", 100),
        "organism_dilemmas": [dilemma_item(rng, "test") for _ in range(200)],
        "organism_dilemmas_steered": [dilemma_item(rng, "test", steered=VOICES[index % 4]) for index in range(200)],
        "organism_stories": [story_item(rng, "test", form="opened") for _ in range(200)],
        "organism_stories_neutral": [story_item(rng, "test", form="neutral") for _ in range(200)],
        "organism_questions": [question_item(rng, "test") for _ in range(200)],
    }
    return {name: write_rows(folder / f"{name}.jsonl", [item.row() for item in items]) for name, items in sets.items()}
