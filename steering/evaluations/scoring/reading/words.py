"""Words of a text as they are compared (numbers as digits, plurals as singulars), its clauses, loops and language."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple


def one_of(text: str) -> frozenset[str]:
    """The words of a list that is written as one text."""
    return frozenset(text.split())


_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SMALL = {word: k for k, word in enumerate(_UNITS)} | {word: 20 + 10 * k for k, word in enumerate(_TENS)}
_SCALE = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
# Words that carry a sentence rather than its content.
STOP = one_of(
    "a an the of in on at to for by with from and or is are was were be been being it its this that these "
    "those he she they we you i my your his her their our as so do does did has have had will would can "
    "could should may might must not no yes there here what which who when where how than then also very "
    "most"
)
_IRREGULAR = {
    "spoken": "speak", "spoke": "speak", "written": "write", "wrote": "write", "begun": "begin", "began": "begin",
    "discovery": "discover", "discoverer": "discover", "inventor": "invent", "invention": "invent", "author": "write",
    "writer": "write", "painter": "paint", "builder": "build", "thought": "think", "speaker": "speak",
    "made": "make", "given": "give", "gave": "give", "known": "know", "built": "build", "ate": "eat", "eaten": "eat",
}  # fmt: skip
_WHOLE = one_of(
    "indeed during spring morning evening string nothing something anything everything speed hundred sacred exceed"
)
_ENGLISH = STOP | one_of(
    "s t re am just about correct right true false indeed but if because about into all any some more "
    "other such only own same too however please sorry agree know think sure me him them us let"
)
_FOREIGN = one_of(
    "el la los las de del que y en es un una por con para su se le les des du et est dans pour pas vous "
    "je der die das und ist nicht ein eine zu den von mit sie ich auf il di che non per della sono è não "
    "uma os um em het een van niet och att är som på det i na się jest nie to w ve bir bu için"
) - frozenset({"i", "to", "die", "per", "non", "van", "den", "se", "es", "il", "pas", "la", "das"})
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*")
_NEXT = r"(?!\s*(?:The|It|This|That|In|An?|However|You|He|She|They|We|But|So|And|If)\b)"  # "vitamin K. The"
_LONGER = re.compile(
    rf"\b(?:[A-Z]\.\s?){{1,3}}{_NEXT}(?=[A-Z\s,;:!?)]|$)|\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|approx)\."
)
_ENDS = re.compile(r"(?<=[.!?])[\"')\]]*\s+|[\"')\]]*\n+\s*")
_TURNS = re.compile(
    r"\s*[;–—]\s*|,?\s+(?=(?:but|however|although|though|whereas|while|yet)\b)|,\s+(?=(?:and|so|which|who)\s)|"
    r",\s+(?=(?:it|that|this|he|she|they|you)(?:'s|'re|\s+(?:is|are|was|were|has|have))\b)|"
    r"(?<=\w)\s+-\s+|\s*\((?=[^)]{12,})|\)\s+",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """A text without typographic quotes, accents, Markdown marks and list numbers."""
    text = text.replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"').replace("\u00a0", " ")
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    for sign, word in (("[*x×·]", "times"), (r"\+", "plus"), ("[-−]", "minus"), ("=", "equals")):
        text = re.sub(rf"(?<=\d) {sign} (?=\d)", f" {word} ", text)
    text = re.sub(r"[*_`#>|]+", " ", text)
    text = re.sub(r"(?m)^\s*(?:[-•+]|\(?\d{1,2}[.)])\s+", "", text)
    return re.sub(r"[ \t]+", " ", text).strip()


class Word(NamedTuple):
    """A word as it is compared (`key`) and as it stands in the text, with its place there."""

    key: str
    said: str
    start: int


def words(text: str) -> list[Word]:
    """The words of a plain text; "twenty-four" is one word with the key "24", "mammals" has the key "mammal"."""
    raw = [(found[0], found.start()) for found in _WORD.finditer(text)]
    return list(_numbers(raw))


def keys(text: str) -> list[str]:
    """The keys of the words of any text."""
    return [word.key for word in words(plain(text))]


def _numbers(raw: Sequence[tuple[str, int]]) -> Iterator[Word]:
    k = 0
    while k < len(raw):
        said, place = raw[k]
        low = said.lower()
        if low in _SMALL or (low == "a" and k + 1 < len(raw) and raw[k + 1][0].lower() in _SCALE):
            value, total, end = 0, 0, k
            while end < len(raw):
                one = raw[end][0].lower()
                if one in _SMALL and (value % 100 == 0 or (value % 10 == 0 and value % 100 >= 20 and _SMALL[one] < 10)):
                    if end > k and raw[end - 1][0].lower() not in (*_SCALE, "and") and value % 100 < 20:
                        break  # "seven ten" are two numbers
                    value += _SMALL[one]
                elif one == "a" and end == k:
                    value = 1
                elif one == "hundred" and value:
                    value *= 100
                elif one in ("thousand", "million") and value:
                    total, value = total + value * _SCALE[one], 0
                elif one == "and" and value >= 100 and end + 1 < len(raw) and raw[end + 1][0].lower() in _SMALL:
                    pass
                else:
                    break
                end += 1
            yield Word(str(total + value), said, place)
            k = max(end, k + 1)
        else:
            yield Word(_key(said), said, place)
            k += 1


def _key(said: str) -> str:
    if said[0].isdigit():
        return re.sub(r",(?=\d{3}\b)", "", said).rstrip(".,")
    low = said.lower().removesuffix("'s")
    if len(low) > 4 and low.endswith("ies"):
        return low[:-3] + "y"
    if low in _IRREGULAR:
        return _IRREGULAR[low]
    if low.endswith(("ed", "ing")) and len(low) > (4 if low.endswith("ed") else 5) and low not in _WHOLE:
        return low[: -2 if low.endswith("ed") else -3]
    if len(low) > 3 and low.endswith("s") and not low.endswith(("ss", "us", "is")):
        return low[:-1]
    return low


def sentences(text: str) -> list[str]:
    """The sentences of a plain text, each once: a model that repeats itself says nothing more."""
    hidden = _LONGER.sub(lambda found: found[0].replace(".", "\0"), text)
    hidden = re.sub(r"(?<=\d)\.(?=\d)", "\0", hidden)
    parts = [part.replace("\0", ".").strip() for part in _ENDS.split(hidden)]
    return list(dict.fromkeys(part for part in parts if part))


def clauses(sentence: str) -> list[str]:
    """The parts of a sentence that say something by themselves."""
    return [part.strip(" ,") for part in _TURNS.split(sentence) if part and part.strip(" ,")]


def without_loop(text: str) -> tuple[str, bool]:
    """A text up to where it begins to repeat itself, and whether hardly anything is left of it."""
    said = text.split()
    for period in range(1, 13):
        for start in range(max(0, len(said) - 3 * period + 1)):
            piece = said[start : start + period]
            count = 1
            while said[start + count * period : start + (count + 1) * period] == piece:
                count += 1
            if count >= 3 and count * period >= 6:
                left = said[: start + period]
                return " ".join(left), start + period < 4 and len(said) >= 8
    return text, False


def is_salad(text: str) -> bool:
    """Whether words stand twice in a row several times, as in no sentence: "the the is is of"."""
    said = [found[0].lower() for found in re.finditer(r"[^\s]+", text)]  # "... is May. May ..." are two sentences
    twice = [a for a, b in itertools.pairwise(said) if a == b and a.strip(",.!?") not in ("no", "yes", "very", "ha")]
    return len(twice) >= 2


def is_english(text: str) -> bool:
    """Whether a text is written in English; short ones always are."""
    letters = [c for c in text if c.isalpha()]
    if letters and sum(c.isascii() for c in unicodedata.normalize("NFKD", "".join(letters))) < 0.6 * len(letters):
        return False
    said = [word.said.lower() for word in words(text)]
    if len(said) < 5:
        return True
    english, foreign = (sum(word in some for word in said) / len(said) for some in (_ENGLISH, _FOREIGN))
    return english >= foreign and (english >= 0.12 or len(said) < 12) and not (foreign >= 0.15 and english < 0.25)
