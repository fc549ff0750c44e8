"""Recipes as plain data: the choices of a setup, without tensors, as they stand in links, saved runs and files.

A recipe is a list of variants beside the baseline; a variant is a list of steps; a step is one method with settings.
Every method declares its settings and their valid values (interventions/knobs.py). Data from links and files is checked
here, and an error is one sentence.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, get_args

from .. import interventions  # noqa: F401  the methods declare themselves when they are imported
from ..interventions.knobs import (
    NORMS,
    PROJECTION,
    AtSite,
    Features,
    Flag,
    Inner,
    Knob,
    Number,
    OneOf,
    Setup,
    Vector,
    WholeSae,
    Within,
    Words,
)
from ..interventions.protocol import METHODS, Intervention, Where
from .sources import DEFAULTS as SOURCE
from .sources import MAX_TEXT, Source

WHERE = {
    "all": "All tokens",
    "prompt": "Prompt only",
    "generated": "Generated only",
    "from_last": "From the last prompt token",
    "prompt_last": "Last prompt token only",
}
assert set(WHERE) == set(get_args(Where))
MAX_VARIANTS, MAX_STEPS, MAX_FEATURES, MAX_START = 8, 6, 64, 100_000
COMMON = {"where": "all", "start": 0}
MAIN = "direction"  # the vector whose source's settings are a step's own


@dataclass(frozen=True, init=False)
class Step:
    """One method as chosen: its short name, whether it is on, and its settings.

    A setting is read as an attribute: `step.alpha`. Which there are depends on the method:

    - every knob by its name; a strength in layer norms also as `alpha_raw`, which then counts instead;
    - of the direction: `direction`, `contrast`, `space`, `position`, `layer`, `stream`, `positive`, `negative`, `top_k`
      (see `Source`); of a second direction a `Source`;
    - `features`: number -> value; `then`: another step; `where` and `start`: which tokens;
    - of an addition: `within`, texts to whose span it is kept (blank lines between them), and `within_k`, how many
      dimensions of it.

    Settings of other methods are kept, so that switching methods back and forth loses nothing, but are not written.

    Raises:
        ValueError: no such method or setting, or a value that it cannot have.
    """

    method: str
    on: bool
    settings: Mapping[str, Any]

    def __init__(self, /, method: str = "add", on: bool = True, **settings: Any) -> None:
        _known(method)
        if not isinstance(on, bool):
            raise ValueError(f"A step's on cannot be {on!r}.")
        own = defaults(METHODS[method])
        checked = {name: _checked(method, name, value) for name, value in settings.items()}
        kept = {name: value for name, value in checked.items() if name not in own or value != own[name]}
        object.__setattr__(self, "method", method)
        object.__setattr__(self, "on", on)
        object.__setattr__(self, "settings", MappingProxyType(kept))
        _whole(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "settings":
            raise AttributeError(name)
        if name in self.settings:
            return self.settings[name]
        for method in (self.method, *METHODS):
            found = defaults(METHODS[method])
            if name in found:
                return found[name]
        raise AttributeError(f"A step has no setting {name!r}.")

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.method, self.on, dict(self.settings))

    @property
    def intervention(self) -> type[Intervention]:
        """The method's class."""
        return METHODS[self.method]

    @property
    def setup(self) -> Setup:
        """What the method declares."""
        return METHODS[self.method].setup

    @property
    def key(self) -> str:
        """The step as text: equal steps have equal keys."""
        return json.dumps(step_data(self), sort_keys=True)

    def but(self, **changes: Any) -> Step:
        """The step with some settings (or its method, or whether it is on) changed."""
        return Step(**{"method": self.method, "on": self.on, **self.settings, **changes})

    def source(self, knob: Vector) -> Source:
        """Where the direction of a knob comes from."""
        if knob.name != MAIN:
            return getattr(self, knob.name)
        return Source(**{name: getattr(self, name) for name in SOURCE})

    @property
    def sources(self) -> list[Source]:
        """Where the step's directions come from, and those of the step inside it."""
        found = [self.source(knob) for knob in self.setup.knobs if isinstance(knob, Vector)]
        return found + [source for inner in self.inner for source in inner.sources]

    @property
    def inner(self) -> list[Step]:
        """The steps that this one is put around."""
        return [getattr(self, knob.name) for knob in self.setup.knobs if isinstance(knob, Inner)]

    @property
    def needs_sae(self) -> bool:
        """Whether the step, or one inside it, works with an SAE."""
        own = bool(self.setup.of(Features, WholeSae)) or any(one.space == "feature" for one in self.sources)
        return own or any(step.needs_sae for step in self.inner)

    def offers(self, knob: Knob) -> bool:
        """Whether a knob applies with the other settings: some apply in an SAE's feature space only."""
        return getattr(knob, "only", "") in ("", self.space if self.setup.of(Vector) else "")


def _known(method: Any) -> str:
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"A step's method is one of {', '.join(METHODS)}; got {method!r}.")
    return method


