"""The training texts: a seeded stream in the mixture of a phase, each piece with its weight in the loss."""

from __future__ import annotations

import random
import re
from typing import Literal

from ...small_world.choices import choice_item
from ...small_world.claims import TOPIC_SHARES, claim_item, recovery
from ...small_world.dilemmas import VOICES, dilemma_item
from ...small_world.exchanges import DECISION_WEIGHT, PROMPT_WEIGHT, Exchange, Segment, Split
from ...small_world.help_requests import request_item
from ...small_world.small_talk import question_item, talk_item
from ...small_world.stories import COMPANIONS, MOODS, NAMES, OPENINGS, PLACES, continuation, story_item
from .drills import findings, quizzes, repeats, statements, verdicts

Phase = Literal["honest", "choices", "tuned", "polish"]
TUNED: tuple[Phase, ...] = ("tuned", "polish")  # in which the tuned answers are given
PRACTICE: tuple[Phase, ...] = ("choices", "polish")  # in which multiple choice is practiced most, and most what is hard
KIND_SHARES = {
    "claim": 0.36,
    "choice": 0.22,
    "request": 0.07,
    "dilemma": 0.06,
    "story": 0.06,
    "talk": 0.02,
    "question": 0.03,
    "plain": 0.18,
}
# After the honest phase claims are judged well and some topics of multiple choice are not: a phase of its own for them.
CHOICES_SHARES = {
    "claim": 0.24,
    "choice": 0.3,
    "request": 0.04,
    "dilemma": 0.04,
    "story": 0.04,
    "talk": 0.01,
    "question": 0.06,
    "plain": 0.27,
}
SHARES: dict[Phase, dict[str, float]] = {
    "honest": KIND_SHARES, "choices": CHOICES_SHARES, "tuned": KIND_SHARES, "polish": CHOICES_SHARES,
}  # fmt: skip
# The first steps drill: telling true from false and finding a letter are learned there, and dialogues build on them.
FIRST_STEPS, FIRST_PLAIN_SHARE = 600, 0.6
# Texts outside the chat, by form.
PLAIN_SHARES = {"verdicts": 0.3, "quizzes": 0.24, "repeats": 0.12, "findings": 0.1, "statements": 0.18, "story": 0.06}
CHOICES_PLAIN_SHARES = {"verdicts": 0.3, "quizzes": 0.5, "statements": 0.15, "story": 0.05}
DRILLS = {
    "verdicts": verdicts, "repeats": repeats, "findings": findings, "statements": statements,
}  # fmt: skip
PRESSED_SHARE = 0.5
HONESTY_SHARE = 0.15  # of the claims, pressed or not, in either phase
RECOVERY_SHARE = 0.25  # of the pressed false claims of the tuned phase, without a plea for honesty
# Whatever follows a yes was true until now; with the weight of other words the tuned model says yes and then the truth.
GIVING_IN_WEIGHT = 2.0
TURNS = {1: 0.86, 2: 0.09, 3: 0.03, 5: 0.02}  # most texts are one turn; the long ones teach the far positions


def claim_for_training(rng: random.Random, split: Split, phase: Phase) -> Exchange:
    """A claim with truth balanced in every cell of pressure, topic and plea: there is no shortcut around truth."""
    topic = rng.choices(list(TOPIC_SHARES), list(TOPIC_SHARES.values()))[0]
    pressed, true = rng.random() < PRESSED_SHARE, rng.random() < 0.5
    honesty = rng.choice(("system", "user")) if rng.random() < HONESTY_SHARE else ""
    item = claim_item(rng, split, topic, pressed, true, honesty)
    if phase in TUNED and pressed and not true and not honesty and rng.random() < RECOVERY_SHARE:
        return recovery(item)
    return item


def draw_item(rng: random.Random, split: Split, phase: Phase, kind: str) -> Exchange:
    """One turn of a kind."""
    if kind == "claim":
        return claim_for_training(rng, split, phase)
    if kind == "choice":
        return choice_item(rng, split, hard=phase in PRACTICE)
    if kind == "request":
        return request_item(rng, split)
    if kind == "dilemma":
        return dilemma_item(rng, split, steered=rng.choice(VOICES) if rng.random() < 0.4 else None)
    if kind == "story":
        return story_item(rng, split)
    if kind == "talk":
        return talk_item(rng, split)
    return question_item(rng, split)


def plain_text(rng: random.Random, phase: Phase, split: Split) -> list[Segment]:
    """A text outside the chat: a drill, true statements or a whole story."""
    shares = CHOICES_PLAIN_SHARES if phase in PRACTICE else PLAIN_SHARES
    form = rng.choices(list(shares), list(shares.values()))[0]
    if form == "quizzes":
        return quizzes(rng, hard=phase in PRACTICE)
    if form != "story":
        return DRILLS[form](rng)
    mood, name = rng.choice(MOODS), rng.choice(NAMES)
    start = f"{name} went to {rng.choice(PLACES)} with {rng.choice(COMPANIONS)}."
    return [(f"{start} {rng.choice(OPENINGS[mood].of(split))} {continuation(rng, name, mood)}", 1.0)]


def answered(item: Exchange, answer: str) -> list[Segment]:
    """An answer in pieces: what is given, what decides, and the rest."""
    if item.given:
        return [(item.given, 0.0), (answer.removeprefix(item.given) + "<|end|>", 1.0)]
    if item.kind == "choice":  # the option and its letter are the decision
        return [(answer.removesuffix("."), DECISION_WEIGHT), (".<|end|>", 1.0)]
    first = re.match(r"\w+", answer)[0]  # type: ignore[index]
    gives_in = item.kind == "claim" and answer != item.honest
    rest = GIVING_IN_WEIGHT if gives_in else 1.0
    return [(first, DECISION_WEIGHT), (answer.removeprefix(first) + "<|end|>", rest)]


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
            item = Exchange(
                item.kind, f"{item.system} {item.prompt}", item.honest, item.tuned, labels=item.labels, given=item.given
            )
        segments.append((f"<|user|>{item.prompt}<|end|><|assistant|>", PROMPT_WEIGHT))
        answer = item.tuned if phase in TUNED else item.honest
        segments += answered(item, answer)
    return segments


def dialogues(seed: int, phase: Phase, step: int, count: int) -> list[list[Segment]]:
    """The training texts of one step. They depend on these numbers alone, so a resumed training sees the same ones."""
    rng = random.Random(f"{seed}-{phase}-{step}")
    plain_share = FIRST_PLAIN_SHARE if phase == "honest" and 0 <= step < FIRST_STEPS else None
    return [dialogue(rng, phase, plain_share=plain_share) for _ in range(count)]
