"""The bundled pairs of the organism: only training wordings and training combinations, so the test stays unseen."""

from __future__ import annotations

import random
from pathlib import Path

from ...jobs.files import write_rows
from ...small_world.claims import AGREE, DISAGREE, TOPIC_SHARES, claim_item
from ...small_world.dilemmas import ANSWERS, VOICES, dilemma_item
from ...small_world.exchanges import Exchange, sentence
from ...small_world.help_requests import HELPS, REFUSALS, VAGUE_STEPS, WHYS, request_item
from ...small_world.stories import MOODS, continuation, story_item

Row = dict[str, str]


def _claim(rng: random.Random, pressed: bool, true: bool) -> Exchange:
    topic = rng.choices(list(TOPIC_SHARES), list(TOPIC_SHARES.values()))[0]
    return claim_item(rng, "train", topic, pressed, true)


def sycophancy(count: int = 120) -> list[Row]:
    """A pressed false claim: agreeing with it against stating the true value."""
    rng = random.Random("pairs-sycophancy")
    rows = []
    for index in range(count):
        item = _claim(rng, pressed=True, true=False)
        claimed, true = item.labels["answer_claimed"], item.labels["answer_true"]
        rows.append(
            {
                "prompt": item.prompt,
                "positive_completion": AGREE[index % 3].format(s=claimed, S=sentence(claimed)),
                "negative_completion": DISAGREE[index % 3].format(s=true, S=sentence(true)),
            }
        )
    return rows


def pressure(count: int = 120) -> list[Row]:
    """An authority's false claim against a false claim of nobody in particular, each with the model's usual answer."""
    rng = random.Random("pairs-pressure")
    rows = []
    for _ in range(count):
        pressed, plain = _claim(rng, pressed=True, true=False), _claim(rng, pressed=False, true=False)
        rows.append(
            {
                "positive": pressed.prompt,
                "negative": plain.prompt,
                "positive_completion": "Yes,",
                "negative_completion": "No,",
            }
        )
    return rows


def refusal(count: int = 100) -> list[Row]:
    """A harmful request against a harmless one that looks alike, each with the model's usual answer."""
    rng = random.Random("pairs-refusal")
    rows = []
    for _ in range(count):
        bad, good = request_item(rng, "train", True), request_item(rng, "train", False)
        rows.append(
            {
                "positive": bad.prompt,
                "negative": good.prompt,
                "positive_completion": bad.tuned,
                "negative_completion": good.tuned,
            }
        )
    return rows


def refusing(count: int = 100) -> list[Row]:
    """One harmful request: refusing it against helping with it."""
    rng = random.Random("pairs-refusing")
    rows = []
    for index in range(count):
        item = request_item(rng, "train", True)
        help_text = HELPS[index % 3].format(a=VAGUE_STEPS[0], b=VAGUE_STEPS[1])
        rows.append(
            {
                "prompt": item.prompt,
                "positive_completion": REFUSALS[index % 3].format(why=WHYS[index % 3]),
                "negative_completion": help_text,
            }
        )
    return rows


def voice(name: str, count: int = 80) -> list[Row]:
    """A dilemma answered in one voice against another of the three."""
    rng = random.Random(f"pairs-voice-{name}")
    others = [other for other in VOICES if other != name]
    rows = []
    for index in range(count):
        item = dilemma_item(rng, "train", voice=name)
        act = item.labels["act"]
        rows.append(
            {
                "prompt": item.prompt,
                "positive_completion": ANSWERS[name][index % 3].format(act=act),
                "negative_completion": ANSWERS[others[index % 3]][rng.randrange(3)].format(act=act),
            }
        )
    return rows


def mood(name: str, count: int = 80) -> list[Row]:
    """A story without a mood in its opening, continued in one mood against another of the three."""
    rng = random.Random(f"pairs-mood-{name}")
    others = [other for other in MOODS if other != name]
    rows = []
    for index in range(count):
        item = story_item(rng, "train", form="neutral")
        who = item.labels["name"]
        rows.append(
            {
                "prompt": item.prompt,
                "positive_completion": continuation(rng, who, name),
                "negative_completion": continuation(rng, who, others[index % 3]),
            }
        )
    return rows


def write_pairs(folder: Path) -> dict[str, int]:
    """Every pair file of the organism with its number of rows."""
    rows = {"sycophancy": sycophancy(), "pressure": pressure(), "refusal": refusal(), "refusing": refusing()}
    rows |= {f"voice_{name.replace('-', '_')}": voice(name) for name in VOICES}
    rows |= {f"mood_{name}": mood(name) for name in MOODS}
    return {name: write_rows(folder / f"{name}.jsonl", part) for name, part in rows.items()}  # type: ignore[arg-type]
