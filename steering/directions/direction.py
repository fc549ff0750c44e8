"""A direction: a vector at a site, in the residual stream or in an SAE's feature space, and where it came from.

Directions are values: `+ - *` give new ones, `save` and `load` keep the provenance in the file's header, and `check`
refuses a model that the direction was not read from. `contrasts.py` makes one from prompt pairs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..models.hashing import same_weights
from ..models.model import Model
from ..models.tokenizing import all_well_formed, well_formed
from ..saes.sae import Sae
from ..showing.one_line import one_line, quoted
from ..sites import Site

MAX_BYTES = 64_000_000
_HEADER = "tiller"


@dataclass(frozen=True, eq=False)
class Direction:
    """A vector [d_model] at a site, or [d_sae] in the feature space of an SAE at that site.

    Attributes:
        vector: float32, on the CPU; never changed in place.
        provenance: plain data that JSON can hold: "model" (name, revision, loading mode, fingerprint), "sae", "method",
            "pairs" and so on; empty for a direction made by hand, which then fits every model of its width.

    Raises:
        ValueError: not one row of numbers, NaN or infinity, all zeros, or not the width or site of the SAE.
    """

    vector: Tensor  # [width]; a wrong shape is reported below, in words
    site: Site
    sae: Sae | None = None
    name: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        vector = torch.as_tensor(self.vector).detach().to("cpu", torch.float32, copy=True)
        object.__setattr__(self, "vector", vector)
        object.__setattr__(self, "site", Site.parse(self.site))
        object.__setattr__(self, "name", well_formed(self.name))
        object.__setattr__(self, "provenance", all_well_formed(dict(self.provenance)))
        if vector.ndim != 1:
            raise ValueError(f"A direction is one row of numbers; got a tensor of shape {tuple(vector.shape)}.")
        if not bool(vector.isfinite().all()):
            raise ValueError("A direction holds finite numbers; this one has NaN or infinity. Was it read in 16 bits?")
        if not bool(vector.any()):
            raise ValueError("A direction has a length; this vector is all zeros. Do the two sides differ at all?")
        for name in ("model", "sae", "pairs"):  # a file may say anything
            if not isinstance(self.provenance.get(name) or {}, Mapping):
                raise ValueError(f"A direction's provenance holds {name!r} as a table; got {self.provenance[name]!r}.")
        if self.sae is None:
            return
        if vector.numel() != self.sae.d_sae:
            raise ValueError(
                f"A direction in the features of {self.sae.name} has {self.sae.d_sae} entries; got {vector.numel()}."
            )
        if self.site != self.sae.site:
            raise ValueError(f"{self.sae.name} is at {self.sae.site}; the direction is at {self.site}.")
        known = self.provenance.get("sae")
        if known and known.get("fingerprint") not in (None, self.sae.fingerprint):
            raise ValueError(
                f"The direction was made in the features of {known.get('sae')!r} ({known['fingerprint']}); "
                f"{self.sae.name!r} ({self.sae.fingerprint}) is another SAE. Load the first one."
            )

    def __repr__(self) -> str:
        space = "features" if self.sae else "residual"
        size = f"width {self.vector.numel()}, norm {self.norm:.4g}"
        return one_line(self, quoted(self.name, 80), self.site, space, size)

    # What it is -----------------------------------------------------------------------------------------------------

    @cached_property
    def norm(self) -> float:
        """The Euclidean length, in the direction's own space."""
        return float(self.vector.double().norm())

    @cached_property
    def fingerprint(self) -> str:
        """A hash of vector, site and SAE: the same numbers at the same place, whatever they are called."""
        digest = hashlib.sha256(f"{self.site} {self.sae.fingerprint if self.sae else ''}".encode())
        digest.update(self.vector.contiguous().numpy().astype("<f4").tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def recipe(self) -> str:
        """What the direction was made from, as text without computed numbers; empty where that is not known.

        It is the same on every machine and in every dtype, where `fingerprint` differs with the last bit.
        """
        about = _stable(self.provenance)
        if not {"method", "made"} & set(about):
            return ""
        space = "features" if self.sae else "residual"
        place = {"site": str(self.site), "space": space, "width": self.vector.numel()}
        return json.dumps({**about, **place}, sort_keys=True, default=str)

    def decoded(self) -> Float[Tensor, "d_model"]:
        """What the direction is in the residual stream: itself, or v @ W_dec in feature space.

        For an SAE that rescales its input, in the SAE's units (`Sae.scale` of a token turns them into the stream's).

        Raises:
            ValueError: the features are a transcoder's, which are read at one site and written at another.
        """
        if self.sae is None:
            return self.vector
        self.sae.check_editable()
        return self.vector @ self.sae.rows.to("cpu", torch.float32)

    # Algebra --------------------------------------------------------------------------------------------------------

    def unit(self) -> Direction:
        """The direction of length 1."""
        return self._with(self.vector / self.norm, self.name, "unit", self)

    def __neg__(self) -> Direction:
        return self._with(-self.vector, f"-{self.name}", "negative", self)

    def __mul__(self, factor: float) -> Direction:
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            return NotImplemented
        if not math.isfinite(factor):
            raise ValueError(f"A direction is multiplied by a finite number; got {factor}.")
        return self._with(self.vector * factor, f"{factor:g} * {self.name}", f"times {factor!r}", self)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Direction:
        if isinstance(divisor, bool) or not isinstance(divisor, (int, float)):
            return NotImplemented
        if divisor == 0:
            raise ValueError("A direction cannot be divided by zero.")
        return self * (1 / divisor)

    def __add__(self, other: Direction) -> Direction:
        if not isinstance(other, Direction):
            return NotImplemented
        self._same_space(other)
        return self._with(self.vector + other.vector, f"{self.name} + {other.name}", "sum", self, other)

    def __sub__(self, other: Direction) -> Direction:
        if not isinstance(other, Direction):
            return NotImplemented
        self._same_space(other)
        return self._with(self.vector - other.vector, f"{self.name} - {other.name}", "difference", self, other)

    def top_k(self, k: int) -> Direction:
        """The direction with its k largest entries only, by absolute value (feature space).

        Raises:
            ValueError: the direction is in the residual stream, where single channels mean nothing, or k is below 1.
        """
        if self.sae is None:
            raise ValueError("top_k keeps features; this direction is in the residual stream. Build it with sae=...")
        if k < 1:
            raise ValueError(f"top_k keeps at least one feature; got {k}.")
        kept = self.vector.abs().topk(min(k, self.vector.numel())).indices
        sparse = torch.zeros_like(self.vector).index_copy(0, kept, self.vector[kept])
        return self._with(sparse, f"{self.name} (top {k})", f"top {k}", self)

    def _same_space(self, other: Direction) -> None:
        ours, theirs = self._space, other._space
        if ours != theirs:
            raise ValueError(f"Directions are added in one space; got {' '.join(ours)} and {' '.join(theirs)}.")
        if not same_weights(self.provenance.get("model") or {}, other.provenance.get("model") or {}):
            raise ValueError(
                f"Directions of one model are added; got {self.provenance['model']['model']!r} and "
                f"{other.provenance['model']['model']!r}. Re-home one with direction.for_model(lm)."
            )

    @property
    def _space(self) -> tuple[str, ...]:
        space = f"the features of {self.sae.name} ({self.sae.fingerprint})" if self.sae else "the residual stream"
        return space, f"at {self.site}", f"with width {self.vector.numel()}"

    def _with(self, vector: Tensor, name: str, how: str, *parts: Direction) -> Direction:
        kept = {key: part.provenance[key] for part in parts[::-1] for key in ("model", "sae") if key in part.provenance}
        made = {"made": how, "of": [{"fingerprint": part.fingerprint, **part.provenance} for part in parts]}
        return replace(self, vector=vector, name=name.strip(), provenance={**kept, **made})

    # Where it belongs -----------------------------------------------------------------------------------------------

    def check(self, model: Model) -> Direction:
        """The direction, if it belongs to the model.

        Raises:
            ValueError: the model lacks the site, has another width, or is not the one the direction was read from.
        """
        expected = model.width(model.check_site(self.site))
        width = self.sae.d_model if self.sae else self.vector.numel()
        if width != expected:
            raise ValueError(f"{self._called} has width {width}; {model.name} has width {expected}.")
        known = self.provenance.get("model")
        if known:
            for key, what in (("loading", "loaded in the mode"), ("fingerprint", "with the weights")):
                same = key == "fingerprint" and same_weights(known, model.identity)
                if not same and known.get(key) not in (None, model.identity[key]):
                    raise ValueError(
                        f"{self._called} was read from {known.get('model')!r} {what} {known[key]!r}; {model.name!r} is "
                        f"{what} {model.identity[key]!r}, where its numbers need not mean the same. If that is what "
                        "you want, use direction.for_model(lm)."
                    )
        return self

    def for_model(self, model: Model) -> Direction:
        """The same numbers, declared on purpose to belong to this model; the provenance says where they came from.

        Raises:
            ValueError: the model lacks the site, or has another width.
        """
        moved = {"moved_from": self.provenance["model"]} if "model" in self.provenance else {}
        return replace(self, provenance={**self.provenance, **moved, "model": model.identity}).check(model)

    @property
    def _called(self) -> str:
        return f"The direction {self.name!r}" if self.name else "The direction"

    # Files ----------------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """A safetensors file: the tensor "vector", and in the header name, site and provenance as JSON."""
        about: dict[str, Any] = {"name": self.name, "site": str(self.site), "provenance": dict(self.provenance)}
        if self.sae is not None:
            about["sae"] = self.sae.identity
        # One header key: safetensors orders several of them at random, and the same direction would get new bytes.
        try:
            text = json.dumps(about, sort_keys=True, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"Provenance is plain data that JSON can hold; this is not ({error}).") from error
        return save({"vector": self.vector.contiguous()}, metadata={_HEADER: text})

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file and returns its path."""
        path = Path(path).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(self.to_bytes())
        partial.replace(path)  # at once: a reader never sees half a file
        return path

    @classmethod
    def load(cls, path: str | Path, sae: Sae | None = None) -> Direction:
        """A direction from a file that `save` wrote; one in feature space needs its SAE.

        Raises:
            ValueError: no such file, no safetensors file, not one of Tiller's, the SAE is missing or another one.
        """
        path = Path(path).expanduser()
        if not path.is_file():
            raise ValueError(f"A direction is a .safetensors file; there is none at {str(path)!r}.")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"A direction has at most {MAX_BYTES // 10**6} MB; {path.name} is larger.")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                vector = file.get_tensor("vector") if "vector" in file.keys() else None  # noqa: SIM118  no mapping
        except SafetensorError as error:
            raise ValueError(
                f"Directions are read from safetensors files, never from pickles; {path.name!r} is none ({error})."
            ) from error
        try:
            about = json.loads(metadata[_HEADER])
            name, site, provenance = str(about["name"]), str(about["site"]), dict(about["provenance"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{path.name!r} has no header by Tiller, so its site is unknown. If you know it: "
                "Direction(safetensors.torch.load_file(path)[...], site)."
            ) from error
        if vector is None:
            raise ValueError(f"A direction's file holds a tensor named 'vector'; {path.name!r} has none.")
        wanted = about.get("sae")
        if wanted and sae is None:
            raise ValueError(
                f"{path.name!r} is a direction in the features of {wanted.get('sae')!r}; load that SAE and give it as "
                "Direction.load(path, sae=sae)."
            )
        if wanted:
            provenance.setdefault("sae", wanted)  # compared with the SAE given
        return cls(vector, Site.parse(site), sae if wanted else None, name, provenance)


# Of a provenance: hashes of weights and vectors, which depend on how they were rounded.
_UNSTABLE = ("model", "sae", "versions", "fingerprint", "like", "moved_from")


def _stable(provenance: Any) -> Any:
    """A provenance without what depends on rounding, and without computed numbers."""
    if isinstance(provenance, Mapping):
        # What has a hash is known by it, whatever it is called.
        out = {*_UNSTABLE, "name"} if "hash" in provenance else _UNSTABLE
        kept = {str(key): value for key, value in provenance.items() if key not in out}
        return {key: _stable(value) for key, value in kept.items() if not isinstance(value, float)}
    return [_stable(one) for one in provenance] if isinstance(provenance, list | tuple) else provenance


def random_like(direction: Direction, seed: int = 0) -> Direction:
    """The control: a random direction of the same norm, space and number of nonzero entries."""
    # Not `seed` alone: a random direction drawn with the same seed would be its own control. Not the numbers either,
    # where it is known what they came from: another processor rounds their last bits differently.
    drawn = hashlib.sha256(f"{direction.recipe or direction.fingerprint} {seed}".encode()).digest()[:6]
    generator = torch.Generator().manual_seed(int.from_bytes(drawn, "big"))
    width = direction.vector.numel()
    nonzero = int((direction.vector != 0).sum())
    vector = torch.randn(width, generator=generator)
    if nonzero < width:
        vector[torch.randperm(width, generator=generator)[nonzero:]] = 0
    vector = vector * (direction.norm / vector.norm())
    kept = {key: direction.provenance[key] for key in ("model", "sae") if key in direction.provenance}
    provenance = {**kept, "method": "random", "seed": seed, "like": direction.fingerprint}
    return Direction(vector, direction.site, direction.sae, f"random {seed} like {direction.name}".strip(), provenance)
