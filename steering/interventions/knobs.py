"""What a steering method can be set to, declared once beside its formula.

The editor's sliders, links, experiment files, exported Python, summaries, controls, Evaluate's form and the axes of a
grid are derived from these declarations (see `steering.recipes`): a method that declares its knobs is in all of them.
A knob's name is the name of the argument that the method's constructor takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

NORMS = "layer norms"  # typical norms of the stream at the site; divided by the shift that a strength of 1 makes
PROJECTION = "projection"  # units of the projection on the step's direction: a threshold
DEGREES = "degrees"


@dataclass(frozen=True)
class Number:
    """A number on a slider from `low` to `high`; any finite number within `limits` is valid.

    Attributes:
        default: None stands for a threshold that is found from the direction's pairs (only with the unit PROJECTION).
        said: what is added to the label for those who do not see the slider.
        only: "feature" for a knob that means something in an SAE's feature space only.
    """

    name: str
    label: str
    low: float
    high: float
    default: float | None
    step: float = 0.05
    unit: str = ""
    said: str = ""
    help: str = ""
    limits: tuple[float, float] = (-1e6, 1e6)
    only: str = ""

    @property
    def long_label(self) -> str:
        """The label with its unit in words."""
        said = self.said or (f"in {self.unit}" if self.unit == NORMS else self.unit)
        return f"{self.label}, {said}" if said else self.label

    def fits(self, value: float) -> bool:
        """Whether a value is finite and within the limits."""
        return math.isfinite(value) and self.limits[0] <= value <= self.limits[1]


@dataclass(frozen=True)
class OneOf:
    """One of several named ways, value -> what a person reads."""

    name: str
    label: str
    options: Mapping[str, str] = field(hash=False)
    default: str
    help: str = ""
    only: str = ""


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    name: str
    label: str
    default: bool = False
    help: str = ""
    only: str = ""


@dataclass(frozen=True)
class Words:
    """A text; `what` completes the sentence "this method needs ..." where it is empty and required."""

    name: str
    label: str
    what: str
    required: bool = True


@dataclass(frozen=True)
class Vector:
    """A direction, wherever it comes from: a pair set, two texts, the Library, or derived from the step's first one.

    Attributes:
        default: where it comes from unless something is chosen; "random:SEED" is a random direction like the first,
            "negative" the mean of the negative texts of the first one's pairs.
        spaces: the spaces in which the method takes it.
        controlled: whether a random control replaces it; a condition stays as it is.
    """

    name: str = "direction"
    label: str = "Direction"
    default: str = "pairs:"
    spaces: tuple[str, ...] = ("residual", "feature")
    controlled: bool = True


@dataclass(frozen=True)
class Features:
    """Features of an SAE, each with a value where `valued`; the constructor takes the SAE first."""

    name: str
    label: str = "Features"
    valued: bool = True


@dataclass(frozen=True)
class WholeSae:
    """An SAE as a whole: the constructor's argument `sae`."""


@dataclass(frozen=True)
class AtSite:
    """A layer and a stream, for a method without a direction: the constructor's argument `site`."""


@dataclass(frozen=True)
class Inner:
    """Another step that this one is put around."""

    name: str
    label: str


@dataclass(frozen=True)
class Within:
    """Texts to whose span an addition is kept: the constructor's argument `within`, a `Manifold`, or None for no limit.

    Two settings: the texts, with blank lines between them, and `within_k`, how many dimensions of their span.
    """

    name: str = "within"
    label: str = "Keep to what these texts span"
    dimensions: int = 16
    help: str = (
        "Only the part of the addition that lies in the first principal directions of the activations of these texts "
        "is added. Too large a strength still exaggerates: the span limits where it points, not how far it goes."
    )

    @property
    def count(self) -> str:
        """The name of the setting that holds how many dimensions."""
        return f"{self.name}_k"


Knob = Number | OneOf | Flag | Words | Vector | Features | WholeSae | AtSite | Inner | Within


@dataclass(frozen=True)
class Setup:
    """How a method is offered and what it can be set to.

    Attributes:
        name: its short name in links and on pages, such as "add"; files and code call it by its class.
        title: what a person reads.
        help: what it does, in a sentence.
        knobs: in the order of the constructor's arguments, those that are looked at most first.
        make: the class method that makes one from texts, called with the model first; "" for the constructor.
        rank: where it stands in a list of methods, the most used ones first.
    """

    name: str
    title: str
    help: str
    knobs: tuple[Knob, ...]
    make: str = ""
    rank: int = 100

    def of(self, *kinds: type) -> list[Knob]:
        """The knobs of these kinds."""
        return [knob for knob in self.knobs if isinstance(knob, kinds)]


EVERYWHERE = Flag("everywhere", "At every layer and stream", help="At every site of the residual stream.")
ERROR = OneOf(
    "error",
    "The SAE's error",
    {"keep": "Kept", "drop": "Dropped, as in the code first posted"},
    "keep",
    "Dropped: every token is replaced by its reconstruction. Compare that with reconstruction alone.",
    only="feature",
)
