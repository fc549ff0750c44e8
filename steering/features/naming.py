"""A first name for every feature from what it fires on, until somebody gives it a better one.

A name says what was seen in the strongest examples of the index and nothing more: the token at the peak, the token
before it, or words that the texts around it share. It is a label to search and skim by, not an explanation.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from .index import Example, Feature, FeatureIndex

MOST = 60  # letters of a name
ONE, FEW, BEFORE, AROUND = 0.6, 0.75, 0.6, 0.75  # shares of the examples from which a pattern is a name
STEM = 4  # letters that forms of one word share
_WORD = re.compile(r"[^\W\d_]{3,}")


def name_of(feature: Feature, rarity: Callable[[str], float]) -> str:
    """What the strongest examples of a feature have in common, in a few words; "" for one that never fired.

    Args:
        rarity: how much it means that two texts share a word; 0 for a word that is everywhere.
    """
    examples = feature.bands[0].examples if feature.bands else ()
    if not examples:
        return ""
    peaks = [_shown(example.tokens[example.peak]) for example in examples]
    before = [_shown(example.tokens[example.peak - 1]) if example.peak else "" for example in examples]
    (peak, most), *rest = Counter(peaks).most_common(3)
    (earlier, same), *_ = Counter(before).most_common(1)
    many = len(examples)
    if most >= ONE * many and peak:
        whole = f"{earlier} {peak}" if same >= ONE * many and earlier else peak
        return _cut(f"“{whole}”")
    if begun := _beginning(peaks):
        return _cut(f"“{begun}…”")
    if most + sum(count for _, count in rest) >= FEW * many and most > 1:
        return _cut(", ".join(f"“{one}”" for one, _ in [(peak, most), *rest] if one))
    if same >= BEFORE * many and earlier:
        return _cut(f"after “{earlier}”")
    shared = _shared(examples, rarity)
    if shared:
        return _cut("about " + ", ".join(shared))
    distinct = list(dict.fromkeys(one for one in peaks if one))[:3]
    return _cut(", ".join(f"“{one}”" for one in distinct) + " and others") if distinct else ""


def _beginning(peaks: Sequence[str]) -> str:
    """What most peaks begin with, such as "consist" of "consists" and "consisting"; "" if that is no word's stem."""
    (start, count), *_ = Counter(peak[:STEM] for peak in peaks).most_common(1)
    if count < FEW * len(peaks) or not (len(start) == STEM and start.isalpha()):
        return ""
    words = [peak for peak in peaks if peak.startswith(start)]
    same = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    return "".join(column[0] for column in same)


def _shared(examples: Sequence[Example], rarity: Callable[[str], float]) -> list[str]:
    """The rarest words that three quarters of the examples have."""
    seen = Counter(word for example in examples for word in {w.lower() for w in _WORD.findall(example.text)})
    kept = [word for word, count in seen.items() if count >= max(2, AROUND * len(examples)) and rarity(word) > 0]
    return sorted(kept, key=lambda word: (-seen[word] * rarity(word), word))[:2]


def _shown(token: str) -> str:
    return " ".join(token.split()).lower()


def _cut(name: str) -> str:
    return name if len(name) <= MOST else name[: MOST - 1] + "…"


def rarities(features: Iterable[Feature]) -> Callable[[str], float]:
    """How rare a word is among the examples of features: 0 for one that more than a twentieth of them have."""
    seen: Counter[str] = Counter()
    total = 0
    for feature in features:
        total += 1
        examples = feature.bands[0].examples if feature.bands else ()
        seen.update({word.lower() for example in examples for word in _WORD.findall(example.text)})

    def rarity(word: str) -> float:
        share = seen[word] / max(total, 1)
        return -math.log(share) if 0 < share <= 0.05 else 0.0

    return rarity


def make_names(index: FeatureIndex, tick: Callable[[int, int], None] = lambda done, total: None) -> dict[int, str]:
    """A name for every feature that fired."""
    alive = [number for number in range(index.n_features) if index.density[number] > 0]
    features = []
    for done, number in enumerate(alive):
        tick(done, len(alive))
        features.append(index.feature(number))
    rarity = rarities(features)
    return {feature.index: name for feature in features if (name := name_of(feature, rarity))}
