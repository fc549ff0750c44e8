"""Run an experiment: trials, tables, side effects and spillover, with everything that is needed to repeat it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engine.engine import Engine
from ..evaluations import effects
from ..evaluations.arms import Arm
from ..evaluations.coherence import SideEffects, answers_of, side_effects, whole_texts
from ..evaluations.comparison import Table, table
from ..evaluations.overlap import Overlap
from ..evaluations.sets.sets import EvaluationSet
from ..evaluations.trials import Outcome, Tick, run
from ..jobs.checkpoint import Checkpoint
from ..measurements.neutral import neutral_texts
from ..models.loading import load_model
from ..models.model import Model
from ..saes.loading import load_sae
from ..saes.sae import Sae
from ..showing.one_line import counted, one_line, quoted
from .config import Experiment, read
from .voices import spillovers
from .workshop import Calibrated, Workshop


@dataclass(frozen=True)
class Result:
    """The result of an experiment: enough for a report, and to repeat it."""

    experiment: Experiment
    sets: tuple[EvaluationSet, ...]
    arms: tuple[Arm, ...]
    outcomes: tuple[Outcome, ...]
    table: Table
    side_effects: tuple[SideEffects, ...] = ()
    calibrated: tuple[Calibrated, ...] = ()
    spillovers: Mapping[str, effects.Spillover] = field(default_factory=dict)
    overlaps: tuple[Overlap, ...] = ()
    warnings: tuple[str, ...] = ()  # what a direction or a threshold had seen of the items, a sentence each
    about: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    kept: int = 0  # outcomes that an earlier run of the same experiment had made

    def __repr__(self) -> str:
        return one_line(self, quoted(self.experiment.title, 80), counted(len(self.arms), "arm"), self.took)

    @property
    def took(self) -> str:
        """How many answers were made in which time, without those that an earlier run had made."""
        kept = f", {self.kept} of them kept from an earlier run," if self.kept else ""
        return f"{len(self.outcomes)} answers{kept} in {self.seconds:.0f} s"


def perform(
    experiment: Experiment,
    engine: Engine,
    sae: Sae | None = None,
    *,
    checkpoint: Checkpoint | None = None,
    tick: Tick | None = None,
    outcomes: list[Outcome] | None = None,
    prepared: Callable[[Sequence[EvaluationSet], Sequence[Arm]], None] | None = None,
) -> Result:
    """Run an experiment on an engine; `prepared` is called with sets and arms before the first trial."""
    start = time.monotonic()
    if tick is not None:
        tick(0, 0, "building directions and thresholds")
    if sae is None and (named := experiment.data.get("sae")):
        sae = load_sae(engine.model, named["release"], named.get("id"))
    workshop = Workshop(experiment, engine, sae)
    sets = [workshop.set(spec) for spec in experiment.data["sets"]]
    arms = workshop.arms()
    if prepared is not None:
        prepared(sets, arms)
    had = 0 if checkpoint is None else len(checkpoint)
    found = run(engine, sets, arms, workshop.settings, checkpoint=checkpoint, tick=tick, outcomes=outcomes)
    pairs = [(str(a), str(b)) for a, b in experiment.data.get("compare", [])]
    if unknown := sorted({name for pair in pairs for name in pair} - {arm.name for arm in arms}):
        raise ValueError(f"{experiment.name}: compare names {unknown[0]!r}, which is no arm.")
    about = {"model": engine.model.identity, "seed": workshop.settings.seed} | environment()
    about |= {"sae": sae.identity} if sae is not None else {}
    return Result(
        experiment,
        tuple(sets),
        tuple(arm.bare() for arm in arms),
        tuple(found),
        table(found, sets, arms, pairs),
        tuple(_side_effects(workshop, arms, tick)),
        tuple(one for one in workshop.calibrated.values() if not one.direction.startswith("random")),
        spillovers(found, sets, arms),
        tuple(workshop.overlaps(sets)),
        tuple(workshop.warnings(sets)),
        about | {"sets": {one.name: f"{len(one)} items, {one.content_hash}" for one in sets}},
        time.monotonic() - start,
        0 if checkpoint is None else len(found) - (len(checkpoint) - had),
    )


def run_experiment(
    source: str | Path | Experiment,
    lm: Model | None = None,
    *,
    sae: Sae | None = None,
    checkpoint: Checkpoint | None = None,
    tick: Tick | None = None,
) -> Result:
    """The result of a bundled experiment, of a TOML file, or of one that was read, on the model it names or on `lm`.

    Args:
        sae: instead of the one that the file names.
        checkpoint: a file of outcomes; a run that was stopped goes on from there.
        tick: called with trials done, trials in all, and what is being done; may raise to stop.
    """
    experiment = source if isinstance(source, Experiment) else read(source)
    lm = lm or load_model(experiment.model, products=experiment.products)
    with Engine(lm) as engine:
        return perform(experiment, engine, sae, checkpoint=checkpoint, tick=tick)


def _side_effects(workshop: Workshop, arms: Sequence[Arm], tick: Tick | None) -> list[SideEffects]:
    spec = workshop.experiment.data.get("side_effects")
    if spec is None:
        return []
    engine, limit = workshop.engine, int(spec.get("limit", 32))
    texts = neutral_texts(workshop.lm.name)[:limit]
    chosen = [workshop.set(one).limit(limit) for one in spec.get("sets", [])]
    prompts = [workshop.prompt(item) for one in chosen for item in one]
    kinds = {"neutral text": whole_texts(engine, texts), "own answers": answers_of(engine, prompts) if prompts else []}
    kinds["questions"] = [(prompt[:1], prompt[1:]) for prompt in prompts]
    return side_effects(engine, arms, [*map(workshop.lm.tokens, texts), *prompts], kinds, tick)


def environment() -> dict[str, Any]:
    """Versions, machine and time: what a reader needs to get the same numbers."""
    names = ("torch", "transformers", "transformer-lens", "sae-lens", "numpy", "scipy", "statsmodels")
    return {
        "versions": {name: importlib.metadata.version(name) for name in names},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
