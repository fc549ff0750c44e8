"""Tables with intervals: each arm's measures, and what changed against another arm on the same items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..showing.one_line import counted, one_line
from ..statistics import Estimate, bootstrap, mcnemar, paired_bootstrap, wilson
from .arms import Arm, check_arms
from .scoring.measure import Measure
from .sets.sets import EvaluationSet
from .trials import Outcome

# What every text is measured by besides its scorer.
TEXT_MEASURES = (
    Measure("repetition", "lower", False),
    Measure("surprise", "lower", False),
    Measure("tokens", "", False),
    Measure("shift", "", False),
    Measure("fired", "", False),
)


@dataclass(frozen=True)
class Cell:
    """One measure of one arm on one set: a share with Wilson's interval, or a mean with a bootstrap interval.

    With several samples of an item the item counts once, with the mean of its samples, and the interval is the
    bootstrap's over items: answers to one question are not independent.
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


@dataclass(frozen=True)
class Change:
    """One measure under an arm against another arm, item by item.

    Attributes:
        change: the mean difference, with the paired bootstrap interval over items.
        up, down: items that changed from no to yes, and from yes to no (yes-or-no measures, one sample).
        p: McNemar's exact p-value for those, else None.
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

    @property
    def clear(self) -> bool:
        """Whether chance among the items is an unlikely reason: p below 0.05, or an interval that leaves zero out."""
        return self.p < 0.05 if self.p is not None else not self.low <= 0 <= self.high

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
        """Better, worse or changed; no clear change; or within the controls, where random directions do as much."""
        if not self.clear or self.change == 0:
            return "no clear change"
        if self.controls and max(abs(one) for one in self.controls) >= abs(self.change):
            return "within the controls"
        if not self.better:
            return "changed"
        return "better" if (self.change > 0) == (self.better == "higher") else "worse"


Column = dict[int, float]


def _cell(column: Column, arm: str, set: str, measure: Measure) -> Cell | None:
    if not column:
        return None
    numbers = list(column.values())
    if measure.binary and all(number in (0.0, 1.0) for number in numbers):
        found = wilson(round(sum(numbers)), len(numbers))
    else:
        found = bootstrap(numbers) if len(numbers) > 1 else Estimate(numbers[0], -math.inf, math.inf)
    return Cell(arm, set, measure.name, len(numbers), *found, measure.binary, measure.better)


def _compare(mine: Column, theirs: Column, arm: str, against: str, set: str, measure: Measure) -> Change | None:
    common = sorted(mine.keys() & theirs.keys())
    if not common:
        return None
    a, b = [mine[k] for k in common], [theirs[k] for k in common]
    change = paired_bootstrap(b, a) if len(common) > 1 else Estimate(a[0] - b[0], -math.inf, math.inf)
    yes_no = measure.binary and all(number in (0.0, 1.0) for number in (*a, *b))
    flips = mcnemar(b, a) if yes_no else (None, None, None)
    return Change(arm, against, set, measure.name, len(common), *change, *flips, measure.binary, measure.better)


@dataclass(frozen=True)
class Table:
    """Every measure of every arm, and every comparison asked for; plain data."""

    cells: tuple[Cell, ...]
    changes: tuple[Change, ...]

    def __repr__(self) -> str:
        return one_line(self, counted(len(self.cells), "cell"), counted(len(self.changes), "comparison"))

    def cell(self, arm: str, set: str, measure: str) -> Cell | None:
        """The cell of that arm, set and measure, or None."""
        return next((c for c in self.cells if (c.arm, c.set, c.measure) == (arm, set, measure)), None)

    def change(self, arm: str, set: str, measure: str, against: str | None = None) -> Change | None:
        """The comparison of that arm (by default the first one made of it), or None."""
        return next(
            (
                c
                for c in self.changes
                if (c.arm, c.set, c.measure) == (arm, set, measure) and against in (None, c.against)
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
                shown = ("against", "change", "low", "high", "up", "down", "p", "rank_p")
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
    seeds, since answers to one question are not independent.
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
            columns = {arm.name: index.get((arm.name, one.name, measure.name), {}) for arm in arms}
            columns |= {group: _pooled([columns[name] for name in members]) for group, members in pools.items()}
            cells += [c for name in columns if (c := _cell(columns[name], name, one.name, measure))]
            wanted = [(name, baseline) for name in columns if name != baseline] + list(pairs)
            found = {
                (a, b): _compare(columns.get(a, {}), columns.get(b, {}), a, b, one.name, measure) for a, b in wanted
            }
            for (a, b), change in found.items():
                if change is not None:
                    beside = [found.get((control, b)) for control in random_of.get(a, ())]
                    changes.append(replace(change, controls=tuple(c.change for c in beside if c is not None)))
    return Table(tuple(cells), tuple(changes))


def _pooled(columns: Sequence[Column]) -> Column:
    keys = sorted({key for column in columns for key in column})
    many = {key: [column[key] for column in columns if key in column] for key in keys}
    return {key: sum(found) / len(found) for key, found in many.items()}


def _columns(outcomes: Sequence[Outcome]) -> dict[tuple[str, str, str], Column]:
    many: dict[tuple[str, str, str], dict[int, list[float]]] = {}
    for one in outcomes:
        for name, value in one.measures.items():
            many.setdefault((one.arm, one.set, name), {}).setdefault(one.item, []).append(value)
    return {key: {item: sum(v) / len(v) for item, v in column.items()} for key, column in many.items()}
