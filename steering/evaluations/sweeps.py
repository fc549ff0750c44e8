"""Sweeps: a grid of settings -> trials -> a table, resumable; and a layer x alpha grid that needs no generation.

Each point of the grid becomes an arm, so that a sweep is decoded, checkpointed and scored like an evaluation.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ..engine.engine import Engine
from ..engine.receipts import check
from ..engine.requests import Variant
from ..engine.scoring import rows_of, target_logits
from ..interventions.protocol import Intervention
from ..jobs.checkpoint import Checkpoint
from ..jobs.tables import to_csv
from ..measurements.numbers import kl_divergence
from ..models.checks.overflow import check_finite
from ..models.model import Prompt
from ..models.passages import in_context
from .arms import BASELINE, Arm, again
from .sets.sets import EvaluationSet
from .trials import Outcome, Settings, Tick, run

MAX_POINTS = 5000
Make = Callable[..., Sequence[Intervention]]
Point = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """Every combination of the axes' values, in order: the last axis varies fastest.

    An axis "seed" is the seed of the sampling; every other one is a setting that the maker of interventions is given.

    Raises:
        ValueError: an axis without values, values that repeat, or more than MAX_POINTS points.
    """

    axes: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        for name, values in self.axes.items():
            if isinstance(values, str) or not len(values):
                raise ValueError(f"An axis is a list of values; {name!r} has {values!r}.")
            if len({_shown(value) for value in values}) < len(values):
                raise ValueError(f"The values of an axis differ; {name!r} has {', '.join(map(_shown, values))}.")
        if len(self) > MAX_POINTS:
            raise ValueError(f"A grid has at most {MAX_POINTS} points; this one has {len(self)}. Leave values out.")

    def __len__(self) -> int:
        total = 1
        for values in self.axes.values():
            total *= len(values)
        return total

    def points(self) -> list[Point]:
        """The settings of every point."""
        return [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]

    def arms(self, make: Make) -> list[Arm]:
        """An arm a point, named by its settings.

        Raises:
            ValueError: a point that `make` refuses, by its settings.
        """
        found = []
        for point in self.points():
            settings = {name: value for name, value in point.items() if name != "seed"}
            try:
                interventions = tuple(make(**settings))
            except ValueError as error:
                raise ValueError(f"{label(point)}: {error}") from error
            found.append(Arm(label(point), interventions, seed=int(point.get("seed", 0)), settings=point))
        return found


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "name", value) or value)


def label(point: Mapping[str, Any]) -> str:
    """The settings of a point in one line: `layer 3, alpha 0.5`."""
    return ", ".join(f"{name.rstrip('_')} {_shown(value)}" for name, value in point.items())


def sweep(
    engine: Engine,
    make: Make,
    grid: Grid | Sequence[Grid],
    sets: Sequence[EvaluationSet],
    settings: Settings | None = None,
    *,
    controls: Iterable[Arm] = (),
    checkpoint: Checkpoint | Path | None = None,
    tick: Tick | None = None,
    outcomes: list[Outcome] | None = None,
) -> Sweep:
    """Every point of the grid, the baseline and the controls on every item of the sets.

    Args:
        make: settings of a point, as keywords -> its interventions.
        grid: a grid, or one for each method, since methods have axes of their own.
        checkpoint: a file to go on from after a kill; see `evaluations.run` for it, `tick` and `outcomes`.
    """
    # A seed is compared with the baseline drawn by the same seed.
    grids = [grid] if isinstance(grid, Grid) else list(grid)
    seeds = dict.fromkeys(int(seed) for one in grids for seed in one.axes.get("seed", ()) if int(seed))
    arms = [BASELINE, *map(again, seeds), *controls, *(arm for one in grids for arm in one.arms(make))]
    if len(arms) > MAX_POINTS:
        raise ValueError(f"A sweep has at most {MAX_POINTS} arms; this one has {len(arms)}. Leave values out.")
    if isinstance(checkpoint, Path):
        checkpoint = Checkpoint(checkpoint)
    found = run(engine, sets, arms, settings, checkpoint=checkpoint, tick=tick, outcomes=outcomes)
    return Sweep(tuple(arm.bare() for arm in arms), tuple(found))


@dataclass(frozen=True)
class Sweep:
    """The arms of a sweep (without their interventions) and the outcomes of their trials."""

    arms: tuple[Arm, ...]
    outcomes: tuple[Outcome, ...]

    def mean(self, arm: str, measure: str, set_name: str | None = None) -> float:
        """The mean of a measure over an arm's answers (to one set); NaN where none has it."""
        found = [
            one.measures[measure]
            for one in self.outcomes
            if one.arm == arm and set_name in (None, one.set) and measure in one.measures
        ]
        return sum(found) / len(found) if found else math.nan

    def trials(self) -> pd.DataFrame:
        """A row a trial: the point's settings, the item, the text and its measures."""
        about = {arm.name: {"kind": arm.kind, **plain(arm.settings)} for arm in self.arms}
        return pd.DataFrame(
            [
                {"arm": one.arm, **about[one.arm], "set": one.set, "item": one.item, "sample": one.sample}
                | {**one.measures, "finish": one.finish, "text": one.text}
                for one in self.outcomes
            ]
        )

    def summary(self) -> pd.DataFrame:
        """A row a point and set: settings, the number of items, and the mean of each measure."""
        groups: dict[tuple[str, str], list[Outcome]] = {}
        for one in self.outcomes:
            groups.setdefault((one.arm, one.set), []).append(one)
        about = {arm.name: {"kind": arm.kind, **plain(arm.settings)} for arm in self.arms}
        names = list(dict.fromkeys(name for one in self.outcomes for name in one.measures))
        rows = []
        for (arm, set_), many in groups.items():
            row = {"arm": arm, "set": set_, **about[arm], "items": len({one.item for one in many})}
            for name in names:
                values = [one.measures[name] for one in many if name in one.measures]
                row[name] = sum(values) / len(values) if values else None
            rows.append(row)
        return pd.DataFrame(rows)


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as numbers and texts, for a table or a file."""
    return {
        name: value if isinstance(value, int | float | str | bool) else _shown(value)
        for name, value in settings.items()
    }


def to_files(found: Sweep, name: str = "grid") -> dict[str, bytes]:
    """A sweep as files: its summary and all its trials, each as CSV and Parquet."""
    files = {}
    for part, frame in ((name, found.summary()), ("trials", found.trials())):
        files |= {f"{part}.csv": to_csv(frame), f"{part}.parquet": to_parquet(frame)}
    return files


def to_parquet(frame: pd.DataFrame) -> bytes:
    """A table as a Parquet file."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


