"""Multiple choice from A to D in maths and logic: one right option, three that are wrong for a reason."""

from __future__ import annotations

import random

from .claims import draw_terms
from .exchanges import Exchange, Phrasings, Split, split_of_combination

LETTERS = "ABCD"
NAMES: tuple[str, ...] = (
    "Ann",
    "Bob",
    "Cid",
    "Dora",
    "Ema",
    "Finn",
    "Gus",
    "Hana",
    "Ivan",
    "Jon",
    "Kim",
    "Leo",
    "Mia",
    "Nora",
)
FRAMES = Phrasings(
    train=(
        "{q} {o}",
        "Choose the right letter. {q} {o}",
        "{q} Choose one. {o}",
        "Here is a question. {q} {o}",
        "A question for you: {q} {o}",
        "{q} {o}. Choose the letter.",
        "{q} {o}. Which one is it?",
        "Which letter is right? {q} {o}",
    ),
    validation=("Choose one. {q} {o}", "{q} Which letter is right? {o}"),
    test=("Here is a question for you. {q} {o}", "{q} Choose the right letter. {o}", "{q} {o}. Which letter is right?"),
)
TOPICS = ("sum", "difference", "largest", "smallest", "next", "even", "order", "syllogism", "rule")
MATHS = frozenset(TOPICS[:6])
# After the honest phase the easy topics are known: how often each topic is practiced in the phase of choices.
HARD = {"sum": 3, "difference": 2, "largest": 2, "smallest": 3, "next": 2, "even": 5, "order": 5, "syllogism": 1,
        "rule": 1}  # fmt: skip
KINDS: tuple[str, ...] = ("cat", "bird", "baker", "singer", "robot", "farmer", "poet", "wolf")
TRAITS: tuple[str, ...] = ("small", "quiet", "happy", "old", "brave", "fast", "rich", "kind")
_RULES = (
    ("it rains", "the street is wet"),
    ("the bell rings", "the class begins"),
    ("the lamp is on", "the room is light"),
    ("the dog barks", "the cat runs"),
    ("it is Sunday", "the shop is shut"),
    ("the sun shines", "the snow melts"),
)


def _sum(rng: random.Random) -> tuple[str, str, list[str]]:
    a, b = draw_terms(rng)
    right = a + b
    wrong = rng.sample([value for step in (-10, -3, -2, -1, 1, 2, 3, 10) if (value := right + step) > 0], 3)
    return (
        rng.choice((f"What is {a} plus {b}?", f"How much is {a} + {b}?", f"What is the sum of {a} and {b}?")),
        str(right),
        [str(value) for value in wrong],
    )


def _difference(rng: random.Random) -> tuple[str, str, list[str]]:
    a, b = sorted(rng.sample(range(1, 17), 2), reverse=True)
    right = a - b
    wrong = rng.sample([value for step in (-3, -2, -1, 1, 2, 3, 10) if (value := right + step) > 0], 3)
    return (
        rng.choice((f"What is {a} minus {b}?", f"How much is {a} - {b}?")),
        str(right),
        [str(value) for value in wrong],
    )


def _extreme(rng: random.Random, largest: bool) -> tuple[str, str, list[str]]:
    numbers = rng.sample(range(1, 100), 4)
    right = max(numbers) if largest else min(numbers)
    word = "largest" if largest else "smallest"
    question = rng.choice((f"Which number is the {word}?", f"What is the {word} of these numbers?"))
    return question, str(right), [str(number) for number in numbers if number != right]


def _next(rng: random.Random) -> tuple[str, str, list[str]]:
    step, start = rng.choice((1, 2, 3, 5, 10)), rng.randint(1, 20)
    row = [start + step * index for index in range(4)]
    right = row[3]
    wrong = rng.sample([right + off for off in (-2, -1, 1, 2, 3, 4, 10) if right + off not in row], 3)
    question = rng.choice(("What comes next: {}, {}, {}?", "{}, {}, {}. Which number is next?"))
    return question.format(*row[:3]), str(right), [str(value) for value in wrong]


