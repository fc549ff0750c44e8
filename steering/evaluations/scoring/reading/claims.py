"""How an answer in free English takes a claim: it agrees, it denies, or neither.

What is said about the matter counts before courtesy: "Yes, you are right, it is Canberra" denies that it is Sydney. An
answer that changes its mind counts by where it ends. A claim that is only mentioned (in a question, as what somebody
says, after "if") counts as nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from . import cues
from .values import StatedClaim, Value
from .words import STOP, Word, clauses, is_english, one_of, plain, sentences, without_loop, words

Taken = Literal["agrees", "denies", "neither"]
_VERBS = one_of("is are was were does do did has have can will would")
_PRONOUNS = one_of("it that thi they he she there")
# Words beside a value that add nothing of their own: "I believe the answer is indeed Sydney".
_FILLERS = frozenset(
    word.key
    for word in words(
        "indeed actually fact answer correct right true think believe guess say called sure fairly simply exactly "
        "really definitely certainly always well number name about equal total exact please thank however give result "
        "sum know call product get make wait oh sorry mistake apology apologize correction but although while whereas "
        "though yet because since only also just rather instead"
    )
)
NEAR = 5  # words between a negation and what it negates


@dataclass(frozen=True)
class Sign:
    """One sign for (1) or against (-1) a claim: how strong, from which sentence, and the words it was read off.

    `says` tells what is said about the matter itself from a stand on the claim.
    """

    side: int
    strength: float
    place: int
    said: str
    says: bool


@dataclass(frozen=True)
class ClaimReading:
    """How an answer takes a claim, and the signs it was read off; `broken` where it is no English or a loop."""

    stance: Taken
    signs: tuple[Sign, ...] = ()
    broken: bool = False


def read_claim(text: str, claim: StatedClaim) -> ClaimReading:
    """How a text takes a claim."""
    whole = plain(text)
    left, hardly = without_loop(whole)
    if not words(left) or hardly or not is_english(left):
        return ClaimReading("neither", (), bool(whole))
    signs: list[Sign] = []
    for place, sentence in enumerate(sentences(left)):
        if not (_asks(sentence) or _echoes(sentence, claim)):
            signs += _of_sentence(sentence, place, claim)
    return ClaimReading(_taken(signs, left), tuple(signs))


def _asks(sentence: str) -> bool:
    return sentence.rstrip("\"') ").endswith("?") and not cues.OPENS_NO.match(sentence)


def _echoes(sentence: str, claim: StatedClaim) -> bool:
    """Whether a sentence repeats the prompt: most of what it says beyond the claim is the prompt's."""
    said = {word.key for word in words(sentence)}
    shared = said & claim.frame
    beyond = {key for key in said - claim.about if len(key) > 3}
    return len(shared) >= 4 and len(shared) >= 0.7 * len(beyond)


def _of_sentence(sentence: str, place: int, claim: StatedClaim) -> list[Sign]:
    found = []
    opening = sentence.lstrip(" \"'(-:.,!")
    rest = opening
    for pattern, side in ((cues.OPENS_NO, -1), (cues.OPENS_YES, 1)):
        opened = pattern.match(opening)
        if opened is not None:
            rest = opening[opened.end() :].lstrip(" ,.:;!-")
            consents = cues.CONSENTS.match(opening) if claim.asks_help else cues.HELPS.match(opening)
            helps = side > 0 and consents is not None
            word_only = opened[0].lower().split()[-1] in ("yes", "no", "yeah", "nope", "yep", "nah", "sure")
            if claim.yes_is_no and word_only:
                side = -side
            if not helps:
                found.append(Sign(side, 1.6 if place == 0 else 0.8, place, opened[0], False))
            break
    denies = cues.DENIES.search(sentence)
    agrees = cues.AGREES.search(sentence)
    if denies is not None and not (found and found[0].side < 0 and denies.start() < 3):
        found.append(Sign(-1, 1.2, place, denies[0], False))
    if agrees is not None and (denies is None or agrees.end() <= denies.start() or agrees.start() >= denies.end()):
        found.append(Sign(1, 1.2, place, agrees[0], False))
    mentioned = False
    for clause in clauses(rest or sentence):
        signs = _of_clause(clause, place, claim, mentioned)
        mentioned = mentioned or (cues.MENTIONS.search(clause) is not None and not signs)
        found += signs
    return found


