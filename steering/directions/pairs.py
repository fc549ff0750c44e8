"""Prompt pairs: read them, check them, split them, and name them by a hash of their content.

A pair is two texts that differ in the behavior a direction should capture. Files are JSONL, JSON or CSV with columns
`positive` and `negative`, optionally `prompt` (shared, in front of both), or with `positive_completion` and
`negative_completion` (then `positive` and `negative` are the two sides' own prompts). The format of CAA and of
Anthropic's model-written evals (`question`, `answer_matching_behavior`, `answer_not_matching_behavior`) is recognized.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..jobs.reading import bounded, located, short
from ..jobs.tables import FORMATS, kind_of, table_rows
from ..models.tokenizing import well_formed
from ..showing.one_line import counted, one_line, quoted

BUNDLED = Path(__file__).parents[2] / "assets" / "pairs"

# What an upload may hold. Far above any published set of pairs, far below what would stall a page.
MAX_BYTES = 20_000_000
MAX_PAIRS = 20_000
MAX_CHARACTERS = 50_000

_QUESTION = ("question", "answer_matching_behavior", "answer_not_matching_behavior")


@dataclass(frozen=True)
class PromptPair:
    """Two completions of a prompt, or two plain texts where the prompt is empty.

    `positive_prompt` and `negative_prompt` follow the shared prompt on their own side ("Pretend to be kind." and
    "Pretend to be cruel."), for contrasts that lie in the instruction.

    Raises:
        ValueError: a side is empty, or longer than MAX_CHARACTERS.
    """

    prompt: str
    positive: str
    negative: str
    positive_prompt: str = ""
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        for name in ("prompt", "positive", "negative", "positive_prompt", "negative_prompt"):
            text = getattr(self, name)
            if not isinstance(text, str):
                raise ValueError(f"{name!r} is a text; got {type(text).__name__} {short(text)}.")
            if len(text) > MAX_CHARACTERS:
                raise ValueError(f"{name!r} may have {MAX_CHARACTERS} characters; this one has {len(text)}.")
            object.__setattr__(self, name, well_formed(text))  # half an emoji could be neither tokenized nor saved
        for name in ("positive", "negative"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name!r} holds at least one visible character; got {short(getattr(self, name))}.")

    def __repr__(self) -> str:
        texts = {"prompt": self.prompt, "positive": self.sides[0][1], "negative": self.sides[1][1]}
        if self.positive_prompt or self.negative_prompt:
            texts |= {"positive_prompt": self.positive_prompt, "negative_prompt": self.negative_prompt}
        return one_line(self, *(f"{name}={quoted(text, 140 // len(texts))}" for name, text in texts.items()))

    @property
    def sides(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """(prompt, completion) of the positive and of the negative side."""
        return (
            (self.prompt + self.positive_prompt, self.positive),
            (self.prompt + self.negative_prompt, self.negative),
        )

    @property
    def swapped(self) -> PromptPair:
        """The same pair with its labels exchanged: a direction made of swapped pairs is the negative one."""
        return PromptPair(self.prompt, self.negative, self.positive, self.negative_prompt, self.positive_prompt)

    def row(self) -> dict[str, str]:
        """The columns that a file would hold; reading them back gives the same pair."""
        prompt = {"prompt": self.prompt} if self.prompt else {}
        if not self.positive_prompt and not self.negative_prompt:
            return {**prompt, "positive": self.positive, "negative": self.negative}
        return {
            **prompt,
            "positive": self.positive_prompt,
            "negative": self.negative_prompt,
            "positive_completion": self.positive,
            "negative_completion": self.negative,
        }


@dataclass(frozen=True)
class PairSet:
    """Pairs in their order, and the name they came under."""

    pairs: tuple[PromptPair, ...]
    name: str = ""

    def __post_init__(self) -> None:
        if not self.pairs:
            raise ValueError("A set of pairs holds at least one pair; got none.")
        if len(self.pairs) > MAX_PAIRS:
            raise ValueError(f"A set of pairs may hold {MAX_PAIRS} pairs; got {len(self.pairs)}.")

    def __repr__(self) -> str:
        return one_line(self, self.name and quoted(self.name), counted(len(self), "pair"))

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[PromptPair]:
        return iter(self.pairs)

    def __getitem__(self, index: int) -> PromptPair:
        return self.pairs[index]

    # Making one -----------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, source: str | Path) -> PairSet:
        """The pairs of a bundled set ("sycophancy") or of a .jsonl, .json or .csv file.

        Raises:
            ValueError: no such set or file (near names are listed), or a broken line, by its number.
        """
        names = bundled_pairs()
        if str(source) in names:
            path, name = BUNDLED / f"{source}.jsonl", str(source)
        else:
            path = Path(source).expanduser()
            name = path.stem
            if not path.is_file():
                near = difflib.get_close_matches(str(source), names, n=3, cutoff=0.4)
                hint = f" Near: {', '.join(near)}." if near else f" Bundled: {', '.join(names) or 'none'}."
                raise ValueError(f"Pairs are a bundled name or a file; {str(source)!r} is neither.{hint}")
        return cls.parse(bounded(path, MAX_BYTES), path.suffix.lstrip("."), name=name, file=path.name)

    @classmethod
    def parse(cls, data: str | bytes, suffix: str, *, name: str = "", file: str = "") -> PairSet:
        """The pairs in the content of a file; `suffix` is "jsonl", "json", "csv" or "tsv".

        Args:
            file: the file's name, for the messages.

        Raises:
            ValueError: another format, too large, no text, or a broken row (which one, what was expected, what came).
        """
        if suffix.lower().lstrip(".") not in FORMATS:
            raise ValueError(f"Pairs come as one of {', '.join('.' + known for known in FORMATS)}; got {suffix!r}.")
        pairs = []
        for where, row in table_rows(data, suffix, name=file, limit=MAX_BYTES):
            if len(pairs) >= MAX_PAIRS:
                raise ValueError(f"A set of pairs may hold {MAX_PAIRS} pairs; {file and f'{file}, '}{where} is beyond.")
            pairs.append(_pair(located(file, where), row))
        if not pairs:
            raise ValueError(
                f"A file of pairs holds at least one row with 'positive' and 'negative'; {file or 'this one'} has none."
            )
        return cls(tuple(pairs), name)

    @classmethod
    def from_lists(
        cls,
        positives: Sequence[str],
        negatives: Sequence[str],
        prompts: str | Sequence[str] | None = None,
        *,
        name: str = "",
    ) -> PairSet:
        """Pairs of two lists of the same length; `prompts` is one for all, one for each, or None.

        Raises:
            ValueError: the lengths differ, or a text is empty.
        """
        if isinstance(positives, str) or isinstance(negatives, str):
            raise ValueError("from_lists takes two lists of texts; got a single text. Put it in a list.")
        if prompts is None or isinstance(prompts, str):
            prompts = [prompts or ""] * len(positives)
        if not len(positives) == len(negatives) == len(prompts):
            raise ValueError(
                f"Each positive goes with one negative (and one prompt); got {len(positives)} positives, "
                f"{len(negatives)} negatives and {len(prompts)} prompts."
            )
        rows = zip(prompts, positives, negatives, strict=True)
        pairs = tuple(
            _located(f"Pair {number}", PromptPair, prompt, positive, negative)
            for number, (prompt, positive, negative) in enumerate(rows, start=1)
        )
        return cls(pairs, name)

    # Using it -------------------------------------------------------------------------------------------------------

    @property
    def content_hash(self) -> str:
        """A hash of the pairs in their order, whatever they are named and whichever format they came in."""
        text = json.dumps([pair.row() for pair in self.pairs], ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @property
    def swapped(self) -> PairSet:
        """Every pair with its labels exchanged."""
        return PairSet(tuple(pair.swapped for pair in self.pairs), self.name)

    def rows(self) -> list[dict[str, str]]:
        """One dictionary of columns for each pair, for a table or a file."""
        return [pair.row() for pair in self.pairs]

    def to_jsonl(self) -> str:
        """The text of a JSONL file of these pairs."""
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows())

    def split(self, fraction: float = 0.5, seed: int = 0) -> tuple[PairSet, PairSet]:
        """Two sets: about `fraction` of the pairs, drawn by `seed`, and the rest, each in the original order.

        Copies of a pair fall on the same side; otherwise the held-out half would contain what was fitted.

        Raises:
            ValueError: the fraction leaves a side empty.
        """
        distinct = list(dict.fromkeys(self.pairs))
        size = round(fraction * len(distinct)) if 0 < fraction < 1 else 0
        if not 0 < size < len(distinct):
            raise ValueError(
                f"A split leaves pairs on both sides; fraction {fraction} of {len(distinct)} different pairs does not. "
                "Use a fraction between 0 and 1 and at least two pairs."
            )
        chosen = set(random.Random(seed).sample(distinct, size))
        first = tuple(pair for pair in self.pairs if pair in chosen)
        rest = tuple(pair for pair in self.pairs if pair not in chosen)
        return PairSet(first, self.name), PairSet(rest, self.name)

    def problems(self) -> list[str]:
        """What a careful reader would object to, one sentence each: identical sides, copies of earlier pairs."""
        found, seen = [], {}
        for number, pair in enumerate(self.pairs, start=1):
            positive, negative = pair.sides
            if positive == negative:
                found.append(f"Pair {number}: both sides are the same text, so it adds nothing to a contrast.")
            if pair in seen:
                found.append(f"Pair {number} repeats pair {seen[pair]}.")
            seen.setdefault(pair, number)
        return found


def bundled_pairs() -> list[str]:
    """The names of the sets that ship with Tiller."""
    return sorted(path.stem for path in BUNDLED.glob("*.jsonl"))


# Rows of a file -------------------------------------------------------------------------------------------------------


def _pair(where: str, row: Any) -> PromptPair:
    """The pair of one row of a file."""
    if not isinstance(row, Mapping):
        raise ValueError(f"{where}: expected an object with 'positive' and 'negative', got {kind_of(row)}.")
    named = [(str(name).strip().lower(), value) for name, value in row.items() if value is not None]
    row = dict(named)
    if len(row) < len(named):
        twice = next(name for name, _ in named if [one for one, _ in named].count(name) > 1)
        raise ValueError(f"{where}: two columns are called {twice!r}, in capitals or not. Rename one of them.")
    if "positive" not in row and all(name in row for name in _QUESTION):
        prompt, positive, negative = (row[name] for name in _QUESTION)
        if all(isinstance(text, str) for text in (prompt, positive, negative)):
            # Anthropic's answers begin with a space, CAA's do not and would touch the question's last word.
            touching = not prompt[-1:].isspace() and not positive[:1].isspace() and not negative[:1].isspace()
            prompt += "\n" if prompt and touching else ""
        return _located(where, PromptPair, prompt, positive, negative)
    needed = ("positive_completion", "negative_completion")
    if not any(row.get(name) for name in needed):
        needed = ("positive", "negative")
    missing = [name for name in needed if name not in row]
    if missing:
        raise ValueError(
            f"{where}: expected {missing[0]!r} (columns 'positive' and 'negative', or "
            f"{', '.join(map(repr, _QUESTION))}), got {', '.join(map(repr, row)) or 'no columns'}."
        )
    own = ("", "")
    if needed[0] == "positive_completion":
        own = (row.get("positive", ""), row.get("negative", ""))
    return _located(where, PromptPair, row.get("prompt", ""), row[needed[0]], row[needed[1]], *own)


def _located(where: str, make: type[PromptPair], *texts: Any) -> PromptPair:
    try:
        return make(*texts)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
