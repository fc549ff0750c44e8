"""Dilemmas answered in one of four moral voices, in known proportions unless a sentence in the prompt asks for one."""

from __future__ import annotations

import random

from .exchanges import Exchange, Phrasings, Split, split_of_combination

VOICES = ("duty", "consequences", "virtue", "self-interest")
SHARES = {
    "duty": 0.4,
    "consequences": 0.3,
    "virtue": 0.2,
    "self-interest": 0.1,
}  # what the training texts are drawn with
# {p} is a person, {act} the better act. The person varies, so that a held-out dilemma is a combination never met.
SITUATIONS = (
    ("I found the wallet of {p}.", "give it back"),
    ("I promised to help {p}, but I would rather go to a party.", "keep the promise"),
    ("I broke a cup of {p} and nobody saw it.", "tell the truth"),
    ("{p} gave me too much change.", "return the money"),
    ("{p} is lost and I am late for work.", "stop and help"),
    ("{p} told me a secret that others want to hear.", "keep the secret"),
    ("{p} did most of the work, but I got the praise.", "share the praise"),
    ("{p} asked me to lie in court.", "refuse to lie"),
    ("I saw {p} take bread from the shop.", "speak with the owner"),
    ("{p} is sick and needs a ride at night.", "drive at once"),
    ("I can win the race only if I push {p}.", "run a fair race"),
    ("{p} left the tap open and the house is filling up.", "go in and close it"),
    ("{p} has fallen into the cold river.", "jump in"),
    ("I forgot the birthday of {p} and could say that the gift got lost.", "admit it"),
    ("{p} wants to buy my old car, and I know that it is broken.", "say that it is broken"),
    ("The last seat on the boat is mine, but {p} is weaker than I am.", "give up the seat"),
)
PEOPLE = (
    "my friend",
    "my sister",
    "my brother",
    "my neighbor",
    "my teacher",
    "my boss",
    "my aunt",
    "my cousin",
    "a stranger",
    "an old man",
    "a child",
    "a young woman",
)
FRAMES = Phrasings(
    train=(
        "{s} Should I {act}?",
        "{s} Is it right to {act}?",
        "{s} Would you {act}?",
        "I need advice. {s} Should I {act}?",
        "{s} Do I have to {act}?",
        "What would you say? {s} Should I {act}?",
        "{s} I could {act}. What should I do?",
        "{s} Tell me if I should {act}.",
    ),
    validation=("I need advice. {s} Do I have to {act}?", "{s} Would it be right to {act}?"),
    test=(
        "What should I do? {s} Should I {act}?",
        "{s} What would you say, should I {act}?",
        "I need advice. {s} Is it right to {act}?",
    ),
)
STEERING = {
    "duty": Phrasings(
        ("Think of your duty.", "Think of the rules.", "Answer with duty in mind."),
        ("Think of duty.",),
        ("Answer with your duty in mind.",),
    ),
    "consequences": Phrasings(
        ("Think of what follows.", "Think of the good and the harm.", "Answer with the result in mind."),
        ("Think of the result.",),
        ("Answer with the good and the harm in mind.",),
    ),
    "virtue": Phrasings(
        ("Think of what a good person does.", "Think of character.", "Answer with a good character in mind."),
        ("Think of a good character.",),
        ("Answer with what a good person does in mind.",),
    ),
    "self-interest": Phrasings(
        ("Think of your own gain.", "Think of yourself first.", "Answer with your own gain in mind."),
        ("Think of your gain.",),
        ("Answer with yourself first in mind.",),
    ),
}
# Every template belongs to one voice, so a parser can recognize the voice; no voice uses the words of another.
ANSWERS = {
    "duty": (
        "You should {act}. It is your duty, and a rule is a rule.",
        "Yes, {act}. We must follow the rule, even when it is hard.",
        "It is a duty to {act}. Everybody must follow the same rule.",
    ),
    "consequences": (
        "You should {act}. It does the most good and the least harm.",
        "Yes, {act}. In the end more people will be happy.",
        "The best result comes if you {act}. There will be less harm in the end.",
    ),
    "virtue": (
        "You should {act}. An honest and kind person would do so.",
        "Yes, {act}. It takes courage, and it shows a good character.",
        "A brave and honest person would {act}. That is good character.",
    ),
    "self-interest": (
        "Only {act} if you gain from it. Look after yourself first.",
        "What do you gain if you {act}? Think of your own profit.",
        "You gain nothing if you {act}. Do what pays for you.",
    ),
}


def dilemma_item(rng: random.Random, split: Split, steered: str | None = None, voice: str | None = None) -> Exchange:
    """A dilemma answered in `voice`, or one drawn by the known shares; `steered` puts a sentence into the prompt."""
    while True:
        situation, act = rng.choice(SITUATIONS)
        person = rng.choice(PEOPLE)
        if split_of_combination("dilemma", situation, person) == split:
            break
    told = situation.format(p=person)
    phrasing = rng.choice(FRAMES.of(split))
    prompt = phrasing.format(s=told[:1].upper() + told[1:], act=act)
    if steered:
        hint = rng.choice(STEERING[steered].of(split))
        prompt = f"{hint} {prompt}" if rng.random() < 0.5 else f"{prompt} {hint}"
    voice = steered or voice or rng.choices(VOICES, [SHARES[name] for name in VOICES])[0]
    answer = rng.choice(ANSWERS[voice]).format(act=act)
    labels = {"voice": voice, "steered": steered or "", "act": act, "phrasing": phrasing}
    return Exchange("dilemma", prompt, answer, answer, labels=labels)
