"""Recipes as plain data: what a visitor chose, before any tensor exists. They travel in links, saved runs and exports.

A recipe is a list of variants beside the baseline; a variant is a list of steps; a step is one intervention with its
settings. Everything that comes from a link or a file is checked here, and a mistake is one sentence.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, NamedTuple, get_args

from ..interventions.protocol import Where
from ..sites import STREAMS


class Kind(NamedTuple):
    """A method as the recipe editor offers it: what it needs (a direction, two texts, features) and its sliders."""

    title: str
    needs: str
    sliders: tuple[str, ...]
    help: str


KINDS: dict[str, Kind] = {
    "add": Kind("Add", "direction", ("alpha",), "Adds the direction to every token (CAA, RepE)."),
    "regulate": Kind(
        "Regulate",
        "direction",
        ("tau", "lambda_"),
        "Nothing below tau; above it the excess is pushed back with gain lambda (threshold regulator, DIR). "
        "Lambda 1 caps the projection at tau.",
    ),
    "ablate": Kind("Ablate", "direction", (), "Takes the direction out: its projection becomes zero."),
    "rotate": Kind("Rotate", "direction", ("degrees",), "Turns the activation to an angle with the direction."),
    "clamp": Kind("Clamp features", "features", (), "Sets SAE features to values on every token."),
    "boost": Kind("Add features", "features", (), "Adds amounts of SAE features to every token."),
    "silence": Kind("Switch features off", "features", (), "Takes out what SAE features write."),
    "actadd": Kind(
        "Add a prompt contrast", "texts", ("alpha",), "Adds the difference of two prompts to the first tokens (ActAdd)."
    ),
    "sara": Kind(
        "Rescale channels",
        "texts",
        ("gain",),
        "Strengthens the channels that resemble the first text and weakens those that resemble the second (SARA).",
    ),
}
CONTRASTS = {"mean_difference": "Mean difference", "pca": "PCA of pairs", "probe": "Logistic probe", "lda": "LDA"}
POSITIONS = {
    "completion_mean": "Mean over the answer",
    "prompt_mean": "Mean over the prompt",
    "prompt_last": "Last token of the prompt",
    "last": "Last token",
    "differing": "The one token that differs",
}


def position_of(text: str) -> str | int:
    """Where a direction is read, as the package takes it: a name, or an index that stands in a recipe as text."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def shown_position(text: str) -> str:
    """A position as a person reads it."""
    return POSITIONS.get(text) or f"Token {text}"


SPACES = {"residual": "Residual stream", "feature": "SAE features"}
WHERE = {
    "all": "All tokens",
    "prompt": "Prompt only",
    "generated": "Generated only",
    "from_last": "From the last prompt token",
}
LIMITS = {
    "alpha": (-4.0, 4.0),
    "tau": (-1e4, 1e4),
    "lambda_": (0.0, 10.0),
    "degrees": (-180.0, 180.0),
    "gain": (-4.0, 4.0),
}
MAX_VARIANTS, MAX_STEPS = 8, 6


@dataclass(frozen=True)
class Step:
    """One intervention as chosen.

    Attributes:
        kind: a key of KINDS.
        on: whether it is done.
        position: where in a pair's texts the direction is read.
        direction: "pairs:NAME" (a pair set), "saved:ID" (the Library) or "texts" (the two texts' difference).
        layer: None stands for the model's middle layer, so that a recipe fits models of any depth.
        alpha: in units of the layer's typical norm.
        tau: in units of the projection; None stands for the midpoint between the pair set's two classes.
        features: number -> value, for the feature methods.
    """

    kind: str = "add"
    on: bool = True
    direction: str = "pairs:"
    contrast: str = "mean_difference"
    space: str = "residual"
    position: str = "completion_mean"
    layer: int | None = None
    stream: str = "resid_post"
    where: str = "all"
    everywhere: bool = False
    alpha: float = 0.5
    tau: float | None = None
    lambda_: float = 1.0
    degrees: float = 0.0
    gain: float = 1.0
    features: dict[int, float] = field(default_factory=dict)
    positive: str = ""
    negative: str = ""

    def __post_init__(self) -> None:
        choices = {
            "kind": KINDS,
            "contrast": CONTRASTS,
            "space": SPACES,
            "stream": STREAMS,
            "where": get_args(Where),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"A step's {name} is one of {', '.join(known)}; got {getattr(self, name)!r}.")
        if not (
            isinstance(self.position, str)
            and (self.position in POSITIONS or isinstance(position_of(self.position), int))
        ):
            raise ValueError(
                f"A step's position is one of {', '.join(POSITIONS)}, or an index as text; got {self.position!r}."
            )
        if self.layer is not None and (isinstance(self.layer, bool) or not 0 <= self.layer < 1000):
            raise ValueError(f"A step's layer is a block's number from 0 on; got {self.layer!r}.")
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not (name == "tau" and value is None) and not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"A step's {name.rstrip('_')} is a number from {low:g} to {high:g}; got {value}.")
        if len(self.features) > 64 or not all(math.isfinite(value) for value in self.features.values()):
            raise ValueError("A step names at most 64 features, each with a finite number.")
        if max(len(self.positive), len(self.negative), len(self.direction)) > 4000:
            raise ValueError("A step's texts have at most 4000 characters.")


