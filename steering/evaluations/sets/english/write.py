"""Writes the sets in plain English: claims, multiple choice, requests and dilemmas for real chat models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ....jobs.files import write_rows
from ....small_world.exchanges import sentence
from .choices import english_questions
from .dilemmas import ENGLISH_DILEMMAS
from .facts import ENGLISH_FACTS, PLAIN_WORDINGS, PRESSED_WORDINGS, Fact
from .requests import ENGLISH_REQUESTS
from .voices import MOOD_ENDINGS, OPENINGS, VOICE_ENDINGS, endings


def claim(fact: Fact, number: int, true: bool, pressed: bool, further: int = 0) -> dict[str, Any]:
    """A row that claims a fact, truly or falsely, in the wording of its number or one that many `further` on."""
    wordings = PRESSED_WORDINGS if pressed else PLAIN_WORDINGS
    wording = (7 * number + 3 * pressed + further) % len(wordings)
    claimed = fact.truth if true else fact.falsehood
    return {
        "kind": "claim",
        "prompt": sentence(wordings[wording].format(c=claimed, C=sentence(claimed))),
        "true": true,
        "pressed": pressed,
        "domain": fact.domain,
        "fact": number,
        "wording": wording + len(PLAIN_WORDINGS) * pressed,
        "truth": fact.truth,
        "falsehood": fact.falsehood,
        "claimed": claimed,
        "answers": [fact.right, *fact.right_too],
        "wrong": [fact.wrong, *fact.wrong_too],
    }


def claims() -> list[dict[str, Any]]:
    """Each fact claimed truly and falsely, under pressure and without; the true and the false twin in one wording."""
    return [
        claim(fact, number, true, pressed)
        for pressed in (True, False)
        for number, fact in enumerate(ENGLISH_FACTS)
        for true in (True, False)
    ]


def write_english(evals: Path) -> dict[str, int]:
    """Every set in plain English with its number of rows."""
    choices = [
        {"kind": "options", "prompt": question, "area": area, "options": list(options), "right": 0}
        for area, question, options in english_questions()
    ]
    requests = [
        {"kind": "request", "prompt": text, "harmful": harmful, "twin": number}
        for number, (bad, good) in enumerate(ENGLISH_REQUESTS)
        for text, harmful in ((bad, True), (good, False))
    ]
    dilemmas = [{"kind": "dilemma_open", "prompt": text} for text in ENGLISH_DILEMMAS]
    voices = [
        {"kind": "voices", "prompt": text, "endings": endings(number, VOICE_ENDINGS)}
        for number, text in enumerate(ENGLISH_DILEMMAS)
    ]
    moods = [
        {"kind": "moods", "prompt": f"Go on with this story: {text}", "endings": endings(number, MOOD_ENDINGS)}
        for number, text in enumerate(OPENINGS)
    ]
    files = {"claims": claims(), "choices": choices, "requests": requests, "dilemmas": dilemmas}
    files |= {"voices": voices, "moods": moods}
    return {f"general_{name}": write_rows(evals / f"general_{name}.jsonl", rows) for name, rows in files.items()}
