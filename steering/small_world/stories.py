"""Short stories whose mood is set by their opening, or asked for by name."""

from __future__ import annotations

import random

from .exchanges import Exchange, Phrasings, Split, split_of_combination

MOODS = ("happy", "sad", "afraid", "angry")
NAMES = ("Ann", "Bob", "Dora", "Ema", "Finn", "Gus", "Hana", "Ivan", "Kim", "Leo", "Mia", "Nora", "Otto", "Rosa")
PLACES = (
    "the market",
    "the river",
    "the school",
    "the forest",
    "the station",
    "the garden",
    "the harbor",
    "the old house",
    "the library",
    "the hill",
)
COMPANIONS = ("a dog", "a friend", "a brother", "a sister", "a cat", "an aunt", "a neighbor", "a teacher")
OPENINGS = {
    "happy": Phrasings(
        (
            "The sun was warm and everybody was laughing.",
            "Music was playing and there was cake for all.",
            "It was a bright morning full of songs.",
            "There was a party and the games were fun.",
            "The flowers were bright and the music was sweet.",
        ),
        ("It was a bright morning and everybody was laughing.",),
        ("The sun was bright and music was playing.", "There was a party, and everybody was laughing."),
    ),
    "sad": Phrasings(
        (
            "The rain was gray and everybody was crying.",
            "The chair of the old friend was empty.",
            "It was a gray morning without a word.",
            "A farewell letter lay in the rain.",
            "The flowers were dead and the house was empty.",
        ),
        ("It was a gray morning and the house was empty.",),
        ("The rain was gray and the chair was empty.", "A farewell letter lay there, and everybody was crying."),
    ),
    "afraid": Phrasings(
        (
            "The night was dark and something was moving.",
            "A strange noise came from the shadows.",
            "It was a black night full of noises.",
            "A shadow followed every step.",
            "The lamp went out and a strange voice whispered.",
        ),
        ("It was a black night and a shadow was moving.",),
        ("The night was dark and a strange voice whispered.", "A strange noise followed every step."),
    ),
    "angry": Phrasings(
        (
            "People were shouting and pushing in the queue.",
            "Somebody had smashed the new bike.",
            "It was a loud morning full of insults.",
            "A rude man was shouting at a child.",
            "The promise was broken and nobody said sorry.",
        ),
        ("It was a loud morning and people were shouting.",),
        ("A rude man was shouting and pushing.", "Somebody had smashed the bike and nobody said sorry."),
    ),
}
REACTIONS = {
    "happy": ("{n} smiled and began to sing.", "{n} danced with joy.", "{n} laughed and clapped."),
    "sad": ("{n} wept and said nothing.", "{n} sighed and looked down.", "{n} sat alone in tears."),
    "afraid": (
        "{n} trembled and held on tight.",
        "{n} froze and did not dare to breathe.",
        "{n} ran as fast as the wind.",
    ),
    "angry": ("{n} yelled and stamped hard.", "{n} slammed the door in rage.", "{n} made a fist and cursed."),
}
ENDINGS = {
    "happy": ("It was the best day of the year.", "What a wonderful day it was.", "Joy was everywhere."),
    "sad": ("Nothing was as it had been.", "The tears did not stop.", "It was a long and lonely day."),
    "afraid": ("Fear was everywhere.", "What was hiding there?", "No place was safe."),
    "angry": ("This was an outrage.", "The rage did not cool down.", "Somebody had to pay for this."),
}
FRAMES = Phrasings(
    train=(
        "Continue the story: {t}",
        "Continue this story. {t}",
        "How does the story go on? {t}",
        "{t} What happens next?",
        "Please continue: {t}",
        "{t} Continue the story.",
    ),
    validation=("Please continue the story: {t}", "{t} Please continue."),
    test=("{t} How does the story go on?", "Please continue this story. {t}", "What happens next? {t}"),
)
ASKED = Phrasings(
    train=("Write a{m} story about {n}.", "Tell me a{m} story about {n}.", "Please write a{m} story about {n}."),
    validation=("Please tell me a{m} story about {n}.",),
    test=("I would like to hear a{m} story about {n}.",),
)
_ADJECTIVE = {"happy": " happy", "sad": " sad", "afraid": " scary", "angry": "n angry"}


def continuation(rng: random.Random, name: str, mood: str) -> str:
    """Two sentences about a person in a mood."""
    return f"{rng.choice(REACTIONS[mood]).format(n=name)} {rng.choice(ENDINGS[mood])}"


def story_item(rng: random.Random, split: Split, mood: str | None = None, form: str | None = None) -> Exchange:
    """A story to continue ("opened", or "neutral" with no mood in its opening), or to write ("asked")."""
    form = form or rng.choices(("opened", "neutral", "asked"), (0.7, 0.15, 0.15))[0]
    mood = mood or rng.choice(MOODS)
    while True:
        name, place, companion = rng.choice(NAMES), rng.choice(PLACES), rng.choice(COMPANIONS)
        if split_of_combination("story", name, place, companion) == split:
            break
    start = f"{name} went to {place} with {companion}."
    if form == "asked":
        phrasing = rng.choice(ASKED.of(split))
        prompt = phrasing.format(m=_ADJECTIVE[mood], n=name)
    else:
        phrasing = rng.choice(FRAMES.of(split))
        told = start if form == "neutral" else f"{start} {rng.choice(OPENINGS[mood].of(split))}"
        prompt = phrasing.format(t=told)
    answer = continuation(rng, name, mood)
    labels = {"mood": mood, "form": form, "name": name, "phrasing": phrasing}
    return Exchange("story", prompt, answer, answer, labels=labels)
