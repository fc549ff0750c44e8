"""Tables with intervals: each arm's measures, and what changed against another arm on the same items."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..showing.one_line import counted, one_line
from ..statistics import (
    LEVEL,
    MAX_UNREAD,
    MIN_ITEMS,
    Estimate,
    bootstrap,
    detectable_effect,
    detectable_share,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_shares,
    sign_flip,
    verdict,
    wilson,
)
from .arms import Arm, check_arms
from .scoring.measure import Measure
from .sets.sets import EvaluationSet
from .trials import Outcome

# Measures of every text besides its scorer's.
TEXT_MEASURES = (
    Measure("repetition", "lower", False),
    Measure("surprise", "lower", False),
    Measure("tokens", "", False),
    Measure("shift", "", False),
    Measure("fired", "", False),
)

CLEAR = ("better", "worse", "changed")


@dataclass(frozen=True)
class Cell:
    """One measure of one arm on one set: a share with Wilson's interval, or a mean with a bootstrap interval.

    With several samples of an item the item counts once, with the mean of its samples, and the interval is the
    bootstrap's over items: answers to one question are not independent.

    Attributes:
        unread: the share of the answers that could not be read, where the scorer says so. Above a tenth, `low` and
            `high` of a share are a range: as if all unread answers were no, and as if all were yes.
    """

    arm: str
    set: str
    measure: str
    n: int
    value: float
    low: float
    high: float
    binary: bool
    better: str
    unread: float = 0.0


@dataclass(frozen=True)
class Change:
    """One measure under an arm against another arm, item by item.

    Attributes:
        change: the mean difference, with an interval over items (of this comparison alone, not of the whole report).
        up, down: items that changed from no to yes, and from yes to no (yes-or-no measures, one sample).
        p: of McNemar's exact test for those, of a sign-flip test for others.
        adjusted: p by Holm over the `family` comparisons of the table; None where no verdict is made, because there
            are too few items, or because this is one seed of a random control, which others are compared with.
        detectable: the smallest change that this many items find with 80% power at the level of the table.
        unread: the larger share of unread answers of the two arms. Above a tenth, `low` and `high` are a range.
        controls: the changes that the arm's random controls make, a seed each.
    """

    arm: str
    against: str
    set: str
    measure: str
    n: int
    change: float
    low: float
    high: float
    up: int | None
    down: int | None
    p: float | None
    binary: bool
    better: str
    controls: tuple[float, ...] = ()
    adjusted: float | None = None
    family: int = 0
    detectable: float | None = None
    unread: float = 0.0
    spread: float = 0.0  # standard deviation of the differences

    @property
    def clear(self) -> bool:
        """Whether chance is an unlikely reason, with all comparisons of the table counted."""
        return self.verdict in CLEAR

    @property
    def rank_p(self) -> float | None:
        """How often a random direction of equal norm changes the measure at least as much: (1 + as large) / (1 + all).

        If the tested direction were itself a random one, this would fall below q in a share q of cases, whatever any
        push of that size does to the model. None without random controls.
        """
        if not self.controls:
            return None
        return (1 + sum(abs(one) >= abs(self.change) for one in self.controls)) / (1 + len(self.controls))

    @property
    def verdict(self) -> str:
        """Better, worse or changed, or why nothing is claimed; see `statistics.verdict`."""
        if self.adjusted is None and self.family and self.n >= MIN_ITEMS:
            return "a control"
        return verdict(
            self.change, self.adjusted, self.n, better=self.better, controls=self.controls, unread=self.unread
        )


Column = dict[int, float]


@dataclass(frozen=True)
class _Values:
    """One measure of one arm: its numbers by item, and how much of each item's answers could not be read."""

    numbers: Column
    unread: Column

    @property
    def share_unread(self) -> float:
        """The unread share of the answers that the measure is about.

        A measure that is 0 where an answer is unread is about its own items; one that is missing there, about all.
        """
        about = self.numbers if any(self.unread.get(item) for item in self.numbers) else self.unread
        return sum(self.unread.get(item, 0.0) for item in about) / len(about) if about else 0.0

    def bound(self, unread_as: float) -> Column:
        """The shares as if every unread answer had been no (0) or yes (1)."""
        missing = {item: 0.0 for item, lost in self.unread.items() if lost == 1 and item not in self.numbers}
        if any(self.unread.get(item) for item in self.numbers):
            missing = {}
        known = self.numbers | missing
        return {item: min(1.0, value + unread_as * self.unread.get(item, 0.0)) for item, value in known.items()}