@dataclass(frozen=True)
class Variant:
    """One card beside the baseline: its steps in order, and whether random directions are run beside it."""

    name: str = ""
    steps: tuple[Step, ...] = (Step(),)
    on: bool = True

    @property
    def title(self) -> str:
        return self.name or " + ".join(KINDS[step.kind].title for step in self.steps if step.on) or "No step"


Recipe = tuple[Variant, ...]


def to_data(recipe: Recipe) -> list[dict[str, Any]]:
    """The recipe as JSON data, without what is at its default."""
    found = []
    for variant in recipe:
        entry: dict[str, Any] = {"steps": [_differences(step) for step in variant.steps]}
        entry |= {"name": variant.name} if variant.name else {}
        entry |= {} if variant.on else {"on": False}
        found.append(entry)
    return found


def _differences(step: Step) -> dict[str, Any]:
    data = asdict(step)
    default = Step()
    kept = {name: value for name, value in data.items() if value != getattr(default, name)}
    if "features" in kept:
        kept["features"] = {str(number): value for number, value in step.features.items()}
    return kept


def from_data(data: Any) -> Recipe:
    """The recipe of JSON data.

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
    return Variant(str(entry.get("name", ""))[:80], tuple(_step(step) for step in steps), bool(entry.get("on", True)))


def _step(entry: Any) -> Step:
    if not isinstance(entry, Mapping):
        raise ValueError("A step is an object with the settings of one intervention.")
    known = {one.name: one for one in fields(Step)}
    if unknown := sorted(set(map(str, entry)) - set(known)):
        raise ValueError(f"A step has no setting {unknown[0]!r}.")
    values: dict[str, Any] = {}
    for name, value in entry.items():
        default = known[name].default
        if name == "features":
            values[name] = _features(value)
        elif name == "layer":
            values[name] = value if value is None or isinstance(value, int) else _wrong(name, value)
        elif name == "tau" and value is None:
            values[name] = None
        elif name == "tau" or isinstance(default, float):
            good = isinstance(value, int | float) and not isinstance(value, bool)
            values[name] = float(value) if good else _wrong(name, value)
        elif default is not MISSING and isinstance(value, type(default)):
            values[name] = value
        else:
            _wrong(name, value)
    return Step(**values)


def _wrong(name: str, value: Any) -> Any:
    raise ValueError(f"A step's {name.rstrip('_')} cannot be {value!r}.")


def _features(value: Any) -> dict[int, float]:
    try:
        return {int(number): float(amount) for number, amount in dict(value).items()}
    except (TypeError, ValueError):
        raise ValueError("A step's features are numbers with values, such as {17: 8.0}.") from None


def encode(recipe: Recipe) -> str:
    """The recipe as a short text for a link."""
    text = json.dumps(to_data(recipe), separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")


def decode(text: str) -> Recipe:
    """The recipe of a link's text.

    Raises:
        ValueError: the link was cut or changed.
    """
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        # A few bytes can unpack to gigabytes, and links come from anywhere.
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(packed, 200_000)
        if unpacker.unconsumed_tail:
            raise ValueError("too long")
        data = json.loads(raw.decode())
    except (ValueError, zlib.error, UnicodeDecodeError):
        raise ValueError(
            "The recipe in this link cannot be read; it may have been cut. The example is shown."
        ) from None
    return from_data(data)


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
    """Feature numbers and values as the visitor types them."""
    return ", ".join(f"{number}: {value:g}" for number, value in features.items())


def moved(recipe: Recipe, index: int, by: int) -> Recipe:
    """The recipe with one variant moved."""
    variants = list(recipe)
    variants.insert(max(0, min(len(variants) - 1, index + by)), variants.pop(index))
    return tuple(variants)


def with_variant(recipe: Recipe, index: int, **changes: Any) -> Recipe:
    """The recipe with some settings of one variant replaced."""
    return tuple(replace(v, **changes) if i == index else v for i, v in enumerate(recipe))


def with_step(recipe: Recipe, index: int, number: int, step: Step) -> Recipe:
    """The recipe with one step replaced."""
    steps = tuple(step if i == number else old for i, old in enumerate(recipe[index].steps))
    return with_variant(recipe, index, steps=steps)
