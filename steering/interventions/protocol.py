"""The protocol every steering method follows.

An `Intervention` is a small frozen value that a person makes. Asked for a model, it gives `Placement`s: at which site
which `Edit` is done. An `Edit` is a few tensors with a leading `rows` axis and a pure function on activations, so the
edits of many rows are stacked and done in one go: a batch of eight different variants costs one call a site, not eight.

What an edit needs to know of the prompt (SARA's gain, CAST's condition) is found once, in the prompt pass, and is a
value from then on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..models.model import Model
from ..showing.one_line import LONGEST, clipped
from ..sites import Site
from .knobs import Setup

# Which tokens an intervention touches. "from_last" begins with the last prompt token, the one that predicts the first
# generated token; "generated" leaves that one alone, so the first new token is the baseline's.
Where = Literal["all", "prompt", "generated", "from_last", "prompt_last"]


def span_of(where: Where, prompt_length: int) -> tuple[int, float]:
    """The absolute positions that a `where` means: from the first to before the second."""
    return {
        "all": (0, math.inf),
        "prompt": (0, prompt_length),
        "generated": (prompt_length, math.inf),
        "from_last": (prompt_length - 1, math.inf),
        "prompt_last": (prompt_length - 1, prompt_length),
    }[where]


class Effect(NamedTuple):
    """What an edit did: the new activations, the shift its formula asks for, and where a threshold was crossed.

    `fired` says something of rows with a threshold only.
    """

    h: Float[Tensor, "rows pos d_model"]
    expected: Float[Tensor, "rows pos"]
    fired: Bool[Tensor, "rows pos"] | None = None


class Edit(Protocol):
    """One kind of change for some rows at one site; its tensors are float32 and lead with `rows`."""

    @property
    def kind(self) -> Any:
        """Edits of equal kind can be stacked."""
        ...

    @property
    def has_threshold(self) -> bool:
        """Whether it does nothing below a threshold, so that a receipt says how often it fired."""
        ...

    @classmethod
    def stack(cls, edits: Sequence[Any]) -> Self:
        """One edit for all the rows, in order."""
        ...

    def __call__(self, h: Float[Tensor, "rows pos d_model"], positions: Int[Tensor, "rows pos"]) -> Effect: ...


@dataclass(frozen=True, eq=False)
class Gate:
    """A question about the prompt, asked once at a site, that lets an edit happen or not."""

    site: Site
    test: Callable[[Float[Tensor, "pos d_model"]], bool]


@dataclass(frozen=True, eq=False)
class Placement:
    """An edit at a site: ready made, or made from the prompt's activations there.

    Attributes:
        where: a narrower `where` than the intervention's own, for methods that treat the prompt differently.
        whole_history: make the edit again from all tokens so far, at every step (needs decoding without a cache).
    """

    site: Site
    edit: Edit | None = None
    from_prompt: Callable[[Float[Tensor, "pos d_model"]], Edit] | None = None
    where: Where = "all"
    whole_history: bool = False
    gate: Gate | None = None


# Arguments that are shown only where they are not at their default.
OPTIONAL = ("where", "start", "within")

# Every method that declares its knobs, by the short name that it declares.
METHODS: dict[str, type[Intervention]] = {}


@dataclass(frozen=True, eq=False, kw_only=True)
class Intervention(ABC):
    """What is done to activations. Immutable; knows nothing of rows, padding, caches or threads.

    A subclass that declares `setup` (see knobs.py) is offered by every page, file and link.

    Attributes:
        where: which tokens: "all", "prompt", "generated", "from_last" (the last prompt token on), or
            "prompt_last" (that token alone, where the answer is decided).
        start: the first absolute position that is touched (0 is the first token, usually BOS).
    """

    setup: ClassVar[Setup]
    where: Where = "all"
    start: int = 0

    def __post_init__(self) -> None:
        if self.where not in get_args(Where):
            raise ValueError(f"where is one of {', '.join(get_args(Where))}; got {self.where!r}.")
        if isinstance(self.start, bool) or not isinstance(self.start, int) or self.start < 0:
            raise ValueError(f"start is a position from 0 on; got {self.start!r}.")
        for field in dataclasses.fields(self):
            check_finite(field.name, getattr(self, field.name))

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__repr__ = Intervention.__repr__  # in the class itself, or its dataclass decorator writes every tensor out
        if "setup" in cls.__dict__:
            METHODS[cls.setup.name] = cls
            ordered = sorted(METHODS.items(), key=lambda pair: pair[1].setup.rank)
            METHODS.clear()
            METHODS.update(ordered)

    @abstractmethod
    def placements(self, model: Model) -> Sequence[Placement]:
        """Where the edits are, and what they are, on this model.

        Raises:
            ValueError: the model does not have the site or the width, or the direction comes from another model.
        """

    def span(self, prompt_length: int) -> tuple[int, float]:
        """The absolute positions that it may touch: from the first to before the second."""
        low, high = span_of(self.where, prompt_length)
        return max(low, self.start), high

    @property
    def place(self) -> Site:
        """Where a strength in layer norms is measured: its own site, or its direction's."""
        return getattr(self, "site", None) or self.direction.site  # type: ignore[attr-defined]

    @property
    def unit_shift(self) -> float:
        """The largest shift that a strength of 1 makes at a token: the norm of its direction in the stream."""
        return float(self.direction.decoded().norm())  # type: ignore[attr-defined]

    def randomized(self, seed: int) -> Self:
        """The control for what it holds besides directions and features: itself, where there is nothing else."""
        return self

    def notes(self, prompt_length: int) -> tuple[str, ...]:
        """Sentences for the receipt on what is special about this prompt."""
        return ()

    @property
    def fingerprint(self) -> str:
        """A hash of everything the intervention holds: equal ones do the same."""
        return fingerprint(self)

    def __str__(self) -> str:
        shown = (
            f"{field.name}={_short(getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            if field.name not in OPTIONAL or getattr(self, field.name) != field.default
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    def __repr__(self) -> str:
        return clipped(self, LONGEST)


def made(method: str, **settings: Any) -> Intervention:
    """The intervention of a method by its short name, such as "add", with its class's own arguments.

    Raises:
        ValueError: there is no such method, or an argument is not right for it.
    """
    if method not in METHODS:
        raise ValueError(f"A method is one of {', '.join(METHODS)}; got {method!r}.")
    kind: Any = METHODS[method]
    return kind(**settings)


def check_finite(name: str, value: Any) -> None:
    """Raise ValueError if a number or tensor holds NaN or infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is a finite number; got {value}.")
    if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name} holds finite numbers; got NaN or infinity in a tensor of shape {tuple(value.shape)}.")
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_finite(f"{name}[{key}]", item)


def fingerprint(value: Any) -> str:
    """A content hash of a value made of numbers, texts, tensors, sequences, and values with a fingerprint."""
    return hashlib.sha256(_bytes(value)).hexdigest()[:16]


def _bytes(value: Any) -> bytes:
    if isinstance(value, Intervention):
        parts = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        parts = [(name, one) for name, one in parts if not (name == "within" and one is None)]
        return type(value).__name__.encode() + b"(" + b",".join(n.encode() + b"=" + _bytes(v) for n, v in parts) + b")"
    if hasattr(value, "fingerprint"):
        return f"{type(value).__name__}:{value.fingerprint}".encode()
    if isinstance(value, Tensor):
        return hashlib.sha256(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()).digest()
    if isinstance(value, Mapping):
        return b"{" + b",".join(_bytes(k) + b":" + _bytes(value[k]) for k in sorted(value)) + b"}"
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(_bytes(item) for item in value) + b"]"
    return repr(value).encode()


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor{list(value.shape)}"
    if isinstance(value, Intervention):
        return str(value)
    if isinstance(value, float):
        return "infinity" if value >= 3e38 else f"{value:g}"
    if hasattr(value, "site") and hasattr(value, "vector"):
        return f"{getattr(value, 'name', '') or 'direction'}@{value.site}"
    return str(getattr(value, "name", value))
