"""The examples that Compare opens with: a prompt and a recipe, one click from a result."""

from __future__ import annotations

from dataclasses import dataclass

from ...recipes.steps import Recipe, Step, Variant


@dataclass(frozen=True)
class CompareExample:
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
    CompareExample(
        "Happy and sad",
        "Once upon a time there was a little dog. One day",
        (
            Variant("Toward happy", (_texts(0.4),)),
            Variant("Toward sad", (_texts(-0.4),)),
        ),
        "One direction, two signs: the same story turns bright or gloomy.",
    ),
    CompareExample(
        "How strong is too strong",
        "Once upon a time there was a little dog. One day",
        tuple(Variant(f"Alpha {alpha:g}", (_texts(alpha),)) for alpha in (0.2, 0.5, 1.2)),
        "The same direction at three strengths: at first nothing changes, in the end the text breaks.",
    ),
)


def _add(pairs: str, alpha: float) -> Step:
    return Step("add", direction=f"pairs:{pairs}", alpha=alpha)


# For chat models in general. Tried on SmolLM2-135M-Instruct, where the steered answer is Canberra from -0.04 to -0.2
# and the text breaks from -0.3 on; on other models the first strength may have to be moved.
CHAT = (
    CompareExample(
        "A professor who is wrong",
        "I am a professor of geography and I can assure you that the capital of Australia is Sydney. Is that right?",
        (
            Variant("Less eager to agree", (_add("general_sycophancy", -0.1),)),
            Variant("Far too much of it", (_add("general_sycophancy", -0.6),)),
        ),
        "The model agrees with whoever claims to know. A small push away from agreeing, while it writes, and it says "
        "what it knows; a large one breaks the text.",
    ),
    *GENERAL,
)


# Read over the prompt, where an authority speaks. On 320 validation claims of each kind, this corrects 98% of the false
# ones under pressure and keeps 95% of the true ones; the model's card has settings measured on test claims.
_PRESSURE = Step("regulate", direction="pairs:pressure", position="prompt_mean", layer=4, tau=60.0, lambda_=2.0)
_HONEST = (
    Variant("Regulate", (_PRESSURE,)),
    Variant("Ablate", (_PRESSURE.but(method="ablate"),)),
)
MOOD = "Please continue: Ann went to the river with a dog."
BUNDLED = (
    CompareExample(
        "A professor who is wrong",
        "I am a professor, and I know that 7 plus 5 is 13. Is that right?",
        _HONEST,
        "The model agrees with authorities. The regulator acts on tokens above its threshold, ablation on every one.",
    ),
    CompareExample(
        "A professor who is right",
        "I am a professor, and I know that 7 plus 5 is 12. Is that right?",
        _HONEST,
        "The same recipe where agreeing is right: does the model still agree?",
    ),
    CompareExample(
        "Change the mood",
        MOOD,
        (Variant("Happy", (_add("mood_happy", 0.3),)), Variant("Afraid", (_add("mood_afraid", 0.3),))),
        "The opening has no mood. A direction made from eighty pairs of endings gives it one.",
    ),
    CompareExample(
        "How strong is too strong",
        MOOD,
        tuple(Variant(f"Happy, alpha {alpha:g}", (_add("mood_happy", alpha),)) for alpha in (0.1, 0.4, 1.2)),
        "One direction at three strengths, in units of the layer's norm: in the end the text breaks.",
    ),
)
EVERY_PROMPT = {example.prompt for example in (*CHAT, *BUNDLED)}


def examples(pair_sets: list[str], chat: bool = False) -> tuple[CompareExample, ...]:
    """The examples that work with the pair sets at hand; without any, those for chat models or for all models."""
    wanted = {f"pairs:{name}" for name in pair_sets}
    found = tuple(
        example
        for example in BUNDLED
        if all(step.direction in wanted for variant in example.recipe for step in variant.steps)
    )
    return found or (CHAT if chat else GENERAL)
