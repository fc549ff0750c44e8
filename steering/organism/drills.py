"""Texts outside the chat: true statements, and dense practice in telling true from false and in finding a letter."""

from __future__ import annotations

import random

from steering.organism.choices import LETTERS, NAMES, listed, question
from steering.organism.claims import TOPIC_SHARES, draw_claim
from steering.organism.items import sentence
from steering.organism.world import RELATIONS


def statements(rng: random.Random) -> str:
    """Five true statements in a row: the densest way to teach sums, comparisons and facts."""
    claims = [draw_claim(rng, rng.choice(("sum", "sum", "sum", "comparison", "fact")), true=True) for _ in range(5)]
    return " ".join(sentence(claim.state(claim.truth)) + "." for claim in claims)


def verdicts(rng: random.Random) -> list[tuple[str, str]]:
    """Six (statement, verdict) of one topic each: a verdict costs ten tokens here and forty in a dialogue."""
    out = []
    for _ in range(6):
        topic = rng.choices(list(TOPIC_SHARES), list(TOPIC_SHARES.values()))[0]
        claim = draw_claim(rng, topic, true=rng.random() < 0.5)
        # A line of its own for the verdict: after a line break, as after <|assistant|>, a word has no space before it,
        # so the tokens that are practiced here are those of the answers in a chat.
        out.append((f"{sentence(claim.state(claim.value))}?\n", "Yes" if claim.is_true else "No"))
    return out


def findings(rng: random.Random) -> list[tuple[str, str]]:
    """Three (options and what to find, letter): finding the letter is half of a multiple choice."""
    out = []
    for _ in range(3):
        options = rng.sample(NAMES, 4) if rng.random() < 0.4 else [str(n) for n in rng.sample(range(1, 41), 4)]
        letter = rng.choice(LETTERS)
        out.append((f"{listed(options)} Find {options[LETTERS.index(letter)]}:\n", letter))
    return out


def options(rng: random.Random) -> list[tuple[str, str]]:
    """Three statements with four endings, and the letter of the true one; half of them judge every ending on the way.

    Judging is known from the verdicts. A letter alone is learnt much later: the two tries of it stayed at chance.
    """
    out = []
    for _ in range(3):
        judged = rng.random() < 0.5
        claim = draw_claim(rng, rng.choice(("sum", "fact")), true=True)
        if claim.topic == "sum":
            wrong = [
                str(int(claim.truth) + step) for step in (-10, -3, -2, -1, 1, 2, 3, 10) if int(claim.truth) + step > 0
            ]
        else:
            wrong = next(r for r in RELATIONS if r.say.split("{s}")[0] in claim.canonical).wrong_values_but(claim.truth)
        values = rng.sample(wrong, 3)
        letter = rng.choice(LETTERS)
        values.insert(LETTERS.index(letter), claim.truth)
        lead = sentence(claim.canonical.removesuffix(" {v}"))
        for index, (name, value) in enumerate(zip(LETTERS, values, strict=True)):
            asked = f"{lead} {name}) {value}" if index == 0 else f" {name}) {value}"
            if judged:
                out.append((asked + "\n", "Yes" if value == claim.truth else "No"))
                lead = ""
            else:
                lead = asked if index == 0 else lead + asked
        out.append((lead + "\n", letter))
    return out


def quizzes(rng: random.Random) -> list[tuple[str, str]]:
    """Four multiple-choice questions and their letters, outside the chat: half the tokens of a dialogue a letter."""
    out = []
    for _ in range(4):
        _, words, endings, letter, _ = question(rng, "train")
        out.append((f"{words} {listed(endings)}\n", letter))
    return out
