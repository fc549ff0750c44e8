"""The axes of a grid over methods, from what each method declares, and the step at a point of the grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..interventions.knobs import PROJECTION, AtSite, Features, Inner, Number, Vector, WholeSae, Words
from ..interventions.protocol import METHODS
from .sources import DEFAULTS, Source
from .steps import MAIN, Step

LAYER, FEATURE, AMOUNT = "layer", "feature", "amount"


def axes_of(methods: Sequence[str]) -> dict[str, dict[str, str]]:
    """For each method its axes, name -> setting; two methods share one where it means the same for both."""
    meaning: dict[str, str] = {}
    found: dict[str, dict[str, str]] = {}
    for method in methods:
        setup = METHODS[method].setup
        own = {LAYER: LAYER} if setup.of(AtSite) or any(_is_main(knob) for knob in setup.knobs) else {}
        for knob in setup.knobs:
            if isinstance(knob, Number):
                same = meaning.setdefault(knob.name, knob.long_label) == knob.long_label
                own[knob.name if same else f"{setup.name} {knob.name}"] = knob.name
            elif isinstance(knob, Features):
                own |= {FEATURE: FEATURE} | ({AMOUNT: AMOUNT} if knob.valued else {})
        found[method] = own
    return found


def labels(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """For each axis of the methods, in order, its label and a value to begin with; "" for a threshold."""
    found: dict[str, tuple[str, str]] = {}
    for method, axes in axes_of(methods).items():
        numbers = {knob.name: knob for knob in METHODS[method].setup.knobs if isinstance(knob, Number)}
        for axis, setting in axes.items():
            if setting in numbers:
                knob = numbers[setting]
                start = "" if knob.unit == PROJECTION or knob.default is None else f"{knob.default:g}"
                label = knob.long_label if axis == setting else f"{knob.long_label} ({METHODS[method].setup.title})"
                found.setdefault(axis, (label, start))
            else:
                shown = {LAYER: ("Layers", ""), FEATURE: ("Features", "0, 1"), AMOUNT: ("Amount of a feature", "5")}
                found.setdefault(axis, shown[setting])
    return found


def needs_sae(method: str) -> bool:
    """Whether a method works in an SAE's feature space only."""
    setup = METHODS[method].setup
    return bool(setup.of(Features, WholeSae)) or any(
        isinstance(knob, Vector) and "residual" not in knob.spaces for knob in setup.knobs
    )


def texts_of(methods: Sequence[str]) -> dict[str, str]:
    """The texts that the methods are made from, name -> label."""
    return {
        knob.name: knob.label for method in methods for knob in METHODS[method].setup.knobs if isinstance(knob, Words)
    }


def base(method: str, source: Source, texts: Mapping[str, str]) -> Step:
    """A method's step with every direction that it needs from one source, and its texts."""
    settings: dict[str, Any] = {}
    for knob in METHODS[method].setup.knobs:
        if isinstance(knob, Vector) and _is_main(knob):
            settings |= source_settings(source, knob)
        elif isinstance(knob, Vector) and knob.default == "pairs:":
            settings[knob.name] = source
        elif isinstance(knob, Inner):
            settings[knob.name] = base("add", source, {})
        elif isinstance(knob, Words):
            settings[knob.name] = texts.get(knob.name, "")
    return Step(method, **settings)


def source_settings(source: Source, knob: Vector) -> dict[str, Any]:
    """A source as settings of a step, in a space that the knob takes."""
    settings = {name: getattr(source, name) for name in DEFAULTS}
    return settings if source.space in knob.spaces else {**settings, "space": knob.spaces[0]}


def at_point(step: Step, axes: Mapping[str, str], point: Mapping[str, Any], sources: Mapping[int, Source]) -> Step:
    """The step at a point of the grid.

    Args:
        axes: the axes of its method, name -> setting.
        sources: where the direction comes from at each layer.
    """
    changes: dict[str, Any] = {}
    for axis, value in point.items():
        setting = axes[axis]
        if setting == LAYER and step.setup.of(AtSite):
            changes[LAYER] = value
        elif setting == LAYER:
            knob = next(knob for knob in step.setup.knobs if isinstance(knob, Vector) and _is_main(knob))
            changes |= source_settings(sources[value], knob)
        elif setting == FEATURE:
            changes["features"] = {value: float(point.get(AMOUNT, 1.0))}
        elif setting != AMOUNT:
            changes[setting] = value
    return step.but(**changes)


def _is_main(knob: Any) -> bool:
    return isinstance(knob, Vector) and knob.name == MAIN
