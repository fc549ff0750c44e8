"""How often each text scorer agrees with a reading of the same answers: real answers of a real model, labeled.

`assets/evals/answers/labeled.jsonl` holds answers of SmolLM2-135M, baseline and steered, made in rounds. A language
model read them, so this is agreement with such a reading, not with a panel of people. Rules are extended on what they
got wrong, and flatter themselves there by some ten points; so only the rounds of `FRESH` measure them, which were made,
and read by two readers apart, after the rules had been written. A hundred of the first round had been kept aside before
(`FIRST_SCORED`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...statistics import Estimate, wilson
from . import judge
from .given import score_row
from .scorers import SCORERS
from .scorers import scorer as scorer_named

FILE = Path(__file__).parents[3] / "assets" / "evals" / "answers" / "labeled.jsonl"
# What is labeled of each kind of item, and the scorers that read it.
SCORED = {
    "claim": ("claims",),
    "request": ("refusals", "refusals, substrings"),
    "dilemma_open": ("school words (proxy)",),
}
# (agreements, answers) on the hundred that were kept aside, the first and only time that they measured anything.
FIRST_SCORED = {
    "claims": (52, 65),
    "refusals": (21, 23),
    "refusals, substrings": (22, 23),
    "school words (proxy)": (7, 12),
}
JUDGE = "judge: stance"
# The rounds that were made after the last change of a kind's rules.
FRESH = {"claim": "last", "request": "again", "dilemma_open": ""}
NONE = {"claim": "neither", "request": "answers", "dilemma_open": "none"}


@dataclass(frozen=True)
class ScorerAgreement:
    """A scorer beside the labels: how many answers of each label it put where.

    Attributes:
        confusion: (label, what the scorer says) -> how many.
    """

    scorer: str
    kind: str
    confusion: Mapping[tuple[str, str], int]

    @property
    def n(self) -> int:
        return sum(self.confusion.values())

    @property
    def share(self) -> Estimate:
        """The share of the answers on which both say the same, with Wilson's interval."""
        return wilson(sum(many for (a, b), many in self.confusion.items() if a == b), self.n)

    @property
    def undecided(self) -> Estimate | None:
        """Of the answers that the reader could read, the share about which the scorer says nothing."""
        nothing = NONE[self.kind]
        read = {key: many for key, many in self.confusion.items() if key[0] != nothing}
        lost = sum(many for (_, said), many in read.items() if said == nothing)
        return wilson(lost, sum(read.values())) if read else None

    @property
    def side(self) -> Estimate | None:
        """Of the answers in which both see a stand, the share in which they see the same one."""
        nothing = NONE[self.kind]
        both = {key: many for key, many in self.confusion.items() if nothing not in key}
        same = sum(many for (a, b), many in both.items() if a == b)
        return wilson(same, sum(both.values())) if both else None

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond what the margins alone would give; 0 is none, 1 all."""
        n, rows, columns = self.n, Counter[str](), Counter[str]()
        for (a, b), many in self.confusion.items():
            rows[a] += many
            columns[b] += many
        by_chance = sum(rows[one] * columns[one] for one in rows) / n**2
        return (self.share.value - by_chance) / (1 - by_chance) if by_chance < 1 else 1.0

    def __str__(self) -> str:
        e = self.share
        return f"{100 * e.value:.0f}% [{100 * e.low:.0f}, {100 * e.high:.0f}] of {self.n}"


def labeled(path: Path = FILE) -> list[dict[str, Any]]:
    """The labeled answers."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def said_by(scorer: str, row: Mapping[str, Any]) -> str:
    """What a scorer says about a labeled answer, in the labels' words."""
    if scorer.startswith("judge:"):
        return _stance_of(score_row(dict(row), scorer_named(scorer))[1], bool(row["true"]))
    stance, measures = score_row(dict(row), SCORERS[scorer])
    if row["kind"] == "claim":
        return stance
    if row["kind"] == "request":
        return "refuses" if any(measures.values()) else "answers"
    voices = [name.removeprefix("voice: ") for name, value in measures.items() if name.startswith("voice: ") and value]
    return voices[0] if voices else "none"


def _stance_of(measures: Mapping[str, float], true: bool) -> str:
    if measures["undecided"]:
        return "neither"
    return "denies" if measures.get("denies_true", 1 - measures.get("accepts_false", 0.0)) else "agrees"


def agreement(scorer: str, rows: Iterable[Mapping[str, Any]]) -> ScorerAgreement:
    """A scorer beside the labels of rows of one kind."""
    rows = list(rows)
    return ScorerAgreement(scorer, rows[0]["kind"], Counter((row["label"], said_by(scorer, row)) for row in rows))


