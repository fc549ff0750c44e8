"""A recipe as tables of an experiment's TOML file, and back: every method with every setting that it has.

An arm of such a file is a variant: it names its methods by their classes and its directions by their names in the
table [directions]. Settings that a step leaves out have the class's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import tomli_w

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
    Within,
    Words,
)
from ..interventions.protocol import METHODS, Intervention
from ..sites import Site
from .building import threshold
from .sources import Source, position_of
from .steps import COMMON, MAIN, Recipe, Step, Variant
from .workbench import Workbench

DIRECTION = {"pairs", "saved", "positive", "negative", "contrast", "position", "site", "space", "top_k"}
ARM = {"name", "steps", "family", "target", "grid", "instruction", "place"}  # settings of an arm, not of a method
DERIVED = ("random", "negative")  # second directions that are made from the first, and need no table of their own


def by_class(name: Any) -> type[Intervention]:
    """The method of that class name.

    Raises:
        ValueError: there is none; the message lists every one that there is.
    """
    known = {kind.__name__: kind for kind in METHODS.values()}
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"A method is one of {', '.join(sorted(known))}; got {name!r}.")
    return known[name]


def keys_of(kind: type[Intervention]) -> set[str]:
    """The settings that a method has in a file."""
    found = {"method", "where", "start"}
    for knob in kind.setup.knobs:
        if isinstance(knob, Vector) and knob.name == MAIN:
            found |= {MAIN, "site", "layer"}
        elif isinstance(knob, AtSite):
            found |= {"site", "layer"}
        elif isinstance(knob, Features):
            found.add("features")
        elif isinstance(knob, Number):
            found |= {knob.name} | ({f"{knob.name}_norms"} if knob.unit == NORMS else set())
        elif isinstance(knob, Vector | OneOf | Flag | Words | Inner):
            found.add(knob.name)
        elif isinstance(knob, Within):
            found |= {knob.name, knob.count}
    return found


def every_key() -> set[str]:
    """The settings that any method has in a file."""
    return set().union(*map(keys_of, METHODS.values()))


# Writing ------------------------------------------------------------------------------------------------------------


def to_toml(data: Mapping[str, Any]) -> str:
    """The text of a TOML file; None is left out.

    Raises:
        ValueError: something in it is neither text, number, list nor table.
    """
    try:
        return tomli_w.dumps(_without_none(data))
    except TypeError as error:
        raise ValueError(f"A configuration holds texts, numbers, lists and tables; {error}.") from None


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_none(one) for key, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list | tuple) else value


def recipe_tables(recipe: Recipe, bench: Workbench) -> dict[str, Any]:
    """The variants that are on as the tables `directions` and `arms`; thresholds that are found become numbers.

    Raises:
        ValueError: something that a step needs is not there.
    """
    directions: dict[str, dict[str, Any]] = {}
    arms, titles = [], {}
    for variant in (variant for variant in recipe if variant.on):
        title = variant.title.replace("{", "(").replace("}", ")")
        titles[title] = titles.get(title, 0) + 1
        name = title if titles[title] == 1 else f"{title} ({titles[title]})"
        arms.append({"name": name, "steps": [step_table(step, directions, bench) for step in variant.active]})
    return {"directions": directions, "arms": arms}


def step_table(step: Step, directions: dict[str, dict[str, Any]], bench: Workbench) -> dict[str, Any]:
    """A step as a table; the directions that it names are added to those that are there.

    Raises:
        ValueError: something that the step needs is not there.
    """
    table: dict[str, Any] = {"method": step.intervention.__name__}
    for knob in step.setup.knobs:
        if not step.offers(knob) and step.source(Vector()).kind != "saved":
            continue
        if isinstance(knob, Vector):
            table[knob.name] = _named(step.source(knob), directions, bench)
        elif isinstance(knob, AtSite):
            table["site"] = str(bench.site_of(step.layer, step.stream))
        elif isinstance(knob, Features):
            bench.need_sae(step.setup.title)
            table["features"] = {str(number): value for number, value in step.features.items()}
        elif isinstance(knob, Inner):
            table[knob.name] = step_table(getattr(step, knob.name), directions, bench)
        elif isinstance(knob, Number):
            table |= _number_table(step, knob, bench)
        elif isinstance(knob, Within):
            texts = getattr(step, knob.name)
            table |= {knob.name: texts, knob.count: getattr(step, knob.count)} if texts.strip() else {}
        elif isinstance(knob, OneOf | Flag | Words):
            value = getattr(step, knob.name)
            kept = value != _usual(step.intervention, knob.name) and not (isinstance(knob, OneOf) and value == "")
            table |= {knob.name: value} if kept else {}
    return table | {key: getattr(step, key) for key in COMMON if getattr(step, key) != COMMON[key]}


def _number_table(step: Step, knob: Number, bench: Workbench) -> dict[str, Any]:
    value = getattr(step, knob.name)
    if knob.unit == NORMS:
        raw = getattr(step, f"{knob.name}_raw")
        return {f"{knob.name}_norms": value} if raw is None else {knob.name: raw}
    if knob.unit == PROJECTION and not isinstance(value, str):
        return {knob.name: threshold(bench, step)}
    return {knob.name: value}


def _named(source: Source, directions: dict[str, dict[str, Any]], bench: Workbench) -> str:
    if source.kind in DERIVED:
        return source.direction
    table = _source_table(source, bench)
    name = next((name for name, known in directions.items() if known == table), f"d{len(directions) + 1}")
    directions[name] = table
    return name


def _source_table(source: Source, bench: Workbench) -> dict[str, Any]:
    if source.kind == "saved":
        return {"saved": source.name}
    bench.direction(source)  # raises now, not in the job, if it cannot be made
    table: dict[str, Any] = (
        {"positive": source.positive, "negative": source.negative}
        if source.kind == "texts"
        else {"pairs": source.name, "contrast": source.contrast}
    )
    table["position"] = position_of(source.position)
    table |= {"space": "features"} if source.space == "feature" else {"site": str(bench.site(source))}
    return table | ({"top_k": source.top_k} if source.top_k else {})


# Reading ------------------------------------------------------------------------------------------------------------


def recipe_of(data: Mapping[str, Any]) -> Recipe:
    """The recipe of an experiment's tables, one variant an arm; grids are the experiment's own.

    Raises:
        ValueError: a method, setting or direction that there is not.
    """
    directions = data.get("directions", {})
    return tuple(
        Variant(str(arm.get("name", "")), tuple(step_of(step, directions) for step in steps_of_arm(arm)))
        for arm in data["arms"]
    )


def steps_of_arm(arm: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps of an arm, in order: its own, each with the arm's settings that it takes; or itself; or none."""
    common = {key: value for key, value in arm.items() if key not in ARM}
    if "steps" not in arm:
        return [common] if "method" in arm else []
    found = []
    for step in arm["steps"]:
        takes = keys_of(by_class(step.get("method", arm.get("method", ""))))
        found.append({**{key: value for key, value in common.items() if key in takes}, **step})
    return found


