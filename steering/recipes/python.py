"""A recipe as Python code that makes the same interventions with the package alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ..interventions.knobs import (
    NORMS,
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
from .sources import Source, position_of
from .steps import COMMON, MAIN, Recipe, Step, split_texts, steps_of

Numbers = Mapping[str, Any]


def head(
    recipe: Recipe, model: str, sae: tuple[str, str] | None, numbers: Sequence[Sequence[Numbers]] = ()
) -> list[str]:
    """The lines that import the package and load the model and, where it is needed, the SAE.

    Args:
        model: the arguments of `load_model`, as Python.
        sae: release and id of the SAE.
        numbers: as for `setups`; they say whether a saved direction is in feature space.
    """
    saved_in_features = any(one.get("sae") for many in numbers for one in many)
    lines = ["import steering as t"]
    lines += sorted({line for step in steps_of(recipe) if (line := _import(step.intervention))})
    lines += ["", f"lm = t.load_model({model})"]
    if saved_in_features or any(step.needs_sae for step in steps_of(recipe)):
        release, sae_id = sae or ("organism", "")
        lines.append(f"sae = t.load_sae(lm, {release!r}, {sae_id!r})")
    return lines


def setups(recipe: Recipe, numbers: Sequence[Sequence[Numbers]]) -> tuple[list[str], list[str], list[str]]:
    """The lines that make every variant that is on; the name of each as a tuple of steps; the recorded directions.

    Args:
        numbers: strengths and thresholds as raw numbers, for each step of each variant that is on.
    """
    lines, names, records = [], [], []
    for place, variant in enumerate((variant for variant in recipe if variant.on), start=1):
        steps = []
        for number, step in enumerate(variant.active, start=1):
            name = f"v{place}_{number}"
            known = numbers[place - 1] if place <= len(numbers) else ()
            lines += ["", *step_lines(name, step, known[number - 1] if number <= len(known) else {})]
            steps.append(f"{name}_step")
            records += [_vector(name, vectors[0].name)] if (vectors := _vectors(step)) else []
        names.append(f"({''.join(f'{step}, ' for step in steps)})")
    return lines, names, records


def step_lines(name: str, step: Step, numbers: Numbers) -> list[str]:
    """Python that makes the intervention of a step as `NAME_step`, and its directions before it."""
    lines, arguments = [], []
    main = step.source(_vectors(step)[0]) if _vectors(step) else Source()
    in_features = numbers.get("sae", main.space == "feature")
    usual = {field.name: field.default for field in fields(step.intervention)}
    for knob in step.setup.knobs:
        if getattr(knob, "only", "") and not in_features:
            continue
        if isinstance(knob, Vector):
            lines += _direction(_vector(name, knob.name), step.source(knob), name, main, in_features)
            arguments.append((knob.name, _vector(name, knob.name)))
        elif isinstance(knob, AtSite):
            arguments.append(("site", _site(step.layer, step.stream)))
        elif isinstance(knob, Features | WholeSae):
            arguments.append(("sae", "sae"))
            if isinstance(knob, Features):
                values = dict(step.features) if knob.valued else sorted(step.features)
                arguments.append((knob.name, repr(values)))
        elif isinstance(knob, Inner):
            lines += step_lines(f"{name}_{knob.name}", getattr(step, knob.name), numbers.get(knob.name, {}))
            arguments.append((knob.name, f"{name}_{knob.name}_step"))
        elif isinstance(knob, Number):
            arguments.append((knob.name, repr(_number(step, knob, numbers))))
        elif isinstance(knob, OneOf | Flag):
            value = getattr(step, knob.name)
            arguments += [(knob.name, repr(value))] if value not in ("", usual.get(knob.name)) else []
        elif isinstance(knob, Words):
            arguments.append((knob.name, repr(getattr(step, knob.name))))
        elif isinstance(knob, Within) and (texts := split_texts(getattr(step, knob.name))):
            span = f"t.manifold(lm, {texts!r}, {_written_at(step, name)}, k={getattr(step, knob.count)})"
            arguments.append((knob.name, span))
    arguments += [(key, repr(getattr(step, key))) for key in COMMON if getattr(step, key) != COMMON[key]]
    made = ", ".join(["lm"] * bool(step.setup.make) + [f"{key}={value}" for key, value in arguments])
    call = f"{_called(step.intervention)}{f'.{step.setup.make}' if step.setup.make else ''}"
    return [*lines, f"{name}_step = {call}({made})"]


def _written_at(step: Step, name: str) -> str:
    """Python for the site that an addition writes to."""
    if step.setup.of(Features):
        return "sae.writes or sae.site"
    return f"{name}.site" if step.setup.of(Vector) else _site(step.layer, step.stream)


def _vectors(step: Step) -> list[Vector]:
    return [knob for knob in step.setup.knobs if isinstance(knob, Vector)]


def _vector(name: str, knob: str) -> str:
    return name if knob == MAIN else f"{name}_{knob}"


def _number(step: Step, knob: Number, numbers: Numbers) -> Any:
    if knob.name in numbers:
        return numbers[knob.name]
    raw = getattr(step, f"{knob.name}_raw") if knob.unit == NORMS else None
    value = getattr(step, knob.name) if raw is None else raw
    if value is None or isinstance(value, str) or (knob.unit == NORMS and raw is None):
        raise ValueError(f"{step.setup.title}: what {knob.label} came to is not known here; run the recipe first.")
    return value


def _direction(name: str, source: Source, main_name: str, main: Source, in_features: bool) -> list[str]:
    if source.kind == "saved":
        sae = ", sae" if in_features else ""
        return [
            "# From your Library; elsewhere: t.Direction.load, with the file that the Library exports.",
            f"{name} = t.Store().direction({source.name!r}{sae})",
        ]
    if source.kind == "random":
        return [f"{name} = t.random_like({main_name}, {int(source.name)})"]
    made_from = main if source.kind == "negative" else source
    if source.kind == "negative" and main.kind == "saved":
        about = f"{main_name}.provenance"
        pairs = f"t.PairSet.load({about}['pairs']['name'])"
        read = f"position={about}.get('position', 'completion_mean'), sae={main_name}.sae"
        return [f"{name} = t.class_mean(lm, {pairs}, {main_name}.site, {read})"]
    pairs = (
        f"t.PairSet.from_lists([{made_from.positive!r}], [{made_from.negative!r}])"
        if made_from.kind == "texts"
        else f"t.PairSet.load({made_from.name!r})"
    )
    in_features = made_from.space == "feature"
    at = "sae.site" if in_features else _site(made_from.layer, made_from.stream)
    rest = "" if made_from.position == "completion_mean" else f", position={position_of(made_from.position)!r}"
    rest += ", sae=sae" if in_features else ""
    call = "class_mean" if source.kind == "negative" else made_from.contrast
    top = f".top_k({made_from.top_k})" if made_from.top_k and source.kind != "negative" else ""
    return [f"{name} = t.{call}(lm, {pairs}, {at}{rest}){top}"]


def _site(layer: int | None, stream: str) -> str:
    return f"t.Site({'lm.n_layers // 2' if layer is None else layer}, {stream!r})"


def _import(kind: type[Intervention]) -> str:
    """The line that imports a method that is not the package's own."""
    return "" if _own(kind) else f"from {kind.__module__} import {kind.__name__}"


def _called(kind: type[Intervention]) -> str:
    return f"t.{kind.__name__}" if _own(kind) else kind.__name__


def _own(kind: type[Intervention]) -> bool:
    return kind.__module__.startswith(Intervention.__module__.partition(".")[0] + ".")
