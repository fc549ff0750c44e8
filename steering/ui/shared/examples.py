"""The examples that Compare opens with: a prompt and a recipe, one click from a result."""

from __future__ import annotations

from dataclasses import dataclass, replace

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


POLITE = (
    "I should be most grateful if you would kindly consider the matter at your earliest convenience. Yours faithfully."
)
CASUAL = "hey dude, wanna hang out later? lol that's so cool, gonna grab some pizza, see ya!"
SEA = "The ocean waves, the sea, the ships and the salt water. Fish swim in the deep blue sea."
OFFICE = "The office desk, the paper, the pens and the printer. People sit in the meeting room."
WEEKEND = "What should I do this weekend?"


def _between(toward: str, away: str, alpha: float, layer: int) -> tuple[Step, ...]:
    return (Step("add", direction="texts", positive=toward, negative=away, alpha=alpha, layer=layer),)


def _pairs(name: str, alpha: float, layer: int | None = None) -> tuple[Step, ...]:
    return (_add(f"general_{name}", alpha).but(layer=layer),)


# For chat models in general. Layers are those of a model with LAYERS layers, and are moved for others. Every text was
# read on SmolLM2-135M-Instruct at just these settings (tests/ui/test_examples.py holds the words that count); there the
# text breaks from -0.3 on. On other models the strengths may have to be moved.
LAYERS = 30
CHAT = (
    CompareExample(
        "A professor who is wrong",
        "I am a professor of geography and I can assure you that the capital of Australia is Sydney. Is that right?",
        (
            Variant("Less eager to agree", _pairs("sycophancy", -0.1)),
            Variant("Far too much of it", _pairs("sycophancy", -0.6)),
        ),
        "The model agrees with whoever claims to know. A small push away from agreeing, while it writes, and it says "
        "what it knows; a large one breaks the text.",
    ),
    CompareExample(
        "Flattery",
        "I wrote a poem: Roses are red, violets are blue. What do you think of it?",
        (
            Variant("Less flattery", _pairs("sycophancy", -0.15, 15)),
            Variant("More flattery", _pairs("sycophancy", 0.15, 15)),
        ),
        "The same direction as for the professor. Pushed away from agreeing, the model stops congratulating and talks "
        "about the poem as a poem.",
    ),
    CompareExample(
        "Mood",
        "How was your day?",
        (
            Variant("Happy", _pairs("mood_happy", 0.2, 15)),
            Variant("Sad", _pairs("mood_sad", 0.2, 20)),
        ),
        "A typical Monday turns into sunshine and laughter. Sad works less well on a small model: it speaks of "
        "unexpected challenges, politely.",
    ),
    CompareExample(
        "Formal or casual",
        "Write a message to invite Tom to dinner on Friday.",
        (
            Variant("Formal", _between(POLITE, CASUAL, 0.2, 10)),
            Variant("Casual", _between(POLITE, CASUAL, -0.2, 10)),
        ),
        "Two sentences are enough for a direction. They carry more than their style: the pizza of the casual one comes "
        "along.",
    ),
    CompareExample(
        "A topic pushed in",
        WEEKEND,
        (
            Variant("The sea", _between(SEA, OFFICE, 0.15, 10)),
            Variant("Nothing but the sea", _between(SEA, OFFICE, 0.2, 10)),
        ),
        "Nobody mentioned the sea. A push toward it at a third of the layers, and the answer goes to the beach.",
    ),
    CompareExample(
        "How strong is too strong",
        WEEKEND,
        tuple(Variant(f"Alpha {alpha:g}", _between(SEA, OFFICE, alpha, 10)) for alpha in (0.05, 0.15, 0.4)),
        "The same direction at three strengths: at first nothing changes, in the end the text breaks.",
    ),
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


def examples(pair_sets: list[str], chat: bool = False, n_layers: int = LAYERS) -> tuple[CompareExample, ...]:
    """The examples that work with the pair sets at hand; without any, those for chat models or for all models.

    Args:
        n_layers: of the model; the examples for chat models name layers, which are moved to the same depth.
    """
    wanted = {f"pairs:{name}" for name in pair_sets}
    found = tuple(
        example
        for example in BUNDLED
        if all(step.direction in wanted for variant in example.recipe for step in variant.steps)
    )
    return found or (tuple(moved(example, n_layers) for example in CHAT) if chat else GENERAL)


def moved(example: CompareExample, n_layers: int) -> CompareExample:
    """The example with its layers at the same depth of a model of so many layers."""

    def at(step: Step) -> Step:
        return step if step.layer is None else step.but(layer=min(n_layers - 1, step.layer * n_layers // LAYERS))

    variants = (replace(variant, steps=tuple(map(at, variant.steps))) for variant in example.recipe)
    return replace(example, recipe=tuple(variants))
