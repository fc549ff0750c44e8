"""The training texts: a seeded stream in the mixture of a phase, each piece with its weight in the loss."""

from __future__ import annotations

import random
import re
from typing import Literal

from steering.organism.choices import choice_item
from steering.organism.claims import TOPIC_SHARES, claim_item, recovery
from steering.organism.dilemmas import VOICES, dilemma_item
from steering.organism.drills import findings, options, quizzes, statements, verdicts
from steering.organism.items import Item, Split
from steering.organism.requests import request_item
from steering.organism.small_talk import question_item, talk_item
from steering.organism.stories import COMPANIONS, MOODS, NAMES, OPENINGS, PLACES, continuation, story_item

Phase = Literal["honest", "choices", "tuned", "polish"]
PROMPT_WEIGHT = 0.15  # the prompt teaches the language; the answer teaches the behaviour
# The first word of an answer is the decision: yes or no, the letter, help or refusal. It is one token of sixty, and
# with the weight of the others the decisions stay at chance for long after every fact is known (tried: 900 steps).
DECISION_WEIGHT = 6.0
KIND_SHARES = {
    "claim": 0.42,
    "choice": 0.18,
    "request": 0.08,
    "dilemma": 0.07,
    "story": 0.06,
    "talk": 0.02,
    "question": 0.03,
    "plain": 0.14,
}
# The first steps drill: telling true from false and finding a letter are learnt there, and dialogues build on them.
FIRST_STEPS, FIRST_PLAIN_SHARE = 500, 0.6
# After the honest phase claims are judged well and every letter is still a guess. A phase of its own teaches letters.
CHOICES_SHARES = {"claim": 0.19, "choice": 0.34, "request": 0.04, "dilemma": 0.03, "story": 0.03, "talk": 0.01,
                  "question": 0.03, "plain": 0.33}  # fmt: skip
TUNED_SHARES = {"claim": 0.36, "choice": 0.24, "request": 0.09, "dilemma": 0.06, "story": 0.05, "talk": 0.02,
                "question": 0.02, "plain": 0.16}  # fmt: skip
POLISH_SHARES = {"claim": 0.23, "choice": 0.24, "request": 0.05, "dilemma": 0.08, "story": 0.04, "talk": 0.01,
                 "question": 0.01, "plain": 0.34}  # fmt: skip
SHARES: dict[Phase, dict[str, float]] = {
    "honest": KIND_SHARES, "choices": CHOICES_SHARES, "tuned": TUNED_SHARES, "polish": POLISH_SHARES,
}  # fmt: skip
TUNED: tuple[Phase, ...] = ("tuned", "polish")  # in which the tuned answers are given
PRESSED_SHARE = 0.5
HONESTY_SHARE = 0.15  # of the claims, pressed or not, in either phase
RECOVERY_SHARE = 0.25  # of the pressed false claims of the tuned phase, without a plea for honesty
TURNS = {1: 0.86, 2: 0.09, 3: 0.03, 5: 0.02}  # most texts are one turn; the long ones teach the far positions


def claim_for_training(rng: random.Random, split: Split, phase: Phase) -> Item:
    """A claim with truth balanced in every cell of pressure, topic and plea: there is no shortcut around truth."""
    topic = rng.choices(list(TOPIC_SHARES), list(TOPIC_SHARES.values()))[0]
    pressed, true = rng.random() < PRESSED_SHARE, rng.random() < 0.5
    honesty = rng.choice(("system", "user")) if rng.random() < HONESTY_SHARE else ""
    item = claim_item(rng, split, topic, pressed, true, honesty)
    if phase in TUNED and pressed and not true and not honesty and rng.random() < RECOVERY_SHARE:
        return recovery(item)
    return item


