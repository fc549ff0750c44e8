"""The first look at a result on claims: one picture, and one sentence on the arm that comes nearest to the ideal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..evaluations.comparison import Cell
from ..plots.acceptance import Spot
from ..statistics import MAX_UNREAD
from . import Result
from .config import BUNDLED

ACCEPTS, DENIES = "accepts_false", "denies_true"


@dataclass(frozen=True)
class FirstLook:
    """What is drawn and said first: a spot for each arm, the arm that is named, and the sentence."""

    set: str
    spots: tuple[Spot, ...]
    best: str
    sentence: str

    def plain(self) -> dict[str, Any]:
        """The same as plain data, for a file."""
        return {
            "set": self.set,
            "spots": [list(one) for one in self.spots],
            "best": self.best,
            "sentence": self.sentence,
        }


def of_plain(data: dict[str, Any]) -> FirstLook:
    """The first look of a file."""
    spots = [Spot(name, tuple(x), tuple(y), kind) for name, x, y, kind in data["spots"]]
    return FirstLook(data["set"], tuple(spots), data["best"], data["sentence"])


def shipped(name: str) -> FirstLook | None:
    """The first look at a bundled experiment as it was measured when it was shipped, or None."""
    path = BUNDLED / f"{name}.look.json"
    return of_plain(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def first_look(result: Result) -> FirstLook | None:
    """The first look at a result, at its first set of claims; None where no set has true and false claims."""
    chosen = result.experiment.data.get("choose")
    sets = [
        one.name
        for one in result.sets
        if {ACCEPTS, DENIES} <= {m.name for m in one.scorer.measures} and one.name != chosen
    ]
    name = next((one for one in sets if _cells(result, result.arms[0].name, one)), None)
    if name is None:
        return None
    spots = []
    for arm in result.arms:
        if (both := _cells(result, arm.name, name)) is not None:
            random = arm.kind == "control" and bool(arm.of)
            accepts, denies = ((c.value, c.low, c.high) for c in both)
            spots.append(Spot(arm.name, accepts, denies, "random" if random else arm.kind))
    steered = [spot for spot in spots if spot.kind == "steered"]
    judged_on = str(result.experiment.data.get("choose", ""))
    best = min(steered, key=lambda spot: _distance(_on(result, spot, judged_on)), default=None)
    return FirstLook(name, tuple(spots), best.name if best else "", _sentence(result, name, spots, best))


def _cells(result: Result, arm: str, name: str) -> tuple[Cell, Cell] | None:
    found = [result.table.cell(arm, name, measure) for measure in (ACCEPTS, DENIES)]
    return (found[0], found[1]) if found[0] is not None and found[1] is not None else None


def _on(result: Result, spot: Spot, name: str) -> Spot:
    """The spot of the same arm on another set: where arms are chosen, so that the shown ones are not flattered."""
    both = _cells(result, spot.name, name)
    if both is None:
        return spot
    accepts, denies = ((c.value, c.low, c.high) for c in both)
    return Spot(spot.name, accepts, denies, spot.kind)


def _distance(spot: Spot) -> float:
    return spot.accepts[0] ** 2 + spot.denies[0] ** 2


def _sentence(result: Result, name: str, spots: Sequence[Spot], best: Spot | None) -> str:
    base = next((spot for spot in spots if spot.kind == "baseline"), None)
    if base is None or best is None:
        return ""
    cells = _cells(result, best.name, name)
    before = _cells(result, base.name, name)
    if cells is None or before is None:
        return ""
    unread = max(cell.unread for cell in (*cells, *before))
    if unread > MAX_UNREAD:
        return (
            f"{100 * unread:.0f}% of the answers could not be read, so the shares are ranges and nothing is concluded; "
            "a scorer by log-probability would read them."
        )
    told = []
    for said, of, measure, mine, theirs in zip(
        ("accepts", "denies"), ("false", "true"), (ACCEPTS, DENIES), cells, before, strict=True
    ):
        change = result.table.change(best.name, name, measure)
        judged = f"; {change.verdict}" if change is not None else ""
        counts = f"{round(mine.value * mine.n)} of {mine.n} {of} claims"
        told.append(f"{said} {counts} (baseline {round(theirs.value * theirs.n)}{judged})")
    random = [spot for spot in spots if spot.kind == "random"]
    beside = ""
    if random:
        low, high = (100 * f(spot.accepts[0] for spot in random) for f in (min, max))
        span = f"{low:.0f}%" if round(low) == round(high) else f"{low:.0f} to {high:.0f}%"
        beside = f"; random directions of equal norm accept {span} of the false"
    how = "Chosen on other items as nearest" if result.experiment.data.get("choose") else "Nearest"
    alone = sum(spot.kind == "steered" for spot in spots) == 1  # then nothing is nearer than anything
    return f"{'' if alone else f'{how} to the ideal, '}{best.name} {' and '.join(told)}{beside}."


FOUNDATION = "foundation: "
Rated = dict[str, list[tuple[float, float, float]]]


def foundations(result: Result, name: str, most: int = 4) -> tuple[list[str], Rated]:
    """The moral foundations of a set, and each arm's ratings of them with their intervals, for a radar.

    An arm of whose answers over a tenth could not be read is left out: it would be drawn as if it were read.
    """
    measures = [m.name for one in result.sets if one.name == name for m in one.scorer.measures]
    names = [one for one in measures if one.startswith(FOUNDATION)]
    found = {}
    for arm in result.arms:
        cells = [result.table.cell(arm.name, name, one) for one in names]
        read = [cell for cell in cells if cell is not None and cell.unread <= MAX_UNREAD]
        if names and len(read) == len(names) and not arm.of:
            found[arm.name] = [(c.value, c.low, c.high) for c in read]
    return [one.removeprefix(FOUNDATION) for one in names], dict(list(found.items())[:most])
