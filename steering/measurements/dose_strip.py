"""A dose strip: one prompt at several strengths of a steering, written as rows of one batch.

It says from which strength on the answer is another one, and from which on the text breaks, and so which strength to
begin with on a model that nobody has steered before.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..engine.completion import Completion
from ..engine.engine import Engine
from ..engine.requests import Request, Variant, variants_of
from ..interventions.protocol import Intervention
from ..models.model import Model, Prompt
from ..models.passages import pieces
from ..showing.html import caption, table
from ..showing.one_line import one_line
from .calibration import cliff
from .numbers import repetition
from .parting import Parting, parting

DOSES = 7  # strengths of a strip, the baseline among them
LOOP = 0.5  # more repeated word triples than the baseline has, from which on a text counts as broken
FINEST = 1e-3  # no strength between two that are nearer than this share of the larger one is tried


@dataclass(frozen=True)
class Dose:
    """What the model wrote at one strength.

    Attributes:
        strength: None without steering.
        pieces: the text of each token.
        surprise: mean negative log-probability of the text under the unsteered model, nats a token.
        repetition: the share of word triples that occurred before in the text.
        parting: where the text parts from the baseline's; None where it does not.
    """

    strength: float | None
    text: str
    tokens: tuple[int, ...]
    pieces: tuple[str, ...]
    surprise: float
    repetition: float
    finish_reason: str = ""
    parting: Parting | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class DoseStrip:
    """Texts at rising strengths, the baseline first.

    Attributes:
        answer: the word that the turned answer has and the baseline's does not; "" where a new first sentence counts.
        turned: for each dose, whether its answer is another one than the baseline's.
        turn: the index of the first dose whose answer is another one; None if there is none.
        breaks: the index of the first dose whose text breaks; None if none does.
    """

    doses: tuple[Dose, ...]
    answer: str = ""
    turned: tuple[bool, ...] = ()
    turn: int | None = None
    breaks: int | None = None
    reason: str = ""

    @property
    def whole(self) -> list[int]:
        """The indices of the doses whose text holds, the baseline left out."""
        return list(range(1, len(self.doses) if self.breaks is None else self.breaks))

    @property
    def good(self) -> list[int]:
        """The indices from the turn on of the doses whose answer stays turned and whose text holds."""
        return list(itertools.takewhile(lambda k: self.turned[k], self.whole[self.turn - 1 :])) if self.turn else []

    @property
    def best(self) -> int:
        """The index of the dose to begin with.

        In the middle of those whose answer has turned and whose text holds; else the strongest whose text holds; else
        the weakest.
        """
        if self.good:
            return self.good[(len(self.good) - 1) // 2]
        return self.whole[-1] if self.whole else min(1, len(self.doses) - 1)

    @property
    def from_zero(self) -> bool:
        """Whether a strength of zero is the baseline: so it is unless the strengths come nearer to zero."""
        given = [dose.strength for dose in self.doses if dose.strength is not None]
        return bool(given) and abs(given[0]) <= abs(given[-1]) and given[0] * given[-1] >= 0

    def __repr__(self) -> str:
        return one_line(self, f"{len(self.doses)} doses", self.said())

    def _repr_html_(self) -> str:
        """A table of the doses for a notebook."""
        rows = [
            {
                "strength": "0" if dose.strength is None else f"{dose.strength:g}",
                "": "breaks" if k == self.breaks else "turns" if k == self.turn else "",
                "text": dose.text, "surprise": f"{dose.surprise:.2f}", "repetition": f"{dose.repetition:.0%}",
            }
            for k, dose in enumerate(self.doses)
        ]  # fmt: skip
        return table(rows, 400) + caption(self.said())

    def said(self) -> str:
        """What the strip shows, in a sentence."""
        names = ["0" if dose.strength is None else f"{dose.strength:.4g}" for dose in self.doses]
        turn = "the answer stays the same" if self.turn is None else f"the answer turns at {names[self.turn]}"
        ends = "the text holds" if self.breaks is None else f"the text breaks at {names[self.breaks]}"
        return f"From {names[0]} to {names[-1]}: {turn}, and {ends}."

    def to_data(self) -> dict[str, Any]:
        """The strip as JSON data."""
        return asdict(self)


def first_sentence(text: str) -> str:
    """The words of a text up to the end of its first sentence of at least three words, in lower case."""
    for end in re.finditer(r"[.!?](?=\s|$)|\n", text):
        words = re.findall(r"[\w']+", text[: end.start()].lower())
        if len(words) >= 3:
            return " ".join(words)
    return " ".join(re.findall(r"[\w']+", text.lower()))


def turned(text: str, baseline: str, answer: str = "") -> bool:
    """Whether an answer is another one than the baseline's.

    With `answer`: it has that word or phrase, and the baseline has not. Else: its first sentence has other words.
    """
    if answer.strip():
        said = answer.strip().lower()
        return said in text.lower() and said not in baseline.lower()
    return first_sentence(text) != first_sentence(baseline)


def marked(doses: Sequence[Dose], answer: str = "") -> DoseStrip:
    """The strip of doses in rising order, with the places where the answer turns and where the text breaks."""
    other = tuple(turned(dose.text, doses[0].text, answer) for dose in doses)
    # Places instead of strengths: a threshold has no zero, and its doses fall.
    lost = [bool(doses[0].tokens) and not dose.tokens for dose in doses]
    surprise = [float("inf") if gone else dose.surprise for gone, dose in zip(lost, doses, strict=True)]
    # A short answer of a small model says a thing twice before it is lost; a loop says it all the time.
    edge = cliff(range(len(doses)), [dose.repetition for dose in doses], surprise, more_repetition=LOOP)
    breaks = None if edge.above is None else int(edge.above)
    turn = other.index(True) if True in other else None
    return DoseStrip(tuple(doses), answer, other, turn, breaks, "" if breaks is None else edge.reason)


def measured(
    engine: Engine, handles: Mapping[float | None, Completion], answer: str = "", known: Sequence[Dose] = ()
) -> DoseStrip:
    """The strip of completions by strength (None is the baseline), once they are finished; one pass scores them all.

    Args:
        known: doses measured before, which stand among the new ones.

    Raises:
        ValueError: no baseline.
        Cancelled: asked inside a job that was cancelled.
    """
    if None not in handles:
        raise ValueError("A dose strip compares with the text without steering; it is missing.")
    lm = engine.model
    done = {strength: handle.result() for strength, handle in handles.items()}
    have = {dose.strength: dose for dose in known}
    fresh = [(strength, one) for strength, one in done.items() if strength not in have]
    written = [one for _, one in fresh if one.tokens]
    scored = iter(engine.score_all([(one.prompt_tokens, one.tokens, ()) for one in written]))
    for strength, one in fresh:
        logprobs = next(scored) if one.tokens else []
        have[strength] = Dose(
            strength,
            one.text,
            tuple(one.tokens),
            written_pieces(lm, one),
            -sum(logprobs) / len(logprobs) if logprobs else 0.0,
            repetition(one.text),
            one.finish_reason or "",
            None if strength is None else parting(lm, done[None], one),
            tuple(receipt.problem for receipt in one.receipts if not receipt.agrees),
        )
    order = [None, *(strength for strength in have if strength is not None)]
    return marked([have[strength] for strength in sorted(order, key=_outward(order))], answer)


def written_pieces(lm: Model, one: Completion) -> tuple[str, ...]:
    """The text of each generated token; the one that ends an answer has none."""
    last = one.prompt_tokens[-1:]
    found = pieces(lm, [*last, *one.tokens])[len(last) :]
    return tuple("" if token in lm.eos_tokens else piece for token, piece in zip(one.tokens, found, strict=True))


def _outward(strengths: Sequence[float | None]) -> Callable[[float | None], float]:
    """A sort key: the baseline, then rising or falling as the first two strengths do."""
    given = [strength for strength in strengths if strength is not None]
    falls = given[1] < given[0] if len(given) > 1 else bool(given) and given[0] < 0
    sign = -1.0 if falls else 1.0
    return lambda strength: float("-inf") if strength is None else sign * strength


def finer(strip: DoseStrip) -> list[float]:
    """Strengths worth trying between those of a strip: where the answer turns, and where the text breaks."""
    found = []
    for edge in (strip.turn, strip.breaks):
        if edge is None:
            continue
        high, low = strip.doses[edge].strength, strip.doses[edge - 1].strength
        assert high is not None
        if low is None and not strip.from_zero:
            continue
        middle = float(f"{(high + (low or 0.0)) / 2:.2g}")
        near = max(abs(high), abs(low or 0.0)) * FINEST
        if min(abs(middle - high), abs(middle - (low or 0.0))) > near and middle not in found:
            found.append(middle)
    return found


def trimmed(strip: DoseStrip, most: int = DOSES) -> DoseStrip:
    """The strip without the doses that tell least: those beyond the break, then those nearest to their neighbors."""
    doses, places = list(strip.doses), (strip.turn, strip.breaks, strip.best)
    kept = [strip.doses[place] for place in places if place is not None]
    if strip.breaks is not None:
        del doses[max(most, strip.breaks + 1) :]
        while len(doses) > most and doses[-1] not in kept:
            doses.pop()
    while len(doses) > most:
        free = [k for k in range(1, len(doses) - 1) if doses[k] not in kept]
        if not free:
            break
        del doses[min(free, key=lambda k: _gap(doses[k - 1], doses[k + 1]))]
    return marked(doses, strip.answer)


def _gap(low: Dose, high: Dose) -> float:
    """How far two strengths are apart, relative to the larger one; 2 from the baseline to anything."""
    if low.strength is None or high.strength is None:
        return 2.0
    return abs(high.strength - low.strength) / max(abs(high.strength), abs(low.strength))


def dose_strip(
    engine: Engine,
    prompt: Prompt,
    variant: Callable[[float], Variant | Intervention],
    strengths: Sequence[float],
    *,
    answer: str = "",
    refine: bool = True,
    **how: Any,
) -> DoseStrip:
    """One prompt at several strengths, decoded as rows of one batch, and where the answer turns and the text breaks.

    Coarse to fine: a second, smaller batch tries strengths between those where something happens.

    Args:
        variant: the interventions at a strength; the baseline without any is always added.
        strengths: from the weakest to the strongest, such as 0.025, 0.05, ... 0.8 layer norms.
        answer: a word that the turned answer has, such as "Canberra".
        how: further settings of `Request`: max_new_tokens, temperature, seed, ...
    """
    asked = requests(prompt, variant, strengths, **how)
    strip = measured(engine, dict(zip(asked, engine.submit_all(list(asked.values())), strict=True)), answer)
    return refined(engine, prompt, variant, strip, **how) if refine else strip


def requests(
    prompt: Prompt, variant: Callable[[float], Variant | Intervention], strengths: Sequence[float], **how: Any
) -> dict[float | None, Request]:
    """What a strip asks of the engine, by strength: the baseline first.

    Raises:
        ValueError: no strength, or one twice.
    """
    if not strengths or len(set(strengths)) < len(strengths):
        raise ValueError(f"A dose strip has strengths that differ; got {list(strengths)}.")
    found: dict[float | None, Request] = {None: Request(prompt, **how)}
    return found | {strength: Request(prompt, variants_of([variant(strength)])[0], **how) for strength in strengths}


def refined(
    engine: Engine, prompt: Prompt, variant: Callable[[float], Variant | Intervention], strip: DoseStrip, **how: Any
) -> DoseStrip:
    """The strip with strengths between those where the answer turns and the text breaks, and as many as before."""
    between = finer(strip)
    if not between:
        return strip
    asked = requests(prompt, variant, between, **how)
    handles = dict(zip(asked, engine.submit_all(list(asked.values())), strict=True))
    return trimmed(measured(engine, handles, strip.answer, strip.doses), max(DOSES, len(strip.doses)))
