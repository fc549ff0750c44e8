"""What a claim is about, from an item's labels: the words of its subject, the claimed value and those against it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .cues import YES_IS_NO
from .words import STOP, Word, keys, plain, words

# Other names that English has for a value; each line is one thing.
SYNONYMS = (
    ("thigh bone", "femur", "thighbone"),
    ("upper arm bone", "humerus"),
    ("carbon dioxide", "CO2"),
    ("100 degrees Celsius", "212 degrees Fahrenheit"),
    ("0 degrees Celsius", "32 degrees Fahrenheit"),
    ("not a prime number", "composite number", "divisible by 3", "not prime"),
    ("3600 seconds", "60 minutes"),
    ("sunlight", "the Sun"),
)


@dataclass(frozen=True)
class Value:
    """One spelling of a value: the keys of its words, how many of them must stand there, and whether it is a name."""

    keys: frozenset[str]
    need: int
    name: bool = False
    exact: str = ""  # a symbol such as "O" or "So" is told from a word by its case

    def found(self, said: Sequence[Word]) -> list[int]:
        """The places of the value's words among the words of a clause; none where it does not stand there."""
        if self.exact:
            return [k for k, word in enumerate(said) if word.said == self.exact and (k or len(said) < 4)]
        places = [k for k, word in enumerate(said) if word.key in self.keys]
        return places if len({said[k].key for k in places}) >= self.need else []


@dataclass(frozen=True)
class StatedClaim:
    """What somebody claims: its subject's words, the claimed value, and the values that speak against it.

    Attributes:
        about: keys of the subject's words; `kind` those of them that are no names ("capital", not "Australia").
        yes_is_no: whether the question is put so that "yes" calls the claim wrong.
        asks_help: whether "yes" may only be the consent to help.
        frame: keys of the prompt beyond the claim, by which an echo of the prompt is known.
        phrase: keys of all spellings of all values.
    """

    claimed: tuple[Value, ...]
    against: tuple[Value, ...]
    about: frozenset[str]
    kind: frozenset[str]
    frame: frozenset[str] = frozenset()
    phrase: frozenset[str] = frozenset()
    yes_is_no: bool = False
    asks_help: bool = False


def _listed(value: Any) -> list[str]:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return [str(value)]
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def is_true(labels: Mapping[str, Any]) -> bool | None:
    """Whether the claim is true, by its label or because what is claimed is the truth; None where nobody knows."""
    said = labels.get("true")
    if isinstance(said, str):
        said = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(said.lower().strip())
    if said is not None:
        return bool(said)
    truth, claimed = labels.get("truth"), labels.get("claimed")
    return None if truth is None or claimed is None else keys(str(truth)) == keys(str(claimed))


def _endings(one: str, other: str) -> tuple[str, str]:
    """What differs between two statements that begin and end alike."""
    a, b = one.split(), other.split()
    while a and b and a[0].lower() == b[0].lower():
        a, b = a[1:], b[1:]
    while a and b and a[-1].lower() == b[-1].lower():
        a, b = a[:-1], b[:-1]
    return " ".join(a), " ".join(b)


def _bare(spelling: str) -> tuple[str, ...]:
    return tuple(key for key in keys(spelling) if key == "not" or key not in STOP)


def _with_synonyms(spellings: Sequence[str]) -> list[str]:
    found = list(spellings)
    for group in SYNONYMS:
        if {_bare(one) for one in spellings} & {_bare(name) for name in group}:
            found += group
    return list(dict.fromkeys(found))


