"""The study of moods as Markdown: tables of numbers with intervals, and no text that was read."""

from __future__ import annotations

from collections.abc import Sequence

from ...evaluations.scoring.preference import MOODS
from ...statistics import Estimate
from .mood_reading import DRAWS, ByChance
from .mood_steering import DOSES, MIDDLE, RANDOM, Moved, Steered
from .moods import MoodStudy


def to_markdown(study: MoodStudy) -> str:
    """The study's tables."""
    given = f" --texts {' '.join(study.texts.folders)}" if study.texts.folders else ""
    passed = f" Passed over: {', '.join(study.texts.passed)}." if study.texts.passed else ""
    return "\n".join(
        [
            f"### Moods from texts about emotions, {study.model}",
            "",
            f"`python -m steering.evaluate moods{given}`, {study.seconds:.0f} s. Texts: {', '.join(study.texts.files)}."
            f"{passed} Said before it began: {study.cost}",
            "",
            *_reading(study),
            *_other(study),
            *_steering(study),
        ]
    )


def _reading(study: MoodStudy) -> list[str]:
    found = study.reading
    layers = sorted(found.validation)
    every = sorted({*layers[:: max(1, len(layers) // 6)], layers[-1], found.layer})
    by_layer = ", ".join(f"{found.validation[layer]:.2f} at {layer}" for layer in every)
    rows = []
    for feeling, area in found.found.items():
        compared = _estimate(study.by_pairs[feeling]) if feeling in study.by_pairs else "-"
        cosine = f"{study.cosines[feeling]:+.2f}" if feeling in study.cosines else "-"
        cells = (_estimate(area), _chance(found.random[feeling]), _chance(found.shuffled[feeling]), compared, cosine)
        rows.append((feeling, ", ".join(map(str, study.sizes[feeling])), *cells))
    return [
        f"Read after layer {found.layer}, which was chosen of {len(layers)} on validation texts (mean area under the "
        f"curve {by_layer}). The area is the chance that a text of the feeling projects higher than one of another. "
        f"Random directions and shuffled labels were drawn {DRAWS} times: the mean, and where 95% of them lie.",
        "",
        *_table(
            (
                "feeling", "texts: learned from, chosen by, judged on", "area on texts judged on", "random directions",
                "shuffled labels", "the pairs' direction", "cosine with it",
            ),
            rows,
        ),
        "",
    ]  # fmt: skip


def _other(study: MoodStudy) -> list[str]:
    rows = [
        (
            one.texts,
            str(one.n),
            f"area, {one.feeling}",
            _estimate(one.found),
            _chance(one.random) if one.random else "-",
        )
        for one in study.other
    ]
    if study.rated is not None:
        said = (
            "sentences rated by people (EmoBank)",
            str(study.rated.texts),
            "correlation, happy minus sad with valence",
        )
        rows.append((*said, _estimate(study.rated.found, "+.2f"), _chance(study.rated.random, "+.2f")))
    if not rows:
        return []
    head = ("texts of another kind", "texts", "what", "found", "random directions")
    return ["The same directions on texts of another kind:", "", *_table(head, rows), ""]


def _steering(study: MoodStudy) -> list[str]:
    rows = [row for one in study.steered for row in _rows(one)]
    return [
        f"Added at every token, on {study.stories}. The layer (of every fourth, at {MIDDLE:g} norms of the layer) and "
        f"then the dose ({', '.join(map(str, DOSES))}) were chosen on the others, which have other endings. "
        "Verdicts count all directions (Holm). A lean is how far the log-probability of a mood's ending lies above the "
        f"mean of the others', in nats a token; here its change. Of {RANDOM} random directions of the same length the "
        "mean is shown, and in brackets the lowest and the highest.",
        "",
        *_table(
            (
                "mood", "direction", "layer", "dose", "its own lean", *(f"lean: {mood}" for mood in MOODS),
                "share that ends so", "spillover", "cost, nats a token of neutral text", "verdict",
            ),
            rows,
        ),
        "",
    ]  # fmt: skip


def _rows(one: Steered) -> list[tuple[str, ...]]:
    return [
        _row(one.direction, f"from {one.source}", one.verdict),
        _row(one.opposite, f"from {one.source}, opposite sign", ""),
        _random_row(one.random),
    ]


def _row(moved: Moved, name: str, said: str) -> tuple[str, ...]:
    before, after = moved.shares.base[moved.mood], moved.shares.shares[moved.mood]
    return (
        moved.mood, name, str(moved.layer), f"{moved.dose:+g}", _estimate(moved.leans[moved.mood], "+.2f"),
        *(f"{moved.leans[mood].value:+.2f}" for mood in MOODS), f"{before:.0%} to {after:.0%}",
        _estimate(moved.shares.spill), _estimate(moved.cost, "+.2f"), said,
    )  # fmt: skip


def _random_row(several: Sequence[Moved]) -> tuple[str, ...]:
    def over(values: Sequence[float], digits: str) -> str:
        return f"{sum(values) / len(values):{digits}} [{min(values):{digits}}, {max(values):{digits}}]"

    first = several[0]
    after = [one.shares.shares[first.mood] for one in several]
    return (
        first.mood, "random", str(first.layer), f"{first.dose:+g}",
        over([one.leans[first.mood].value for one in several], "+.2f"),
        *(f"{sum(one.leans[mood].value for one in several) / len(several):+.2f}" for mood in MOODS),
        f"{first.shares.base[first.mood]:.0%} to {sum(after) / len(after):.0%}",
        over([one.shares.spill.value for one in several], ".2f"), over([one.cost.value for one in several], "+.2f"), "",
    )  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _estimate(found: Estimate, digits: str = ".2f") -> str:
    return f"{found.value:{digits}} [{found.low:{digits}}, {found.high:{digits}}]"


def _chance(found: ByChance, digits: str = ".2f") -> str:
    return f"{found.mean:{digits}} [{found.low:{digits}}, {found.high:{digits}}]"