# By teacher forcing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ForcedGrid:
    """The effect of steering on a given continuation, over two axes, without generating anything.

    Attributes:
        rows, columns: the values of the axes, layers and alphas as a rule.
        change: mean over prompts of log p(target | steered) - log p(target | baseline), in nats, [rows, columns].
        kl: mean over prompts and target positions of KL(baseline || steered), in nats, [rows, columns].
        baseline: mean log p(target) without steering.
    """

    rows: tuple[Any, ...]
    columns: tuple[Any, ...]
    change: tuple[tuple[float, ...], ...]
    kl: tuple[tuple[float, ...], ...]
    baseline: float


def forced_grid(
    engine: Engine,
    prompts: Sequence[Prompt],
    target: str,
    make: Callable[[Any, Any], Sequence[Intervention]],
    rows: Sequence[Any],
    columns: Sequence[Any],
    *,
    tick: Tick | None = None,
) -> ForcedGrid:
    """The change of a target's log-probability, and KL from the baseline, for make(row, column) at every cell.

    Raises:
        ValueError: no prompt, an empty target, or a cell that `make` refuses.
    """
    if not target or not prompts:
        raise ValueError(f"The grid takes at least one prompt and a target of one token; got {target!r}.")
    located = [in_context(engine.model, prompt, target) for prompt in prompts]
    base = _forced(engine, [(*item, ()) for item in located])
    logprobs = _target_logprobs(base, located)
    change: list[tuple[float, ...]] = []
    kl: list[tuple[float, ...]] = []
    for number, row in enumerate(rows):
        if tick is not None:
            tick(number, len(rows), f"{row}")
        variants = [tuple(make(row, column)) for column in columns]
        found = _forced(engine, [(*item, variant) for variant in variants for item in located])
        n = len(located)
        parts = [found[start : start + n] for start in range(0, len(found), n)]
        change.append(tuple(float((_target_logprobs(part, located) - logprobs).mean()) for part in parts))
        # Over all positions of all prompts: a target may have more tokens after one prompt than after another.
        kl.append(
            tuple(
                float(torch.cat([kl_divergence(a, b) for a, b in zip(base, part, strict=True)]).mean())
                for part in parts
            )
        )
    if tick is not None:
        tick(len(rows), len(rows), "done")
    return ForcedGrid(tuple(rows), tuple(columns), tuple(change), tuple(kl), float(logprobs.mean()))


Located = tuple[Sequence[int], Sequence[int]]  # tokens of a prompt, and of the target after it


def _forced(
    engine: Engine, items: Sequence[tuple[Sequence[int], Sequence[int], Variant]]
) -> list[Float[Tensor, "targets vocab"]]:
    """The logits that predict each target token after each prompt."""
    rows = rows_of(engine.model, items)
    found: list[list[Tensor]] = [[] for _ in rows]
    for number, logits in target_logits(rows, engine.max_rows):
        check_finite(engine.model, logits.float().logsumexp(-1))
        found[number].append(logits.float().cpu())
    for row in rows:
        check(row.receipts())
    return [torch.cat(parts) for parts in found]


def _target_logprobs(logits: Sequence[Float[Tensor, "targets vocab"]], items: Sequence[Located]) -> Float[Tensor, "n"]:
    """Log-probability of the whole target after each prompt."""
    return torch.stack(
        [
            one.log_softmax(-1).gather(1, torch.tensor(list(target))[:, None]).sum()
            for one, (_, target) in zip(logits, items, strict=True)
        ]
    )