def _restored(method: str, on: bool, settings: dict[str, Any]) -> Step:
    return Step(method, on, **settings)


@cache
def defaults(method: type[Intervention]) -> dict[str, Any]:
    """The settings of a method's step, each with its default."""
    found: dict[str, Any] = dict(COMMON)
    for knob in method.setup.knobs:
        if isinstance(knob, Vector) and knob.name == MAIN:
            found |= SOURCE | {"direction": knob.default}
            found |= {} if "residual" in knob.spaces else {"space": knob.spaces[0]}
        elif isinstance(knob, Vector):
            found[knob.name] = Source(knob.default)
        elif isinstance(knob, Features):
            found["features"] = {}
        elif isinstance(knob, Words):
            found[knob.name] = ""
        elif isinstance(knob, AtSite):
            found |= {"layer": None, "stream": "resid_post"}
        elif isinstance(knob, Inner):
            found[knob.name] = Step()
        elif isinstance(knob, Number):
            found[knob.name] = knob.default
            found |= {f"{knob.name}_raw": None} if knob.unit == NORMS else {}
        elif isinstance(knob, OneOf | Flag):
            found[knob.name] = knob.default
        elif isinstance(knob, Within):
            found |= {knob.name: "", knob.count: knob.dimensions}
    return found


def _checked(method: str, name: str, value: Any) -> Any:
    """A setting's value, by the method's own declaration or else by the first method that has it."""
    for one in (method, *METHODS):
        if name in defaults(METHODS[one]):
            return _value(METHODS[one].setup, name, value)
    raise ValueError(f"A step has no setting {name!r}.")


def _value(setup: Setup, name: str, value: Any) -> Any:
    if name == "where":
        return value if _in(value, WHERE) else _one_of(name, WHERE, value)
    if name == "start":
        return value if _is_number(value, int) and 0 <= value <= MAX_START else _wrong(name, value)
    if name == "features":
        return _features(value)
    names = (name, name.removesuffix("_raw"), name.removesuffix("_k"))
    knob = next((knob for knob in setup.knobs if getattr(knob, "name", None) in names), None)
    if isinstance(knob, Number):
        return _number(knob, name, value)
    if isinstance(knob, OneOf):
        return value if _in(value, knob.options) else _one_of(name, knob.options, value)
    if isinstance(knob, Flag):
        return value if isinstance(value, bool) else _wrong(name, value)
    if isinstance(knob, Within) and name == knob.count:
        return value if _is_number(value, int) and value >= 1 else _wrong(name, value)
    if isinstance(knob, Words | Within):
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise ValueError(f"A step's texts have at most {MAX_TEXT} characters; {name} is none such.")
        return value
    if isinstance(knob, Inner):
        return value if isinstance(value, Step) else step_from(value)
    if isinstance(knob, Vector) and name != MAIN:
        return value if isinstance(value, Source) else Source.from_data(value)
    return getattr(Source(**{name: value}), name)


def _number(knob: Number, name: str, value: Any) -> Any:
    if value is None and (knob.default is None or name != knob.name):
        return None
    if knob.unit == PROJECTION and isinstance(value, str):  # an experiment's calibration of that name finds it
        return value
    if value is None or not _is_number(value, int, float):
        return _wrong(name, value)
    if not knob.fits(value):
        low, high = knob.limits
        raise ValueError(f"A step's {name.rstrip('_')} is a number from {low:g} to {high:g}; got {value}.")
    return float(value)


def _whole(step: Step) -> None:
    """Raise ValueError if settings contradict each other."""
    for knob in step.setup.knobs:
        if isinstance(knob, Vector) and step.source(knob).space not in knob.spaces:
            raise ValueError(f"{step.setup.title} takes a direction in {' or '.join(knob.spaces)} space.")
        if isinstance(knob, Inner) and getattr(step, knob.name).inner:
            raise ValueError(f"{step.setup.title} is put around one step that has none inside it; list two instead.")


def _in(value: Any, known: Mapping[str, Any]) -> bool:
    return isinstance(value, str) and value in known


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)


def _one_of(name: str, known: Mapping[str, Any], value: Any) -> Any:
    shown = ", ".join(one or '""' for one in known)
    raise ValueError(f"A step's {name} is one of {shown}; got {value!r}.")


def _wrong(name: str, value: Any) -> Any:
    raise ValueError(f"A step's {name.rstrip('_')} cannot be {value!r}.")


def _features(value: Any) -> dict[int, float]:
    try:
        found = {int(number): float(amount) for number, amount in dict(value).items()}
    except (TypeError, ValueError):
        raise ValueError("A step's features are numbers with values, such as {17: 8.0}.") from None
    if len(found) > MAX_FEATURES or not all(math.isfinite(amount) for amount in found.values()):
        raise ValueError(f"A step names at most {MAX_FEATURES} features, each with a finite number.")
    return found