def between_passes(rows: Sequence[Mapping[str, Any]]) -> ScorerAgreement | None:
    """The second reading beside the first, of the answers that were read twice; None where none was."""
    rows = [row for row in rows if "label_second" in row]
    if not rows:
        return None
    return ScorerAgreement(
        "second reading", rows[0]["kind"], Counter((row["label_first"], row["label_second"]) for row in rows)
    )


@lru_cache
def known(scorer: str) -> tuple[Estimate, int] | None:
    """The share on which a scorer agrees with the labels and of how many, on answers it was not tuned on, or None."""
    kind = next((kind for kind, names in SCORED.items() if scorer in names), None)
    if kind is None or not FILE.is_file():
        return None
    if fresh := _fresh(kind):
        found = agreement(scorer, fresh)
        return found.share, found.n
    return wilson(*FIRST_SCORED[scorer]), FIRST_SCORED[scorer][1]


def _fresh(kind: str) -> list[dict[str, Any]]:
    return [row for row in labeled() if row["kind"] == kind and row["round"] == FRESH[kind]]


def note(scorer: str) -> str:
    """A sentence to be shown beside a scorer's results, or an empty text."""
    if (found := known(scorer)) is None:
        return ""
    e, n = found
    said = (
        f"This scorer agrees with a reading on {100 * e.value:.0f}% of such answers [{100 * e.low:.0f}, "
        f"{100 * e.high:.0f}] ({n} answers of SmolLM2-135M that it was not tuned on, read by a language model)."
    )
    kind = next(kind for kind, names in SCORED.items() if scorer in names)
    fresh = _fresh(kind) if kind == "claim" else []
    side = agreement(scorer, fresh).side if fresh else None
    return said if side is None else f"{said} Where both see a stand, it is the same in {_percent(side)}."


def report() -> str:
    """Agreement and confusion of every scorer, and of a judge where one is on, on the answers of every round."""
    lines = []
    for kind, names in SCORED.items():
        rows = [row for row in labeled() if row["kind"] == kind]
        lines.append(f"{kind}: {len(rows)} answers")
        for part, some in _parts(rows).items():
            if (both := between_passes(some)) is not None:
                lines.append(f"  the two readings of those {part} agree on {both}, kappa {both.kappa:.2f}")
        lines.append("")
        for scorer in (*names, *([JUDGE] if kind == "claim" and judge.is_on() else [])):
            shown = scorer_named(scorer).name if scorer == JUDGE else scorer
            if scorer in FIRST_SCORED:
                first = wilson(*FIRST_SCORED[scorer])
                span = f"[{100 * first.low:.0f}, {100 * first.high:.0f}] of {FIRST_SCORED[scorer][1]}"
                lines.append(f"  {shown}, kept aside, scored once: {100 * first.value:.0f}% {span}")
            found = None
            for part, some in _parts(rows).items():
                if scorer == JUDGE and part != LAST:
                    continue  # nothing was tuned on the others, and asking takes its time
                found = agreement(scorer, some)
                lines.append(f"  {shown}, {part}: {found}, kappa {found.kappa:.2f}")
                if kind != "request":
                    lines += [f"    undecided of the readable: {_percent(found.undecided)}",
                              f"    the same stand, where both see one: {_percent(found.side)}"]  # fmt: skip
            lines += [f"    {line}" for line in (_matrix(found) if found else [])] + [""]
    return "\n".join(lines)


def _percent(e: Estimate | None) -> str:
    return "none" if e is None else f"{100 * e.value:.0f}% [{100 * e.low:.0f}, {100 * e.high:.0f}]"


TUNED, LAST = "tuned on", "made and read after the last change"


def _parts(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The answers by what they can still measure."""
    parts: dict[str, list[Mapping[str, Any]]] = {TUNED: [], LAST: []}
    for row in rows:
        parts[LAST if row["round"] == FRESH[row["kind"]] else TUNED].append(row)
    return {name: some for name, some in parts.items() if some}


def _matrix(found: ScorerAgreement) -> list[str]:
    """The confusion: a row a label, a column what the scorer says."""
    names = sorted({name for key in found.confusion for name in key})
    width = max(map(len, names)) + 2
    head = "read as".ljust(width) + "".join(f"{'said ' + name:>{width + 5}}" for name in names)
    return [head] + [
        name.ljust(width) + "".join(f"{found.confusion.get((name, said), 0):>{width + 5}}" for said in names)
        for name in names
    ]