NONE = _Values({}, {})


def _interval(column: Column, binary: bool) -> Estimate:
    numbers = list(column.values())
    if binary and all(number in (0.0, 1.0) for number in numbers):
        return wilson(round(sum(numbers)), len(numbers))
    found = bootstrap(numbers) if len(numbers) > 1 else Estimate(numbers[0], -math.inf, math.inf)
    # Shares of several samples or seeds: an interval of their mean does not know that a share is from 0 to 1.
    return Estimate(found.value, max(0.0, found.low), min(1.0, found.high)) if binary else found


def _cell(values: _Values, arm: str, set_name: str, measure: Measure) -> Cell | None:
    if not values.numbers:
        return None
    found, unread = _interval(values.numbers, measure.binary), values.share_unread
    if unread > MAX_UNREAD and measure.binary:
        low, high = (_interval(values.bound(side), True) for side in (0.0, 1.0))
        found = Estimate(found.value, low.low, high.high)
    return Cell(arm, set_name, measure.name, len(values.numbers), *found, measure.binary, measure.better, unread)


def _compare(mine: _Values, theirs: _Values, arm: str, against: str, set_name: str, measure: Measure) -> Change | None:
    common = sorted(mine.numbers.keys() & theirs.numbers.keys())
    if not common:
        return None
    a, b = np.array([mine.numbers[k] for k in common]), np.array([theirs.numbers[k] for k in common])
    spread = float((a - b).std(ddof=1)) if len(common) > 1 else math.inf
    up = down = None
    if measure.binary and np.isin((a, b), (0.0, 1.0)).all():
        change, (up, down, p) = paired_shares(b, a), mcnemar(b, a)
    else:
        change = paired_bootstrap(b, a) if len(common) > 1 else Estimate(float(a[0] - b[0]), -math.inf, math.inf)
        p = sign_flip(a - b)
    unread = max(mine.share_unread, theirs.share_unread)
    if unread > MAX_UNREAD and measure.binary:
        ends = [[_mean(values.bound(side)) for side in (0.0, 1.0)] for values in (mine, theirs)]
        change = Estimate(change.value, ends[0][0] - ends[1][1], ends[0][1] - ends[1][0])
    return Change(
        arm, against, set_name, measure.name, len(common), *change, up, down, p, measure.binary, measure.better,
        unread=unread, spread=spread,
    )  # fmt: skip


def _mean(column: Column) -> float:
    return sum(column.values()) / len(column)


