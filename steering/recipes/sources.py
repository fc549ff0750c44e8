"""The source of a direction and how it is read, as plain data: a pair set, two texts, or the Library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..sites import STREAMS

CONTRASTS = {"mean_difference": "Mean difference", "pca": "PCA of pairs", "probe": "Logistic probe", "lda": "LDA"}
POSITIONS = {
    "completion_mean": "Mean over the answer",
    "prompt_mean": "Mean over the prompt",
    "prompt_last": "Last token of the prompt",
    "last": "Last token",
    "differing": "The one token that differs",
}
SPACES = {"residual": "Residual stream", "feature": "SAE features"}
MAX_TEXT = 4000


def position_of(text: str) -> str | int:
    """Where a direction is read, as the package takes it: a name, or an index that stands in a recipe as text."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def shown_position(text: str) -> str:
    """A position's name, for a reader."""
    return POSITIONS.get(text) or f"Token {text}"


@dataclass(frozen=True)
class Source:
    """The source of a direction, and how and where it is read.

    Attributes:
        direction: "pairs:NAME" (a pair set), "saved:ID" (the Library), "texts" (the difference of two texts), or, for
            the second direction of a step, "random:SEED" (a random one like the step's own) and "negative" (the mean
            of the negative texts that the step's own direction was made from).
        contrast: how it is made from a pair set; two texts are one pair, whose contrast is always their difference.
        position: where in a pair's texts it is read: a name of POSITIONS, or an index as text.
        layer: None stands for the model's middle layer, so that a recipe fits models of any depth.
        top_k: keep only so many features of a direction in feature space; 0 keeps all.
    """

    direction: str = "pairs:"
    contrast: str = "mean_difference"
    space: str = "residual"
    position: str = "completion_mean"
    layer: int | None = None
    stream: str = "resid_post"
    positive: str = ""
    negative: str = ""
    top_k: int = 0

    def __post_init__(self) -> None:
        for name, known in (("contrast", CONTRASTS), ("space", SPACES), ("stream", STREAMS)):
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in known:
                raise ValueError(f"A step's {name} is one of {', '.join(known)}; got {getattr(self, name)!r}.")
        for name in ("direction", "position", "positive", "negative"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"A step's {name} is text; got {getattr(self, name)!r}.")
        if self.position not in POSITIONS and not isinstance(position_of(self.position), int):
            raise ValueError(
                f"A step's position is one of {', '.join(POSITIONS)}, or an index as text; got {self.position!r}."
            )
        if self.layer is not None and (
            isinstance(self.layer, bool) or not isinstance(self.layer, int) or not 0 <= self.layer < 1000
        ):
            raise ValueError(f"A step's layer is a block's number from 0 on; got {self.layer!r}.")
        if isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or self.top_k < 0:
            raise ValueError(f"A step's top_k is a number of features, or 0 for all; got {self.top_k!r}.")
        if max(len(self.positive), len(self.negative), len(self.direction)) > MAX_TEXT:
            raise ValueError(f"A step's texts have at most {MAX_TEXT} characters.")
        if self.direction == "texts":
            object.__setattr__(self, "contrast", "mean_difference")

    @property
    def kind(self) -> str:
        """What it is made from: "pairs", "saved", "texts", "random" or "negative"."""
        return self.direction.partition(":")[0]

    @property
    def name(self) -> str:
        """The pair set's name, the Library's id or the seed."""
        return self.direction.partition(":")[2]

    @property
    def read_at(self) -> Any:
        """The position as the package takes it."""
        return position_of(self.position)

    def to_data(self) -> dict[str, Any]:
        """JSON data; defaults are left out."""
        return {name: value for name, value in asdict(self).items() if value != DEFAULTS[name]}

    @classmethod
    def from_data(cls, data: Any) -> Source:
        """The source of JSON data.

        Raises:
            ValueError: a setting that there is not, or a value that it cannot have.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"Where a direction comes from is a table of settings; got {data!r}.")
        if unknown := sorted(set(map(str, data)) - set(DEFAULTS)):
            raise ValueError(f"A direction has no setting {unknown[0]!r}; known are {', '.join(DEFAULTS)}.")
        return cls(**data)


DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Source)}
