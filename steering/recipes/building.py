"""From a recipe's plain data to interventions: look up directions, convert strengths from norms to raw numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..directions.direction import Direction
from ..interventions.knobs import (
    NORMS,
    PROJECTION,
    AtSite,
    Features,
    Flag,
    Inner,
    Number,
    OneOf,
    Vector,
    WholeSae,
    Within,
    Words,
)
from ..interventions.protocol import Intervention
from .sources import Source
from .steps import COMMON, MAIN, Step, Variant, split_texts
from .workbench import Workbench

MOST_RECORDED = 4  # features of a step whose values along the text are recorded
# The threshold that an experiment's calibration of some name gives for a direction.
Calibrations = Callable[[str, Direction], float]


@dataclass(frozen=True)
class MadeStep:
    """A step ready for the engine.

    Attributes:
        directions: its directions, with where each comes from.
        numbers: strengths and thresholds as raw numbers, by their names; those of a step inside are under its knob; and
            "sae" if a saved direction is in an SAE's features.
    """

    intervention: Intervention
    directions: tuple[tuple[Direction, Source], ...] = ()
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """A variant ready for the engine, and the directions whose projections are worth recording."""

    title: str
    interventions: tuple[Intervention, ...]
    directions: tuple[Direction, ...] = ()
    numbers: tuple[dict[str, Any], ...] = ()


def build(bench: Workbench, variant: Variant) -> Built:
    """A variant's interventions, in order, of the steps that are on.

    Raises:
        ValueError: a setting does not fit; the message names the step.
    """
    made = []
    for number, step in enumerate(variant.active, start=1):
        try:
            made.append(make(bench, step))
        except ValueError as error:
            raise ValueError(f"{variant.title}, step {number}: {error}") from error
    directions = tuple(direction for one in made for direction, _ in one.directions[:1])
    directions += tuple(each for step in variant.active for each in feature_directions(bench, step))
    return Built(variant.title, tuple(one.intervention for one in made), directions, tuple(one.numbers for one in made))


def feature_directions(bench: Workbench, step: Step) -> list[Direction]:
    """The axes of a step's features, so that what each feature is along the text can be recorded."""
    if bench.sae is None or not step.setup.of(Features):
        return []
    found = []
    for number in list(step.features)[:MOST_RECORDED]:
        axis = torch.zeros(bench.sae.d_sae)
        axis[number] = 1.0
        found.append(Direction(axis, bench.sae.site, bench.sae, name=f"feature {number}"))
    return found


def make(bench: Workbench, step: Step, calibrated: Calibrations | None = None) -> MadeStep:
    """The intervention of a step, with its directions and raw numbers.

    Args:
        calibrated: finds the threshold that a name stands for, where an experiment has calibrations.

    Raises:
        ValueError: a setting does not fit the model, or something it needs is not there.
    """
    setup, settings, numbers = step.setup, {}, {}
    found: dict[str, tuple[Direction, Source]] = {}
    for knob in setup.of(Vector):
        assert isinstance(knob, Vector)
        like, main = found.get(MAIN, (None, None))
        source = step.source(knob)
        found[knob.name] = (bench.direction(source, like, main), source)
        settings[knob.name] = found[knob.name][0]
    if any(direction.sae is not None and source.kind == "saved" for direction, source in found.values()):
        numbers["sae"] = True
    space = "feature" if MAIN in found and found[MAIN][0].sae is not None else "residual"
    for knob in setup.knobs:
        if getattr(knob, "only", "") not in ("", space):
            continue
        if isinstance(knob, Number):
            settings[knob.name] = _number(bench, step, knob, found.get(MAIN), calibrated)
            numbers |= {knob.name: settings[knob.name]} if knob.unit in (PROJECTION, NORMS) else {}
        elif isinstance(knob, OneOf | Flag):
            settings |= {knob.name: value} if (value := getattr(step, knob.name)) != "" else {}
        elif isinstance(knob, Words):
            settings[knob.name] = _text(step, knob)
        elif isinstance(knob, AtSite):
            settings["site"] = bench.site_of(step.layer, step.stream)
        elif isinstance(knob, Features | WholeSae):
            settings["sae"] = bench.need_sae(setup.title)
            settings |= {knob.name: _features(step, knob)} if isinstance(knob, Features) else {}
        elif isinstance(knob, Inner):
            inside = make(bench, getattr(step, knob.name), calibrated)
            settings[knob.name], numbers[knob.name] = inside.intervention, inside.numbers
            found |= {f"{knob.name} {place}": pair for place, pair in enumerate(inside.directions)}
    settings |= {name: getattr(step, name) for name in COMMON}
    kind: Any = step.intervention
    made = getattr(kind, setup.make)(bench.lm, **settings) if setup.make else kind(**settings)
    for knob in setup.of(Within):
        assert isinstance(knob, Within)
        if texts := split_texts(getattr(step, knob.name)):
            made = replace(made, within=bench.manifold(texts, made.writes_at, getattr(step, knob.count)))
    for knob in setup.of(Number):
        assert isinstance(knob, Number)
        if knob.unit == NORMS and getattr(step, f"{knob.name}_raw") is None:
            raw = strength(bench, made, getattr(step, knob.name))
            made, numbers[knob.name] = replace(made, **{knob.name: raw}), raw
    return MadeStep(made, tuple(found.values()), numbers)


def strength(bench: Workbench, made: Intervention, norms: float) -> float:
    """The strength that shifts the stream by `norms` times its typical norm at the intervention's place."""
    return norms * bench.typical_norm(made.place) / max(made.unit_shift, 1e-12)


def threshold(bench: Workbench, step: Step) -> float:
    """The threshold of a step that has one: as set, or the midpoint between the classes of its pairs.

    Raises:
        ValueError: its direction cannot be had.
    """
    knob = next(knob for knob in step.setup.of(Number) if isinstance(knob, Number) and knob.unit == PROJECTION)
    source = step.source(Vector())
    return _number(bench, step, knob, (bench.direction(source), source), None)


def _number(
    bench: Workbench,
    step: Step,
    knob: Number,
    main: tuple[Direction, Source] | None,
    calibrated: Calibrations | None,
) -> float:
    value: Any = getattr(step, knob.name)
    if knob.unit == NORMS:  # 1 until the intervention is there, whose shift says what a norm is
        raw = getattr(step, f"{knob.name}_raw")
        return 1.0 if raw is None else raw
    if knob.unit != PROJECTION:
        return value
    if main is None:
        raise ValueError(f"{step.setup.title} has a threshold, so it needs a direction that it is measured on.")
    direction, source = main
    if isinstance(value, str):
        if calibrated is None:
            raise ValueError(f"{value!r} is the name of an experiment's calibration; here {knob.label} is a number.")
        return calibrated(value, direction)
    return bench.midpoint(direction, source.direction) if value is None else value


def _text(step: Step, knob: Words) -> str:
    value = getattr(step, knob.name)
    if knob.required and not value.strip():
        raise ValueError(f"{step.setup.title} needs {knob.what}; it is empty.")
    return value


def _features(step: Step, knob: Features) -> dict[int, float] | Sequence[int]:
    if not step.features:
        raise ValueError(f"{step.setup.title}: name at least one feature, such as 17: 8.")
    return dict(step.features) if knob.valued else sorted(step.features)
