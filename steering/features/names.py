"""Names of features, kept beside their index: made from what they fire on, or given by a person who tried them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..jobs.files import write_atomically

NAMES = "names.json"  # {"made": {feature: name}, "given": {feature: {"name": ..., "prompt": ..., ...}}}


@dataclass(frozen=True)
class GivenName:
    """A name that a person gave after reading the examples and clamping the feature, with what was seen."""

    name: str
    prompt: str = ""
    value: float = 0.0  # that it was clamped to
    seen: str = ""  # what the model then wrote


def write_names(folder: Path, made: dict[int, str], given: dict[int, GivenName] | None = None) -> Path:
    """Keep names beside an index; given ones that are there already stay."""
    kept = read_names(folder)[1] if given is None else given
    found = {"made": {str(number): made[number] for number in sorted(made)},
             "given": {str(number): vars(kept[number]) for number in sorted(kept)}}  # fmt: skip
    write_atomically(folder / NAMES, json.dumps(found, ensure_ascii=False, indent=0).encode())
    return folder / NAMES


def read_names(folder: Path) -> tuple[dict[int, str], dict[int, GivenName]]:
    """The made and the given names beside an index; none where there is no file, or one that is torn."""
    try:
        found = json.loads((folder / NAMES).read_text(encoding="utf-8"))
        made = {int(number): str(name) for number, name in found["made"].items()}
        given = {int(number): GivenName(**about) for number, about in found["given"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, {}
    return made, given