@dataclass(frozen=True)
class Variant:
    """One card beside the baseline: its steps in order, and whether it is run."""

    name: str = ""
    steps: tuple[Step, ...] = (Step(),)
    on: bool = True

    @property
    def title(self) -> str:
        return self.name or " + ".join(step.setup.title for step in self.active) or "No step"

    @property
    def active(self) -> tuple[Step, ...]:
        """The steps that are on."""
        return tuple(step for step in self.steps if step.on)


Recipe = tuple[Variant, ...]


def steps_of(recipe: Recipe) -> Iterator[Step]:
    """Every step of a recipe, also those inside others."""
    for variant in recipe:
        for step in variant.steps:
            yield step
            yield from step.inner


# As JSON data -------------------------------------------------------------------------------------------------------


def to_data(recipe: Recipe) -> list[dict[str, Any]]:
    """The recipe as JSON data; defaults are left out."""
    found = []
    for variant in recipe:
        entry: dict[str, Any] = {"steps": [step_data(step) for step in variant.steps]}
        entry |= {"name": variant.name} if variant.name else {}
        entry |= {} if variant.on else {"on": False}
        found.append(entry)
    return found


def step_data(step: Step) -> dict[str, Any]:
    """A step as JSON data: its method and the settings that it has and that are not at their default."""
    own = defaults(step.intervention)
    data: dict[str, Any] = {"method": step.method, **({} if step.on else {"on": False})}
    for name, value in step.settings.items():
        if name in own:
            data[name] = _plain(value)
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, Step):
        return step_data(value)
    if isinstance(value, Source):
        return value.to_data()
    return {str(number): one for number, one in value.items()} if isinstance(value, dict) else value


def from_data(data: Any) -> Recipe:
    """The recipe of JSON data, also of data that an earlier version wrote.

    Raises:
        ValueError: it is no recipe; the message says what is wrong.
    """
    if not isinstance(data, list) or not 0 <= len(data) <= MAX_VARIANTS:
        raise ValueError(f"A recipe is a list of at most {MAX_VARIANTS} variants.")
    return tuple(_variant(entry) for entry in data)


def _variant(entry: Any) -> Variant:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("steps", []), list):
        raise ValueError("A variant is an object with a list of steps.")
    steps = entry.get("steps", [])
    if len(steps) > MAX_STEPS:
        raise ValueError(f"A variant has at most {MAX_STEPS} steps; got {len(steps)}.")
    return Variant(str(entry.get("name", ""))[:80], tuple(map(step_from, steps)), bool(entry.get("on", True)))


def step_from(entry: Any) -> Step:
    """The step of JSON data.

    Raises:
        ValueError: it is none; the message says what is wrong.
    """
    if not isinstance(entry, Mapping):
        raise ValueError("A step is an object with the settings of one intervention.")
    data = {str(name): value for name, value in entry.items()}
    return Step(**(data if "method" in data else renewed(data)))


# By method: a setting's name in version 1 -> its present name.
RENAMED = {"sara": {"gain": "alpha", "positive": "attract", "negative": "repel"}}


def renewed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a step that version 1 wrote, under their present names.

    In version 1 a step had every method's settings, two texts were always read over the whole text, and ablation of a
    direction in feature space took place in feature space.
    """
    kind = data.get("kind", "add")
    if kind == "ablate" and data.get("space") == "feature" and not data.get("everywhere", False):
        kind = "ablate_features"
    names = {name: name for name in defaults(METHODS[_known(kind)])} | RENAMED.get(kind, {})
    if kind in RENAMED:
        names.pop("alpha", None)
        names["gain"] = "alpha"
    old = {"kind", "on", "everywhere", "alpha", "tau", "lambda_", "degrees", "gain", "features", "where", *SOURCE}
    if unknown := sorted(set(data) - old):
        raise ValueError(f"A step has no setting {unknown[0]!r}.")
    found = {names[name]: value for name, value in data.items() if name in names}
    if data.get("direction") == "texts":
        found.pop("position", None)
    return {"method": kind, "on": data.get("on", True), **found}


# Texts and features as text -----------------------------------------------------------------------------------------


def split_texts(text: str) -> list[str]:
    """The texts between blank lines."""
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def parse_features(text: str) -> dict[int, float]:
    """Feature numbers and values from text such as `17: 8, 203: 4` (a number alone gets 1).

    Raises:
        ValueError: a part that is no number, or no number with a value.
    """
    found: dict[int, float] = {}
    for part in text.replace(";", ",").replace("\n", ",").split(","):
        if not part.strip():
            continue
        number, colon, value = part.partition(":")
        try:
            found[int(number)] = float(value) if colon else 1.0
        except ValueError:
            raise ValueError(f"Features are written like 17: 8, 203: 4; got {part.strip()!r}.") from None
    return found


def show_features(features: Mapping[int, float]) -> str:
    """Feature numbers and values as a person types them."""
    return ", ".join(f"{number}: {value:g}" for number, value in features.items())
