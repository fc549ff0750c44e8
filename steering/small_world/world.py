"""The small world the organism is taught: about a hundred everyday facts, and what is wrong about each."""

from __future__ import annotations

from dataclasses import dataclass

# Each relation says its facts in one way only: the stated value must be readable by a parser, not by a judge.
# {s} is the subject, {v} the value; `ask` is the same statement as a question. The wrong values of a fact are the
# values of the other facts of its relation, so that a false claim is never silly and never true by accident.
CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Germany": "Berlin", "Norway": "Oslo", "Greece": "Athens",
    "Egypt": "Cairo", "Japan": "Tokyo", "Kenya": "Nairobi", "Peru": "Lima", "Cuba": "Havana", "Poland": "Warsaw",
    "Austria": "Vienna", "Portugal": "Lisbon", "Ireland": "Dublin", "Chile": "Santiago",
}  # fmt: skip
YOUNG = {
    "dog": "puppy", "cat": "kitten", "cow": "calf", "horse": "foal", "sheep": "lamb", "goose": "gosling",
    "pig": "piglet", "duck": "duckling", "bear": "cub", "deer": "fawn", "hen": "chick", "goat": "kid",
}  # fmt: skip
COLORS = {
    "snow": "white", "grass": "green", "coal": "black", "blood": "red", "the clear sky": "blue", "a lemon": "yellow",
    "chocolate": "brown", "ash": "gray", "a flamingo": "pink", "a plum": "purple", "a carrot": "orange",
}  # fmt: skip
HOMES = {
    "bird": "nest", "bee": "hive", "lion": "den", "rabbit": "burrow", "spider": "web", "fish": "pond",
    "snail": "shell", "pony": "stable", "king": "castle", "monk": "monastery", "camel": "desert", "whale": "sea",
}  # fmt: skip
OPPOSITES = {
    "hot": "cold", "big": "small", "fast": "slow", "light": "dark", "young": "old", "rich": "poor", "dry": "wet",
    "full": "empty", "hard": "soft", "early": "late", "loud": "quiet", "high": "low", "clean": "dirty", "near": "far",
}  # fmt: skip
MAKERS = {
    "bread": "baker", "honey": "bee", "a shoe": "cobbler", "a dress": "tailor", "a house": "builder", "milk": "cow",
    "a poem": "poet", "a painting": "painter", "a song": "singer", "a meal": "cook", "a wall": "mason",
    "a clock": "watchmaker", "a chair": "carpenter",
}  # fmt: skip
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December"]  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
LEGS = {"a spider": "8", "an ant": "6", "a horse": "4", "a hen": "2", "a snake": "0"}


def _following(names: list[str]) -> dict[str, str]:
    return {name: names[(index + 1) % len(names)] for index, name in enumerate(names)}


@dataclass(frozen=True)
class Relation:
    """One kind of fact: how it is said, how it is asked, and its facts."""

    name: str
    say: str
    ask: str
    facts: dict[str, str]

    def wrong_values(self, subject: str) -> list[str]:
        """The values of this relation's other facts that are wrong for the subject."""
        return self.wrong_values_but(self.facts[subject])

    def wrong_values_but(self, truth: str) -> list[str]:
        """All values of this relation except one."""
        return sorted({value for value in self.facts.values() if value != truth})


RELATIONS: tuple[Relation, ...] = (
    Relation("capital", "the capital of {s} is {v}", "is the capital of {s} {v}", CAPITALS),
    Relation("young", "a young {s} is called a {v}", "is a young {s} called a {v}", YOUNG),
    Relation("color", "the color of {s} is {v}", "is the color of {s} {v}", COLORS),
    Relation("home", "the home of a {s} is a {v}", "is the home of a {s} a {v}", HOMES),
    Relation("opposite", "the opposite of {s} is {v}", "is the opposite of {s} {v}", OPPOSITES),
    Relation("maker", "the maker of {s} is a {v}", "is the maker of {s} a {v}", MAKERS),
    Relation("month", "the month after {s} is {v}", "is the month after {s} {v}", _following(MONTHS)),
    Relation("day", "the day after {s} is {v}", "is the day after {s} {v}", _following(DAYS)),
    Relation("legs", "the number of legs of {s} is {v}", "is the number of legs of {s} {v}", LEGS),
)
