"""The dictionaries of a model on this machine: those that ship with it, and those that were trained here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor

from ...sites import Site
from ..loading import BUNDLED

WEIGHTS = "sae_weights.safetensors"
TRAINED = "dictionaries"  # the folder of what was trained here, in the data folder


@dataclass(frozen=True)
class KnownDictionary:
    """A dictionary on this disk: `release` and `id` as `load_sae` takes them, where it reads, what its folder says."""

    release: str
    id: str
    folder: Path
    site: Site
    architecture: str
    d_sae: int
    about: dict[str, Any]

    @property
    def name(self) -> str:
        """A short name for a person: the site, what sets it apart, and whose training it was."""
        rest = self.id.removeprefix(str(self.site)).lstrip(".") or self.architecture
        made = "" if Path(self.release).name == self.release else f" · {Path(self.release).name}"
        return f"layer {self.site.layer} {self.site.stream.removeprefix('resid_')} · {rest}{made}"

    def measure(self, name: str) -> float | None:
        """A measure that was saved with it, or None."""
        value = self.about.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def rows(self) -> Float[Tensor, "d_sae d_in"]:
        """The decoder's rows: what each feature writes."""
        with safe_open(self.folder / WEIGHTS, "pt") as file:
            return file.get_tensor("W_dec").float()


def known_dictionaries(model: str, home: Path) -> list[KnownDictionary]:
    """The dictionaries of a model by its name, shipped ones first, then by the training and the site."""
    shipped = [("", path) for path in sorted((BUNDLED / Path(model).name).glob("*/cfg.json"))]
    own = [(str(path.parent.parent), path) for path in sorted((home / TRAINED).glob("*/*/cfg.json"))]
    found = [_read(release or path.parent.parent.name, path) for release, path in [*shipped, *own]]
    return [one for one in found if one is not None and one.about.get("model_name") == model]


def at_site(known: Sequence[KnownDictionary], one: KnownDictionary) -> list[KnownDictionary]:
    """The others that read where this one reads."""
    return [other for other in known if other.site == one.site and other.folder != one.folder]


def _read(release: str, config: Path) -> KnownDictionary | None:
    """What a folder says; None for one that is torn or of another kind."""
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
        about, folder = found["metadata"], config.parent
        kind = str(about.get("training_architecture") or found["architecture"])
        site = Site.parse(about["hook_name"])
        if not (folder / WEIGHTS).is_file():
            return None
        return KnownDictionary(release, folder.name, folder, site, kind, int(found["d_sae"]), about)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stability_of(one: KnownDictionary, others: Sequence[KnownDictionary]) -> Float[Tensor, " d_sae"] | None:
    """For each feature its mean best cosine in the other dictionaries of its site; None where there is no other."""
    from .matching import stability

    rows = [other.rows() for other in others]
    return stability(one.rows(), [torch.as_tensor(part) for part in rows]) if rows else None
