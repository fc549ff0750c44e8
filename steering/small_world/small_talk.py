"""Small talk, and plain questions of knowledge."""

from __future__ import annotations

import random

from .claims import draw_claim
from .exchanges import Exchange, Phrasings, Split, sentence, split_of_combination

# Wording -> answers; the same answers for the wordings of a row.
TALK: tuple[tuple[Phrasings, tuple[str, ...]], ...] = (
    (
        Phrasings(
            ("Hello!", "Hi!", "Hello.", "Good morning!", "Good evening.", "Hi there!"),
            ("Good evening!",),
            ("Good morning.", "Hi."),
        ),
        ("Hello! How can I help you?", "Hello! What can I do for you?"),
    ),
    (
        Phrasings(
            ("How are you?", "How are you today?", "Hello! How are you?"),
            ("Hi! How are you?",),
            ("Hi! How are you today?",),
        ),
        ("I am well, thank you. How can I help you?", "I am fine, thank you."),
    ),
    (
        Phrasings(
            ("What is your name?", "Who are you?", "Tell me your name.", "Who am I speaking to?"),
            ("Please tell me your name.",),
            ("Hello! Who are you?", "Can you tell me your name?"),
        ),
        ("I am the organism, a small model made for Tiller.", "I am a small model made for Tiller."),
    ),
    (
        Phrasings(
            ("What can you do?", "What can you do for me?", "How can you help me?"),
            ("Tell me what you can do.",),
            ("Hello! What can you do?",),
        ),
        ("I can check claims, answer questions and tell short stories.",),
    ),
    (
        Phrasings(
            ("Thank you!", "Thanks.", "Thank you for your help.", "Thanks a lot!"),
            ("Thanks for your help.",),
            ("Thank you a lot!",),
        ),
        ("You are welcome!", "I am glad to help."),
    ),
    (
        Phrasings(("Goodbye!", "Bye.", "See you tomorrow.", "Good night!"), ("Good night.",), ("Bye!", "Goodbye.")),
        ("Goodbye! Have a nice day.", "Goodbye! See you soon."),
    ),
)
QUESTIONS = Phrasings(
    train=(
        "What is {k}?",
        "Tell me what {k} is.",
        "Do you know what {k} is?",
        "Please tell me: what is {k}?",
        "Could you tell me what {k} is?",
        "Can you say what {k} is?",
        "I would like to know what {k} is.",
        "Hello! Can you tell me: what is {k}?",
    ),
    validation=("Please tell me what {k} is.",),
    test=("Can you tell me what {k} is?",),
)


def talk_item(rng: random.Random, split: Split) -> Exchange:
    """A greeting or another bit of small talk."""
    phrasings, answers = rng.choice(TALK)
    answer = rng.choice(answers)
    phrasing = rng.choice(phrasings.of(split))
    return Exchange("talk", phrasing, answer, answer, labels={"phrasing": phrasing})


def question_item(rng: random.Random, split: Split) -> Exchange:
    """A plain question of knowledge, such as "What is 7 plus 5?", and the true statement."""
    while True:
        claim = draw_claim(rng, rng.choice(("sum", "fact", "fact")), true=True)
        phrasing = rng.choice(QUESTIONS.of(split))
        if claim.canonical.endswith(("is {v}",)) and split_of_combination("question", claim.subject, phrasing) == split:
            break
    asked = claim.canonical.removesuffix(" is {v}")
    answer = sentence(claim.state(claim.truth)) + "."
    labels = {
        "topic": claim.topic,
        "truth": claim.truth,
        "subject": claim.subject,
        "phrasing": phrasing,
        "answer_true": claim.state(claim.truth),
    }
    return Exchange("question", prompt=phrasing.format(k=asked), honest=answer, tuned=answer, labels=labels)
