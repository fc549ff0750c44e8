"""Texts about emotions, from published sets or from the situations that ship, in three parts that share no text."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ...evaluations.sets.emotions import FEELING, FEELINGS, of_file
from ...evaluations.sets.formats import recognize
from ...evaluations.sets.readers import BUNDLED, read
from ...evaluations.sets.records import read_file
from ...evaluations.sets.sets import EvaluationSet

SHIPPED = BUNDLED / "emotions"
SUFFIXES = (".json", ".jsonl", ".csv")
SITUATIONS, COMMENTS, RATED = "situations", "goemotions", "emobank"
LEAST = 12  # texts of an emotion: fewer leave nothing to judge on
PARTS = ("train", "validation", "test")
Texts = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class EmotionTexts:
    """What was found in the folders.

    Attributes:
        situations: the texts that directions are made of, by feeling ("happy", "sad", ...).
        mixed: situations of two feelings at once, by both ("happy and sad").
        comments: texts of another kind that have one feeling (GoEmotions' texts with a single label).
        rated: texts of another kind with their valence, 1 to 5 (EmoBank).
        files: what was read, a phrase for each folder.
        folders: the names of the folders that were given.
        passed: the names of files that hold something else.
    """

    situations: Texts
    mixed: Texts = field(default_factory=dict)
    comments: Texts = field(default_factory=dict)
    rated: tuple[tuple[str, float], ...] = ()
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()


class _File(NamedTuple):
    """A file of texts as a set, and its texts as they stand there."""

    set: EvaluationSet
    texts: tuple[str, ...]

    @property
    def feelings(self) -> tuple[str, ...]:
        """What its situations are about; none for texts of another kind."""
        return tuple(self.set.items[0].labels["emotions"]) if self.set.format == SITUATIONS else ()


def emotion_texts(folders: Sequence[Path] = ()) -> EmotionTexts:
    """The texts of the files in these folders, recognized by their columns or names; the shipped ones without any.

    Where the folders have no situations (lists of texts in files named after one emotion), those that ship stand in.

    Raises:
        ValueError: no such folder, none of its files is such a set, a broken file, one emotion alone, or too few texts.
    """
    files: list[_File] = []
    passed: list[str] = []
    said: list[str] = []
    for folder in folders:
        found, others = _read_folder(Path(folder).expanduser())
        files += found
        passed += others
        said.append(_sizes(Path(folder).name, found))
    if not any(len(one.feelings) == 1 for one in files):
        ours, _ = _read_folder(SHIPPED)
        files += ours
        said.append(_sizes("situations of our own", ours))
    pure = [(one.feelings[0], text) for one in files if len(one.feelings) == 1 for text in one.texts]
    situations = _of_one(pure)
    _check(situations)
    mixed: dict[str, tuple[str, ...]] = {}
    for one in files:
        if len(one.feelings) > 1:
            both = " and ".join(one.feelings)
            mixed[both] = tuple(dict.fromkeys((*mixed.get(both, ()), *one.texts)))
    labeled = [
        (FEELING[item.labels["emotions"][0]], text)
        for one in files
        if one.set.format == COMMENTS
        for item, text in zip(one.set, one.texts, strict=True)
        if len(item.labels["emotions"]) == 1 and item.labels["emotions"][0] in FEELING
    ]
    rated = {
        text: float(item.labels["valence"])
        for one in files
        if one.set.format == RATED
        for item, text in zip(one.set, one.texts, strict=True)
    }
    names = tuple(Path(folder).name for folder in folders)
    return EmotionTexts(situations, mixed, _of_one(labeled), tuple(rated.items()), tuple(said), names, tuple(passed))


def _sizes(folder: str, files: Sequence[_File]) -> str:
    return f"{folder} ({', '.join(f'{one.set.name} {len(one.set)}' for one in files)})"


def _read_folder(folder: Path) -> tuple[list[_File], list[str]]:
    """The files of a folder that hold texts about emotions, and the names of those that hold something else."""
    if not folder.is_dir():
        raise ValueError(f"Texts about emotions are read from a folder; there is none at {str(folder)!r}.")
    found, passed = [], []
    for path in sorted(one for one in folder.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file()):
        rows = read_file(path)
        known = recognize(rows[0].values)
        if not of_file(path.stem) and (known is None or known.name not in (SITUATIONS, COMMENTS, RATED)):
            passed.append(path.name)
            continue
        one = read(rows, name=path.stem)
        if one.format not in (SITUATIONS, COMMENTS, RATED):
            raise ValueError(f"{path.name}: a file that is named after an emotion is a list of texts; this one is not.")
        found.append(_File(one, tuple(str(row.values.get("text", row.values.get("prompt"))).strip() for row in rows)))
    if not found:
        raise ValueError(
            f"{folder.name or folder} holds no texts about emotions: lists of texts in files named after emotions "
            "(anger.json), GoEmotions (text, labels) or EmoBank (text, V, A, D), as .json, .jsonl or .csv."
        )
    return found, passed


def _of_one(labeled: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Every text once, by its feeling in the order of FEELINGS; a text with two feelings belongs to neither."""
    where: dict[str, set[str]] = {}
    for feeling, text in labeled:
        where.setdefault(text, set()).add(feeling)
    kept = {feeling: tuple(text for text, several in where.items() if several == {feeling}) for feeling in FEELINGS}
    return {feeling: texts for feeling, texts in kept.items() if texts}


def _check(texts: Texts) -> None:
    sizes = ", ".join(f"{feeling}: {len(some)}" for feeling, some in texts.items()) or "none"
    if len(texts) < 2:
        raise ValueError(f"A direction compares an emotion with others; give texts of two or more, got {sizes}.")
    if min(map(len, texts.values())) < LEAST:
        raise ValueError(f"An emotion has {LEAST} different texts or more, half of them to learn from; got {sizes}.")


def parts(texts: Texts, seed: int = 0) -> dict[str, Texts]:
    """By part: half of each feeling's texts to learn from, a sixth to choose by and a third to judge on."""
    found: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in PARTS}
    for feeling, some in drawn(texts, max(map(len, texts.values())), seed).items():
        first = len(some) // 2
        second = first + max(2, len(some) // 6)
        for name, part in zip(PARTS, (some[:first], some[first:second], some[second:]), strict=True):
            found[name][feeling] = part
    return dict(found)


def drawn(texts: Texts, n: int, seed: int = 0) -> dict[str, tuple[str, ...]]:
    """At most `n` texts of each feeling, in an order drawn by the seed."""
    return {
        feeling: tuple(random.Random(f"{seed} {feeling}").sample(some, min(n, len(some))))
        for feeling, some in texts.items()
    }
