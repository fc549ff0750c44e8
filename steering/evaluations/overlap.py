"""Items of an evaluation set whose prompt or fact also occurs in the pairs that a direction was made from.

A direction that has seen the answers measures memory as well as behavior. An item overlaps in two ways:

- **prompt**: its words stand, in their order, in a text of the pairs, or those of a pair's prompt stand in it;
- **fact**: a statement that the item is about (what is claimed, what is true, what is asked for) stands in one sentence
  of a pair with all its content words, in any order; in their order where it has numbers ("12 is more than 8").

Case, punctuation and the signs of arithmetic (3 + 4 = 7 is "3 plus 4 is 7") do not count; paraphrases with other
content words are not found, so a count is a lower bound.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..directions.pairs import PairSet
from ..showing.one_line import counted, one_line, quoted
from .scoring.items import Item
from .sets.sets import EvaluationSet

# Labels of an item that say, in whole sentences, what it is about; short values are joined to the item's "subject".
STATEMENTS = ("claimed", "truth", "answer_true", "answer_claimed", "statement", "act", "answers", "wrong")
STATEMENTS += ("correct_full_text", "incorrect_full_text")
VALUES = ("claimed", "truth")
MIN_PROMPT = 3  # words of a prompt: "Yes or no?" says nothing about where it was seen
MIN_WORDS, MIN_CONTENT = 3, 2  # of a statement: "a dozen is twelve" is one, "Canberra" is none
MAX_SHOWN = 3

_SIGNS = {"+": "plus", "−": "minus", "=": "is", "×": "times", "*": "times", "<": "less than", ">": "greater than"}
_STOPWORDS = """a an the this that these those it its i you he she we they my your his her our their and or but so if of
    in on at to from by with for as is are was were be been being am do does did has have had can could would should
    will what which who whom whose when where how why there here than then"""
_STOP = frozenset(_STOPWORDS.split())
_WORD = re.compile(r"[぀-ヿ㐀-鿿]|[^\W_぀-ヿ㐀-鿿]+")  # a Chinese or Japanese character is a word
_SENTENCE = re.compile(r"(?<=[.!?;:。！？])\s+|[。！？\n]+")

Words = tuple[str, ...]


@dataclass(frozen=True)
class Overlap:
    """How much of an evaluation set occurs in a set of pairs.

    Attributes:
        prompts: the numbers of the items whose prompt occurs, from 0.
        facts: those of the items whose fact occurs, in whatever words around it.
        examples: an item's prompt beside the text of the pair that it shares its fact or prompt with.
    """

    set: str
    pairs: str
    items: int
    prompts: tuple[int, ...] = ()
    facts: tuple[int, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()

    @property
    def found(self) -> int:
        """The number of items that occur in one way or the other."""
        return len({*self.prompts, *self.facts})

    def __repr__(self) -> str:
        found = f"{len(self.prompts)} of {self.items} items by prompt, {len(self.facts)} by fact"
        return one_line(self, f"{quoted(self.set, 40)} in {quoted(self.pairs, 40)}", found)

    def __str__(self) -> str:
        """What a reader of a result should know, in one or two sentences; empty where nothing occurs."""
        if not self.found:
            return ""
        how = [f"{len(self.prompts)} by their prompt"] if self.prompts else []
        how += [f"{len(self.facts)} by the fact that they are about"] if self.facts else []
        return (
            f"{self.found} of {counted(self.items, 'item')} of {self.set!r} occur in the pairs {self.pairs!r} that the "
            f"direction was made from ({', '.join(how)}). A result on them is no evidence for new questions."
        )


def overlap(found: EvaluationSet | Iterable[Item], pairs: PairSet, *, name: str = "", of: str = "") -> Overlap:
    """The items that occur in the pairs.

    Args:
        name: what the set is called in the answer, by default its own name.
        of: what the pairs are called there.
    """
    items = tuple(found)
    texts = _texts_of(pairs)
    prompts, facts, examples = [], [], []
    for number, item in enumerate(items):
        as_prompt = texts.prompt(_words(item.text))
        as_fact = next((text for said in statements(item) if (text := texts.fact(said)) is not None), None)
        if as_prompt is not None:
            prompts.append(number)
        if as_fact is not None:
            facts.append(number)
        text = as_prompt if as_prompt is not None else as_fact
        if text is not None and len(examples) < MAX_SHOWN:
            examples.append((item.text, text))
    called = name or (found.name if isinstance(found, EvaluationSet) else "")
    return Overlap(called, of or pairs.name, len(items), tuple(prompts), tuple(facts), tuple(examples))


def statements(item: Item) -> Iterator[str]:
    """The statements that an item is about, each once: its labels', joined with its subject, and its prompt's core."""
    said: list[str] = []
    for name in STATEMENTS:
        value = item.labels.get(name)
        said += [str(one) for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, str)]
    subject = item.labels.get("subject")
    if isinstance(subject, str):
        said += [f"{subject} {item.labels[name]}" for name in VALUES if isinstance(item.labels.get(name), str)]
    if (core := _core(item)) is not None:
        said.append(core)
    yield from dict.fromkeys(one for one in said if _is_statement(one))


def _is_statement(text: str) -> bool:
    words = _words(text)
    return len(words) >= MIN_WORDS and len(set(_content(words))) >= MIN_CONTENT


def _core(item: Item) -> str | None:
    """What stands in the slots of the wording that an item was made with ("Can you help me to {r}?")."""
    wording = item.labels.get("phrasing")
    if not isinstance(wording, str) or "{" not in wording or len(wording) > 1000:
        return None
    parts = re.split(r"\{(\w+)\}", wording)
    pattern = "".join(re.escape(part) if k % 2 == 0 else "(.+?)" for k, part in enumerate(parts))
    found = re.search(f"^{pattern}$", item.text.splitlines()[-1] if item.text.strip() else "", re.IGNORECASE)
    return max(found.groups(), key=len, default=None) if found else None


@lru_cache(maxsize=8)
def _texts_of(pairs: PairSet) -> _Texts:
    return _Texts(pairs)


class _Texts:
    """The texts of a set of pairs, to be looked up by their words."""

    def __init__(self, pairs: PairSet) -> None:
        self.by_content: dict[str, list[int]] = defaultdict(list)
        self.sentences: list[tuple[Words, str]] = []
        self.whole: dict[str, str] = {}
        self.prompts: dict[Words, str] = {}
        for pair in pairs:
            for prompt, completion in pair.sides:
                if len(words := _words(prompt)) >= MIN_PROMPT:
                    self.prompts.setdefault(words, prompt.strip())
                for text in (prompt, completion, f"{prompt} {completion}"):
                    self.whole.setdefault(f" {' '.join(_words(text))} ", text.strip())
                for text in (prompt, completion):
                    for sentence in _SENTENCE.split(text):
                        self._add(sentence)
        self.joined = "\n".join(self.whole)
        self.lengths = sorted({len(words) for words in self.prompts})

    def _add(self, sentence: str) -> None:
        content = _content(_words(sentence))
        if content:
            self.sentences.append((content, sentence.strip()))
            for word in set(content):
                self.by_content[word].append(len(self.sentences) - 1)

    def prompt(self, words: Words) -> str | None:
        """The text of the pairs that holds a prompt of these words, or whose prompt stands in it."""
        if len(words) < MIN_PROMPT:
            return None
        said = f" {' '.join(words)} "
        if said in self.joined:
            return next(text for whole, text in self.whole.items() if said in whole)
        for length in self.lengths:
            for start in range(len(words) - length + 1):
                if (text := self.prompts.get(words[start : start + length])) is not None:
                    return text
        return None

    def fact(self, statement: str) -> str | None:
        """The sentence of the pairs that says a statement."""
        content = _content(_words(statement))
        rarest = min(content, key=lambda word: len(self.by_content.get(word, ())))
        ordered = any(word.isdigit() for word in content)
        for number in self.by_content.get(rarest, ()):
            words, text = self.sentences[number]
            if _in_order(content, words) if ordered else set(content) <= set(words):
                return text
        return None


def _in_order(part: Words, whole: Words) -> bool:
    left = iter(whole)
    return all(word in left for word in part)


def _content(words: Words) -> Words:
    return tuple(word for word in words if word not in _STOP)


def _words(text: str) -> Words:
    """The words of a text, without case, punctuation and accents of form."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    text = re.sub(r"(?<=\d)\s*-\s*(?=\d)", " minus ", text)
    for sign, word in _SIGNS.items():
        text = text.replace(sign, f" {word} ")
    return tuple(_WORD.findall(text.replace("'", "")))


def overlaps(sets: Sequence[EvaluationSet], pairs: Sequence[PairSet]) -> list[Overlap]:
    """The overlap of every set with every set of pairs, where there is any."""
    return [one for found in sets for given in pairs if (one := overlap(found, given)).found]


def shared(found: EvaluationSet, other: EvaluationSet) -> int:
    """The number of items of a set that another set asks in the same words, with the same options if it has any."""
    asked = {_asked(item) for item in other}
    return sum(_asked(item) in asked for item in found)


def _asked(item: Item) -> tuple[Words, ...]:
    # "Which sentence is right?" is another question with other sentences.
    return (_words(item.plain()), *sorted(_words(option) for option in item.options))
