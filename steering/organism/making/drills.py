"""Texts outside the chat: true statements, and dense practice in telling true from false and in finding a letter."""

from __future__ import annotations

import random

from ...small_world.choices import KINDS, LETTERS, NAMES, TRAITS, listed, question
from ...small_world.claims import TOPIC_SHARES, draw_claim
from ...small_world.exchanges import DECISION_WEIGHT, PROMPT_WEIGHT, Segment, sentence


def statements(rng: random.Random) -> list[Segment]:
    """Five true statements in a row: the densest way to teach sums, comparisons and facts."""
    claims = [draw_claim(rng, rng.choice(("sum", "sum", "sum", "comparison", "fact")), true=True) for _ in range(5)]
    return [(" ".join(sentence(claim.state(claim.truth)) + "." for claim in claims), 1.0)]


def verdicts(rng: random.Random) -> list[Segment]:
    """Six statements of one topic each with a verdict: it costs ten tokens here and forty in a dialogue."""
    out: list[Segment] = []
    for _ in range(6):
        topic = rng.choices(list(TOPIC_SHARES), list(TOPIC_SHARES.values()))[0]
        claim = draw_claim(rng, topic, true=rng.random() < 0.5)
        # A line of its own for the verdict: after a line break, as after <|assistant|>, a word has no space before it,
        # so the tokens that are practiced here are those of the answers in a chat.
        out += [
            (f"{sentence(claim.state(claim.value))}?\n", PROMPT_WEIGHT),
            ("Yes" if claim.is_true else "No", DECISION_WEIGHT),
            ("\n", PROMPT_WEIGHT),
        ]
    return out


def repeats(rng: random.Random) -> list[Segment]:
    """A row of things with random letters, and the same row again: the letter after a thing has to be looked up.

    This is what makes the heads that find a letter; from multiple choice alone they came after 7 M tokens.
    """
    numbers = [str(number) for number in range(1, 60)]
    row = ", ".join(f"{thing} ({rng.choice(LETTERS)})" for thing in rng.sample([*NAMES, *TRAITS, *KINDS, *numbers], 10))
    return [(f"{row}\n", PROMPT_WEIGHT), (f"{row}\n", 0.5 * DECISION_WEIGHT)]


def findings(rng: random.Random) -> list[Segment]:
    """Two rows of options, and every option of each with its letter, in another order."""
    out: list[Segment] = []
    for _ in range(2):
        options = rng.sample(NAMES, 4) if rng.random() < 0.4 else [str(n) for n in rng.sample(range(1, 100), 4)]
        out.append((f"{listed(options)}\n", PROMPT_WEIGHT))
        for index in rng.sample(range(4), 4):
            out += [(options[index], PROMPT_WEIGHT), (f" ({LETTERS[index]})", DECISION_WEIGHT), ("\n", PROMPT_WEIGHT)]
    return out


def quizzes(rng: random.Random, hard: bool = False) -> list[Segment]:
    """Three multiple-choice questions with their answers, outside the chat: half the tokens of a dialogue an answer."""
    out: list[Segment] = []
    for _ in range(3):
        _, words, options, letter, right = question(rng, "train", hard=hard)
        out += [(f"{words} {listed(options)}\n", PROMPT_WEIGHT), (f"{right} ({letter})", DECISION_WEIGHT)]
        out.append(("\n", PROMPT_WEIGHT))
    return out