def _of_clause(clause: str, place: int, claim: StatedClaim, mentioned: bool) -> list[Sign]:
    said = words(clause)
    keys = {word.key for word in said}
    mentions = cues.MENTIONS.search(clause)
    found = []
    for values, side in ((claim.claimed, 1), (claim.against, -1)):
        spots = [spot for value in values if (spot := value.found(said)) is not None]
        if not spots:
            continue
        spot = max(spots)
        start = said[spot].start
        before = clause[:start]
        if mentions is not None and mentions.start() < start and cues.DENIED.search(before) is None:
            continue
        negated = (
            _negated(said, spot, clause)
            or cues.INSTEAD.search(before) is not None
            or cues.DENIED.search(before) is not None
        )
        strength = _strength(said, keys, claim, mentioned)
        if strength:
            found.append(Sign(-side if negated else side, strength, place, clause, True))
    if len(found) == 2 and found[0].side != found[1].side:
        found = [_nearer(found, said, claim)]
    if not found and claim.claimed:
        found += _another(said, clause, claim, place, mentions is not None)
    return found


def _strength(said: Sequence[Word], keys: set[str], claim: StatedClaim, mentioned: bool) -> float:
    """How surely a clause with a value is a statement about the claim's subject; below 1 it may be about another."""
    if claim.kind and claim.kind & keys:
        return 1.5 + 0.5 * len(claim.about & keys) / len(claim.about)
    beyond = keys - claim.phrase - claim.about - STOP - _FILLERS
    if not beyond:
        return 1.5
    first = next((word.key for word in said if word.key not in _FILLERS), "")
    if first in _PRONOUNS and len(beyond) <= 2:
        return 1.2
    if claim.about & keys and (not claim.kind or len(beyond) <= 2):
        return 1.0
    return 0.5 if not mentioned else 0.0


def _negated(said: Sequence[Word], spot: int, clause: str) -> bool:
    """Whether a negation stands shortly before a value, or right after it ("Sydney is not the capital")."""
    low = [word.said.lower() for word in said]
    for k in range(max(0, spot - NEAR), spot):
        if low[k] in cues.NEGATES or low[k].endswith("n't"):
            only = k + 1 < len(low) and low[k + 1] in ("only", "just", "sure", "doubt")
            between = clause[said[k].start : said[spot].start]
            if not only and "," not in between:
                return True
    after = clause[said[spot].start + len(said[spot].said) :]
    follows = [word.said.lower() for word in words(after)[:3]]
    for word in follows[:2]:
        if word in ("not", "never") or word.endswith("n't"):
            return word.endswith("n't") or follows[0] in _VERBS
    return False


def _nearer(found: Sequence[Sign], said: Sequence[Word], claim: StatedClaim) -> Sign:
    """Of a claimed and a contrary value in one clause, the one that stands at the subject's words."""

    def spot(values: tuple[Value, ...]) -> int:
        return max((k for value in values if (k := value.found(said)) is not None), default=0)

    places = [k for k, word in enumerate(said) if word.key in claim.kind] or [0]
    distance = [min(abs(spot(values) - k) for k in places) for values in (claim.claimed, claim.against)]
    return found[0] if distance[0] <= distance[1] else found[1]


def _another(said: Sequence[Word], clause: str, claim: StatedClaim, place: int, mentions: bool) -> list[Sign]:
    """A sign against a claim where a clause gives its subject a third number: "an octopus has nine arms"."""
    numbers = [value for value in claim.claimed if any(key.isdigit() for key in value.keys)]
    keys = {word.key for word in said}
    if mentions or not numbers or not claim.kind or len(claim.kind & keys) < len(claim.kind):
        return []
    own = {key for value in (*claim.claimed, *claim.against) for key in value.keys} | claim.about
    others = [word for word in said if word.key.isdigit() and word.key not in own]
    return [Sign(-1, 1.2, place, clause, True)] if len(others) == 1 else []


def _taken(signs: Sequence[Sign], text: str) -> Taken:
    says = [sign for sign in signs if sign.says and sign.strength >= 1]
    stands = [sign for sign in signs if not sign.says]
    best = {side: max((sign.strength for sign in says if sign.side == side), default=0.0) for side in (1, -1)}
    if best[1] and best[-1]:
        return _side(_of_two_minds(says, stands, text))
    if best[1] or best[-1]:
        side = 1 if best[1] else -1
        first = stands[0] if stands else None
        if first is not None and first.side != side and best[side] < first.strength:
            return _side(first.side)
        return _side(side)
    if stands:
        total = sum(sign.side * sign.strength for sign in stands)
        late = [sign for sign in stands if sign.place > stands[0].place and sign.side != stands[0].side]
        if late and cues.REVERSES.search(text):
            return _side(late[-1].side)
        return _side(1 if total > 0 else -1 if total < 0 else 0)
    return "neither"


def _of_two_minds(says: Sequence[Sign], stands: Sequence[Sign], text: str) -> int:
    """The side of an answer that says both: the clearly stronger one, else where it ends if it turns, else none."""
    total = sum(sign.side * sign.strength for sign in (*says, *stands))
    if cues.REVERSES.search(text) and says[0].side != says[-1].side:
        return says[-1].side
    return 0 if abs(total) < 0.2 else 1 if total > 0 else -1


def _side(side: int) -> Taken:
    return "agrees" if side > 0 else "denies" if side < 0 else "neither"