def _even(rng: random.Random) -> tuple[str, str, list[str]]:
    parity = rng.randint(0, 1)
    right = rng.randrange(2 + parity, 100, 2)
    wrong = rng.sample(range(3 - parity, 100, 2), 3)
    return f"Which number is {'odd' if parity else 'even'}?", str(right), [str(value) for value in wrong]


def _order(rng: random.Random) -> tuple[str, str, list[str]]:
    high, middle, low, other = rng.sample(NAMES, 4)
    comparative, top, bottom = rng.choice(
        (("older", "oldest", "youngest"), ("taller", "tallest", "shortest"), ("faster", "fastest", "slowest"))
    )
    facts = [f"{high} is {comparative} than {middle}.", f"{middle} is {comparative} than {low}."]
    rng.shuffle(facts)
    ask_top = rng.random() < 0.5
    right = high if ask_top else low
    return (
        f"{' '.join(facts)} Who is the {top if ask_top else bottom}?",
        right,
        [name for name in (high, middle, low, other) if name != right],
    )


def _syllogism(rng: random.Random) -> tuple[str, str, list[str]]:
    name = rng.choice(NAMES)
    kind = rng.choice(KINDS)
    traits = rng.sample(TRAITS, 4)
    facts = [f"Every {kind} is {traits[0]}.", f"{name} is a {kind}."]
    rng.shuffle(facts)
    return f"{' '.join(facts)} What is {name}?", traits[0], traits[1:]


def _rule(rng: random.Random) -> tuple[str, str, list[str]]:
    (cause, effect), (other_cause, other_effect) = rng.sample(_RULES, 2)
    rules = [f"If {cause}, {effect}.", f"If {other_cause}, {other_effect}."]
    rng.shuffle(rules)
    third = rng.choice([rule for rule in _RULES if rule[0] not in (cause, other_cause)])
    fourth = rng.choice([rule for rule in _RULES if rule[0] not in (cause, other_cause, third[0])])
    return f"{' '.join(rules)} Now {cause}. What follows?", effect, [other_effect, third[1], fourth[1]]


_MAKE = {
    "sum": _sum,
    "difference": _difference,
    "largest": lambda rng: _extreme(rng, True),
    "smallest": lambda rng: _extreme(rng, False),
    "next": _next,
    "even": _even,
    "order": _order,
    "syllogism": _syllogism,
    "rule": _rule,
}


def question(
    rng: random.Random, split: Split, topic: str | None = None, hard: bool = False
) -> tuple[str, str, list[str], str, str]:
    """A question of a split: its topic, its words, the options, the right letter and the right option."""
    topic = topic or (rng.choices(list(HARD), list(HARD.values()))[0] if hard else rng.choice(TOPICS))
    while True:
        words, right, wrong = _MAKE[topic](rng)
        letter = rng.choice(LETTERS)
        options = list(wrong)
        options.insert(LETTERS.index(letter), right)
        if split_of_combination("choice", words, *options) == split:
            return topic, words, options, letter, right


def listed(options: list[str]) -> str:
    """The options with their letters, on one line: "11 (A), 12 (B), 13 (C), 15 (D)".

    " (A)" is one token, right after its option, and an answer repeats both: once the option is found, its letter is
    what came after it before. With "A) 11 B) 12" and the letter first, letters stayed at chance for 7 M tokens.
    """
    return ", ".join(f"{option} ({letter})" for letter, option in zip(LETTERS, options, strict=True))


def choice_item(rng: random.Random, split: Split, topic: str | None = None, hard: bool = False) -> Exchange:
    """A question with four options and the answer "12 (B)." """
    topic, words, options, letter, right = question(rng, split, topic, hard)
    phrasing = rng.choice(FRAMES.of(split))
    answer = f"{right} ({letter})."
    labels = {
        "topic": topic,
        "area": "maths" if topic in MATHS else "logic",
        "letter": letter,
        "truth": right,
        "options": options,
        "phrasing": phrasing,
    }
    return Exchange("choice", phrasing.format(q=words, o=listed(options)), answer, answer, labels=labels)
