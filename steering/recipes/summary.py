"""A recipe in a few words."""

from __future__ import annotations

from typing import Any

from ..interventions.knobs import DEGREES, NORMS, PROJECTION, Features, Flag, Inner, Knob, Number, OneOf, Vector, Within
from .sources import Source
from .steps import MAIN, WHERE, Step, Variant, defaults, show_features


def summary(variant: Variant | None) -> str:
    """A variant in a few words, with its strengths."""
    if variant is None:
        return "nothing (the recipe is off)"
    return ", ".join(map(step_summary, variant.active)) or "nothing"


def step_summary(step: Step) -> str:
    """A step in a few words: the method, what it works with, and the settings that count."""
    usual, words, said = defaults(step.intervention), [step.setup.title.lower()], []
    for knob in step.setup.knobs:
        if isinstance(knob, Vector) and knob.name == MAIN:
            words.append(_source(step.source(knob)))
        elif isinstance(knob, Features):
            words.append(show_features(step.features) if knob.valued else ", ".join(map(str, sorted(step.features))))
        elif isinstance(knob, Vector):
            changed = getattr(step, knob.name) != usual[knob.name]
            said.append(f"{knob.label.lower()} {_source(step.source(knob))}" if changed else "")
        elif isinstance(knob, Inner):
            said.append(f"{knob.label.lower()} {step_summary(getattr(step, knob.name))}")
        elif isinstance(knob, Number) and step.offers(knob):
            said.append(_number(knob, step))
        elif isinstance(knob, Within) and getattr(step, knob.name).strip():
            said.append(f"within {getattr(step, knob.count)} dimensions of texts")
        elif isinstance(knob, OneOf | Flag) and step.offers(knob) and getattr(step, knob.name) != usual[knob.name]:
            said.append(_chosen(knob, getattr(step, knob.name)))
    said = [part for part in said if part]
    head = " ".join(part for part in (*words, *said[:1]) if part)
    tokens = [] if step.where == "all" else [WHERE[step.where].lower()]
    return ", ".join([head, *said[1:], *tokens])


def _source(source: Source) -> str:
    return source.name.removeprefix("general_").replace("_", " ") if source.kind == "pairs" else ""


def _number(knob: Number, step: Step) -> str:
    value: Any = getattr(step, knob.name)
    raw = getattr(step, f"{knob.name}_raw") if knob.unit == NORMS else None
    if raw is not None:
        return f"{raw:g} raw"
    if value is None or isinstance(value, str):
        return f"above {value}" if value else ""
    if knob.unit == PROJECTION:
        return f"above {value:g}"
    if knob.unit == NORMS:
        return f"{value:+.2f}".replace("-", "−")
    return f"{value:g} degrees" if knob.unit == DEGREES else f"{knob.label.lower()} {value:g}"


def _chosen(knob: Knob, value: Any) -> str:
    if isinstance(knob, OneOf):
        return f"{knob.label.lower()}: {knob.options[value].lower()}"
    assert isinstance(knob, Flag)
    return knob.label.lower() if value else f"not {knob.label.lower()}"