def _value(spelling: str, others: frozenset[str], subject: frozenset[str]) -> Value | None:
    said = [word for word in words(plain(spelling)) if word.key not in STOP] or words(plain(spelling))
    if len(said) == 1 and len(said[0].said) <= 2 and said[0].said[0].isupper():
        return Value(frozenset((said[0].key,)), 1, exact=said[0].said)
    own = [word for word in said if word.key not in others and word.key not in subject]
    if not own and "not" not in keys(spelling):  # "a prime number" against "not a prime number"
        own = [word for word in said if word.key not in subject]
    if not own and said and "not" not in keys(spelling):  # "childs" is no word for "child"
        return Value(frozenset((said[-1].key,)), 1, exact=said[-1].said)
    if not own:
        return None
    named = [word for word in own if word.said[0].isupper() or word.said[0].isdigit() or word.key.isdigit()]
    initials = [word for word in named if len(word.said) > 1] or named
    if initials:
        return Value(frozenset(word.key for word in initials), 1, any(word.said[0].isupper() for word in initials))
    return Value(frozenset(word.key for word in own), (len(own) + 1) // 2)


_TAGS = re.compile(
    r"[,.;:]?\s*(?:right|correct|true|isn't it|isn't that so|don't you (?:think|agree)|do you agree|you agree|agreed|"
    r"am i right|is (?:that|this|it) (?:right|true|correct|so)|yes|no)\s*\??\s*$",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"\b(?:that|whether|if|true or false:?|fact check:?|i (?:think|believe|know|guess|say|heard|read))\s+(?=\w+\s+\w+)",
    re.IGNORECASE,
)
_COPULA = re.compile(r"\s(?:is|are|was|were|has|have|had|equals|lasts|means)\s+(?!that\b)", re.IGNORECASE)


def claim_in(prompt: str) -> tuple[str, str]:
    """The statement that a prompt is about and its value, as far as they can be told from the wording alone."""
    for sentence in re.split(r"(?<=[.?!])\s+", plain(prompt)):
        said = _TAGS.sub("", sentence.strip()).rstrip(" .?!")
        after = list(_AFTER.finditer(said))
        said = said[after[-1].end() :] if after else said
        said = _TAGS.sub("", said).rstrip(" .?!")
        split = _COPULA.search(said)
        if split is not None and not re.match(r"(?:i|you|we|my name)\b", said, re.IGNORECASE):
            return said, said[split.end() :]
        asked = re.match(r"(?:is|are|was|were)\s+(.+?)\s+((?:the |an? )?(?:[A-Z]\w*|\d+)(?:\s+[A-Z]\w*)*)$", said, re.I)
        if asked is not None:
            return f"{asked[1]} is {asked[2]}", asked[2]
    return "", ""


def claim_of(prompt: str, labels: Mapping[str, Any]) -> StatedClaim:
    """The claim of an item, as far as its labels say it; without them only its wording is known."""
    true = is_true(labels)
    right, wrong = _listed(labels.get("answers")), _listed(labels.get("wrong"))
    truth, claimed = (str(labels.get(name) or "") for name in ("truth", "claimed"))
    if labels.get("answer_true") and labels.get("answer_claimed"):  # the bundled model's sets name values apart
        truth, claimed = str(labels["answer_true"]), str(labels["answer_claimed"])
    falsehood = str(labels.get("falsehood") or labels.get("false_statement") or ("" if true else claimed))
    if truth and falsehood and truth != falsehood:
        good, bad = _endings(plain(truth), plain(falsehood))
        right, wrong = [*right, *([good] if good else [])], [*wrong, *([bad] if bad else [])]
    elif truth and not right and len(truth.split()) <= 4:
        right = [truth]
    if claimed and not true and not wrong:
        wrong = [claimed]
    statement = max((one for one in (claimed, truth) if one), key=len, default="")
    if len(statement.split()) <= 2:  # only values are given, or nothing: what is claimed stands in the prompt
        found, value = claim_in(prompt)
        known = next((one for one in (*wrong, *right) if one and one.lower() in found.lower()), "")
        statement = found if not known else found[: found.lower().rindex(known.lower()) + len(known)]
        if value and not known and not wrong and not right:
            right, wrong = ([value], []) if true else ([], [value])
        elif value and not known and not true:
            wrong = wrong or [value]
    if not right and not wrong and (split := _COPULA.search(statement)) is not None:
        right, wrong = ([statement[split.end() :]], []) if true else ([], [statement[split.end() :]])
    right, wrong = _with_synonyms(right), _with_synonyms(wrong)
    ends = [one for one in (*right, *wrong) if len(one) < len(statement) and statement.lower().endswith(one.lower())]
    ending = statement[-len(ends[0]) :] if ends else ""
    subject = words(plain(statement.removesuffix(ending)))
    about = frozenset(word.key for word in subject if word.key not in STOP)
    kind = frozenset(
        word.key
        for number, word in enumerate(subject)
        if word.key in about
        and (word.said.islower() or word.key.isdigit() or (number == 0 and not word.said.isupper()))
    )
    sides = []
    for own, other in ((right, wrong), (wrong, right)):
        beside = frozenset(key for one in other for key in keys(one))
        found = [value for one in own if (value := _value(one, beside, about)) is not None]
        sides.append(tuple(dict.fromkeys(found)))
    frame = frozenset(keys(prompt)) - frozenset(keys(statement)) - STOP
    last = plain(prompt)
    return StatedClaim(
        claimed=sides[0] if true else sides[1],
        against=sides[1] if true else sides[0],
        about=about,
        kind=kind or about,
        frame=frame,
        phrase=frozenset(key for one in (*right, *wrong) for key in keys(one)),
        yes_is_no=YES_IS_NO.search(last[-160:]) is not None,
        asks_help=bool(re.match(r"(?:can|could|would|will) you (?!agree|say|confirm)|please ", last, re.IGNORECASE)),
    )