def step_of(table: Mapping[str, Any], directions: Mapping[str, Mapping[str, Any]]) -> Step:
    """The step of a table.

    Args:
        directions: the tables of directions by name.

    Raises:
        ValueError: a method, setting or direction that there is not.
        KeyError: a setting is missing.
    """
    kind = by_class(table.get("method", ""))
    known = keys_of(kind)
    if unknown := sorted(key for key in table if key not in known):
        raise ValueError(f"{kind.__name__} has no setting {unknown[0]!r}; it has {', '.join(sorted(known))}.")
    site = _site(table)
    settings: dict[str, Any] = {key: table[key] for key in COMMON if key in table}
    for knob in kind.setup.knobs:
        if isinstance(knob, Vector) and knob.name == MAIN:
            settings |= _main(source_of(table[MAIN], directions), site)
        elif isinstance(knob, Vector):
            named = table.get(knob.name, knob.default)
            settings[knob.name] = source_of(named, directions)
        elif isinstance(knob, AtSite):
            settings |= {} if site is None else {"layer": site.layer, "stream": site.stream}
        elif isinstance(knob, Features):
            settings["features"] = table["features"]
        elif isinstance(knob, Inner):
            settings[knob.name] = step_of(table[knob.name], directions)
        elif isinstance(knob, Number):
            settings |= _number_of(table, knob, kind)
        elif isinstance(knob, Within):
            settings |= {key: table[key] for key in (knob.name, knob.count) if key in table}
        elif isinstance(knob, Words):
            settings[knob.name] = table[knob.name] if knob.required else table.get(knob.name, "")
        elif isinstance(knob, OneOf | Flag):
            usual = _usual(kind, knob.name) if knob.default != "" else ""
            settings[knob.name] = table.get(knob.name, usual)
    return Step(kind.setup.name, **settings)


def _number_of(table: Mapping[str, Any], knob: Number, kind: type[Intervention]) -> dict[str, Any]:
    if knob.unit == NORMS and f"{knob.name}_norms" in table:
        return {knob.name: table[f"{knob.name}_norms"]}
    value = table[knob.name] if knob.name in table else _usual(kind, knob.name)
    if value is None:
        raise KeyError(knob.name)
    return {f"{knob.name}_raw" if knob.unit == NORMS else knob.name: value}


def _usual(kind: type[Intervention], name: str) -> Any:
    """The class's default for an argument; None if it has none."""
    found = {field.name: field.default for field in fields(kind)}
    return found[name] if isinstance(found.get(name), int | float | str) else None


def _main(source: Source, site: Site | None) -> dict[str, Any]:
    """The settings of the step's own direction, read at another site where the step names one."""
    if site is not None and source.space == "residual" and source.kind != "saved":
        source = replace(source, layer=site.layer, stream=site.stream)
    return {field.name: getattr(source, field.name) for field in fields(source)}


def source_of(name: Any, directions: Mapping[str, Mapping[str, Any]]) -> Source:
    """Where the direction of that name comes from.

    Raises:
        ValueError: there is no such direction, or its table has a setting that it cannot have.
    """
    if isinstance(name, str) and name.partition(":")[0] in DERIVED and name not in directions:
        return Source(name)
    if name not in directions:
        raise ValueError(f"an arm uses the direction {name!r}, which is not there")
    spec = directions[name]
    if unknown := sorted(set(spec) - DIRECTION):
        raise ValueError(f"{name}: there is no setting {unknown[0]!r}; known are {', '.join(sorted(DIRECTION))}.")
    if "saved" in spec:
        return Source(f"saved:{spec['saved']}")
    site = Site.parse(spec["site"]) if "site" in spec else None
    return Source(
        f"pairs:{spec['pairs']}" if "pairs" in spec else "texts",
        contrast=spec.get("contrast", "mean_difference"),
        space="feature" if spec.get("space", "residual") == "features" else "residual",
        position=str(spec.get("position", "completion_mean")),
        layer=None if site is None else site.layer,
        stream="resid_post" if site is None else site.stream,
        positive=spec.get("positive", ""),
        negative=spec.get("negative", ""),
        top_k=int(spec.get("top_k", 0)),
    )


def _site(table: Mapping[str, Any]) -> Site | None:
    """The site that a table names; a layer alone is its input, where SARA's authors steer."""
    if "site" in table:
        return Site.parse(table["site"])
    return Site(table["layer"], "resid_pre") if table.get("layer") is not None else None
