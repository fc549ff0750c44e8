"""The examples that Compare opens with: a prompt and a recipe, one click from a result."""

from __future__ import annotations

from dataclasses import dataclass

from .recipes import Recipe, Step, Variant


@dataclass(frozen=True)
class Example:
    """A filled-in Compare page, and what there is to see in it."""

    name: str
    prompt: str
    recipe: Recipe
    see: str


HAPPY = "The day was happy. Everybody smiled and laughed, and the sun was warm."
SAD = "The day was sad. Everybody cried and was alone, and the rain was cold."


def _texts(alpha: float) -> Step:
    return Step("add", direction="texts", positive=HAPPY, negative=SAD, alpha=alpha)


GENERAL = (
    Example(
        "Happy and sad",
        "Once upon a time there was a little dog. One day",
        (
            Variant("Toward happy", (_texts(0.4),)),
            Variant("Toward sad", (_texts(-0.4),)),
        ),
        "One direction, two signs: the same story turns bright or gloomy.",
    ),
    Example(
        "How strong is too strong",
        "Once upon a time there was a little dog. One day",
        tuple(Variant(f"Alpha {alpha:g}", (_texts(alpha),)) for alpha in (0.2, 0.5, 1.2)),
        "The same direction at three strengths: at first nothing changes, in the end the text breaks.",
    ),
)


def examples(pair_sets: list[str]) -> tuple[Example, ...]:
    """The examples that work with the pair sets at hand."""
    return GENERAL
