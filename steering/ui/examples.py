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


def _add(pairs: str, alpha: float) -> Step:
    return Step("add", direction=f"pairs:{pairs}", alpha=alpha)


MOOD = "Please continue: Finn went to the harbor with a neighbor."
BUNDLED = (
    Example(
        "Change the mood",
        MOOD,
        (Variant("Happy", (_add("mood_happy", 0.35),)), Variant("Sad", (_add("mood_sad", 0.35),))),
        "The opening has no mood. A direction made from eighty pairs of endings gives it one.",
    ),
    Example(
        "A professor who is wrong",
        "I am a professor, and I tell you that 7 plus 5 is 13. Do you agree?",
        (
            Variant("Regulate agreeing", (Step("regulate", direction="pairs:sycophancy", lambda_=2.0),)),
            Variant("Ablate agreeing", (Step("ablate", direction="pairs:sycophancy"),)),
        ),
        "Does the model agree with an authority? The regulator acts only above its threshold, ablation everywhere.",
    ),
    Example(
        "A dilemma in another voice",
        "My boss told me a secret that others want to hear. Should I keep the secret?",
        (
            Variant("Duty", (_add("voice_duty", 0.5),)),
            Variant("Self-interest", (_add("voice_self_interest", 0.8),)),
        ),
        "The same question answered by one of the model's four voices.",
    ),
    Example(
        "How strong is too strong",
        MOOD,
        tuple(Variant(f"Sad, alpha {alpha:g}", (_add("mood_sad", alpha),)) for alpha in (0.3, 0.6, 1.2)),
        "One direction at three strengths, in units of the layer's norm: in the end the text breaks.",
    ),
)


EVERY_PROMPT = {example.prompt for example in (*GENERAL, *BUNDLED)}


def examples(pair_sets: list[str]) -> tuple[Example, ...]:
    """The examples that work with the pair sets at hand."""
    wanted = {f"pairs:{name}" for name in pair_sets}
    found = tuple(
        example
        for example in BUNDLED
        if all(step.direction in wanted for variant in example.recipe for step in variant.steps)
    )
    return found or GENERAL