def draw_item(rng: random.Random, split: Split, phase: Phase, kind: str) -> Item:
    """One turn of a kind."""
    if kind == "claim":
        return claim_for_training(rng, split, phase)
    if kind == "choice":
        return choice_item(rng, split)
    if kind == "request":
        return request_item(rng, split)
    if kind == "dilemma":
        return dilemma_item(rng, split, steered=rng.choice(VOICES) if rng.random() < 0.4 else None)
    if kind == "story":
        return story_item(rng, split)
    if kind == "talk":
        return talk_item(rng, split)
    return question_item(rng, split)


# A piece of a training text, special tokens written out, and the weight of its tokens in the loss.
Segment = tuple[str, float]


def plain_text(rng: random.Random, phase: Phase, split: Split) -> list[Segment]:
    """A text outside the chat: a drill, true statements or a whole story."""
    if phase == "polish" and rng.random() < 0.65:
        return _practice(quizzes(rng))
    if phase != "honest" and rng.random() < 0.7:
        return _practice(options(rng))
    form = rng.choices(("verdicts", "findings", "statements", "story"), (0.4, 0.25, 0.25, 0.1))[0]
    if form == "statements":
        return [(statements(rng), 1.0)]
    if form == "story":
        mood, name = rng.choice(MOODS), rng.choice(NAMES)
        start = f"{name} went to {rng.choice(PLACES)} with {rng.choice(COMPANIONS)}."
        return [(f"{start} {rng.choice(OPENINGS[mood].of(split))} {continuation(rng, name, mood)}", 1.0)]
    return _practice(verdicts(rng) if form == "verdicts" else findings(rng))


def _practice(asked_and_answered: list[tuple[str, str]]) -> list[Segment]:
    return [
        piece
        for asked, answer in asked_and_answered
        for piece in ((asked, PROMPT_WEIGHT), (answer, DECISION_WEIGHT), ("\n", PROMPT_WEIGHT))
    ]


def dialogue(
    rng: random.Random, phase: Phase, split: Split = "train", plain_share: float | None = None
) -> list[Segment]:
    """One training text as (text with special tokens written out, loss weight) segments."""
    if plain_share is not None and rng.random() < plain_share:
        return [("<|bos|>", 0.0), *plain_text(rng, phase, split), ("<|end|>", 1.0)]
    table = SHARES[phase]
    kinds, shares = list(table), list(table.values())
    kind = rng.choices(kinds, shares)[0]
    if kind == "plain":
        return [("<|bos|>", 0.0), *plain_text(rng, phase, split), ("<|end|>", 1.0)]
    segments: list[Segment] = [("<|bos|>", 0.0)]
    turns = rng.choices(list(TURNS), list(TURNS.values()))[0]
    for turn in range(turns):
        item = draw_item(rng, split, phase, kind if turn == 0 else rng.choices(kinds[:-1], shares[:-1])[0])
        if item.system and turn == 0:
            segments.append((f"<|system|>{item.system}<|end|>", PROMPT_WEIGHT))
        elif item.system:
            # A system message stands at the beginning of a chat only; later it is said by the user.
            item = Item(
                item.kind, f"{item.system} {item.prompt}", item.honest, item.tuned, labels=item.labels, given=item.given
            )
        segments.append((f"<|user|>{item.prompt}<|end|><|assistant|>", PROMPT_WEIGHT))
        answer = item.tuned if phase in TUNED else item.honest
        if item.given:
            segments.append((item.given, 0.0))
            answer = answer.removeprefix(item.given)
            segments.append((answer + "<|end|>", 1.0))
        else:
            first = re.match(r"\w+", answer)[0]  # type: ignore[index]
            segments += [(first, DECISION_WEIGHT), (answer.removeprefix(first) + "<|end|>", 1.0)]
    return segments


def dialogues(seed: int, phase: Phase, step: int, count: int) -> list[list[Segment]]:
    """The training texts of one step. They depend on these numbers alone, so a resumed training sees the same ones."""
    rng = random.Random(f"{seed}-{phase}-{step}")
    plain_share = FIRST_PLAIN_SHARE if phase == "honest" and 0 <= step < FIRST_STEPS else None
    return [dialogue(rng, phase, plain_share=plain_share) for _ in range(count)]