def judged(changes: Sequence[Change], seeds: Collection[str] = ()) -> tuple[Change, ...]:
    """The changes with p-values adjusted by Holm over all of them, and the smallest change that each could have found.

    The family is fixed before any answer is known: every comparison with enough items, except those of the arms in
    `seeds` (single seeds of random controls). So of all tables in which nothing changed, at most a share of LEVEL
    claim anywhere that something did.
    """
    family = [k for k, one in enumerate(changes) if one.n >= MIN_ITEMS and one.arm not in seeds and one.p is not None]
    adjusted = dict(zip(family, holm([changes[k].p or 0.0 for k in family]), strict=True)) if family else {}
    level = LEVEL / max(1, len(family))  # Holm's level for the smallest p
    found = []
    for k, one in enumerate(changes):
        share = one.up is not None
        least = detectable_share(one.n, level) if share else one.spread * detectable_effect(one.n, level)
        found.append(
            replace(
                one,
                adjusted=adjusted.get(k),
                family=len(family),
                detectable=least if k in adjusted and math.isfinite(least) else None,
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class Table:
    """Every measure of every arm, and every comparison asked for; plain data."""

    cells: tuple[Cell, ...]
    changes: tuple[Change, ...]

    def __repr__(self) -> str:
        return one_line(self, counted(len(self.cells), "cell"), counted(len(self.changes), "comparison"))

    def cell(self, arm: str, set_name: str, measure: str) -> Cell | None:
        """The cell of that arm, set and measure, or None."""
        return next((c for c in self.cells if (c.arm, c.set, c.measure) == (arm, set_name, measure)), None)

    def change(self, arm: str, set_name: str, measure: str, against: str | None = None) -> Change | None:
        """The comparison of that arm (by default the first one made of it), or None."""
        return next(
            (
                c
                for c in self.changes
                if (c.arm, c.set, c.measure) == (arm, set_name, measure) and against in (None, c.against)
            ),
            None,
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row for each cell, with its change against the baseline, for a table or a file."""
        found = []
        for c in self.cells:
            change = self.change(c.arm, c.set, c.measure)
            row = {key: value for key, value in asdict(c).items() if key != "better"}
            if change is not None:
                shown = ("against", "change", "low", "high", "up", "down", "p", "adjusted", "detectable", "rank_p")
                row |= {f"vs_{key}": getattr(change, key) for key in shown} | {"verdict": change.verdict}
            found.append(row)
        return found


def table(
    outcomes: Sequence[Outcome],
    sets: Sequence[EvaluationSet],
    arms: Sequence[Arm],
    pairs: Sequence[tuple[str, str]] = (),
) -> Table:
    """Cells of every arm and set, changes against the baseline, and of the further pairs of arms.

    Controls of one group (several random seeds) are also shown as one row: an item counts once, with its mean over the
    seeds, since answers to one question are not independent. All verdicts of a table are made together; see `judged`.
    """
    check_arms(arms)
    groups: dict[str, list[str]] = {}
    for arm in arms:
        if arm.kind == "control" and arm.group and arm.of:
            groups.setdefault(arm.group, []).append(arm.name)
    pools = {group: members for group, members in groups.items() if len(members) > 1}
    random_of = {arm.of: groups[arm.group] for arm in arms if arm.group in groups}
    baseline = next(arm.name for arm in arms if arm.kind == "baseline")
    index = _columns(outcomes)
    cells, changes = [], []
    for one in sets:
        for measure in (*one.scorer.measures, *TEXT_MEASURES):
            named = (measure.name, measure.unread)
            columns = {arm.name: _Values(*(index.get((arm.name, one.name, n), {}) for n in named)) for arm in arms}
            columns |= {group: _pooled([columns[name] for name in members]) for group, members in pools.items()}
            cells += [c for name in columns if (c := _cell(columns[name], name, one.name, measure))]
            wanted = [(name, baseline) for name in columns if name != baseline] + list(pairs)
            found = {
                (a, b): _compare(columns.get(a, NONE), columns.get(b, NONE), a, b, one.name, measure) for a, b in wanted
            }
            for (a, b), change in found.items():
                if change is not None:
                    beside = [found.get((control, b)) for control in random_of.get(a, ())]
                    changes.append(replace(change, controls=tuple(c.change for c in beside if c is not None)))
    return Table(tuple(cells), judged(changes, {name for members in groups.values() for name in members}))


def _pooled(columns: Sequence[_Values]) -> _Values:
    return _Values(_averaged([one.numbers for one in columns]), _averaged([one.unread for one in columns]))


def _averaged(columns: Sequence[Column]) -> Column:
    keys = sorted({key for column in columns for key in column})
    many = {key: [column[key] for column in columns if key in column] for key in keys}
    return {key: sum(found) / len(found) for key, found in many.items()}


def _columns(outcomes: Sequence[Outcome]) -> dict[tuple[str, str, str], Column]:
    many: dict[tuple[str, str, str], dict[int, list[float]]] = {}
    for one in outcomes:
        for name, value in one.measures.items():
            many.setdefault((one.arm, one.set, name), {}).setdefault(one.item, []).append(value)
    return {key: {item: sum(v) / len(v) for item, v in column.items()} for key, column in many.items()}
