"""The few kinds of change that all methods are made of.

Most methods are one formula, h' = h + g(h . read) write, with g linear plus one kink: addition, ablation, affine
ablation and the regulator differ in four numbers only. In SAE space the same holds for the features, and the change of
features is written back with the decoder's rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..saes.sae import Sae, SaeSlice
from .protocol import Effect


class _Stackable:
    """Stacks field by field along `rows`."""

    has_threshold = False

    @property
    def kind(self) -> Any:
        return type(self)

    @classmethod
    def stack(cls, edits: Sequence[Self]) -> Self:
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        return cls(**{name: torch.cat([getattr(edit, name) for edit in edits]) for name in names})


@dataclass(frozen=True, eq=False)
class RankOne(_Stackable):
    """h' = h + (offset + slope p + kink relu(p - tau)) write, with p = h . read.

    Addition is an offset; ablation is slope -1; the regulator is kink -lambda. An edit without a threshold has tau at
    infinity; one with a threshold says where it is crossed even if its kink is 0.
    """

    read: Float[Tensor, "rows d_model"]
    write: Float[Tensor, "rows d_model"]
    offset: Float[Tensor, "rows"]
    slope: Float[Tensor, "rows"]
    kink: Float[Tensor, "rows"]
    tau: Float[Tensor, "rows"]

    @classmethod
    def make(
        cls,
        write: Float[Tensor, "d_model"],
        read: Float[Tensor, "d_model"] | None = None,
        *,
        offset: float = 0.0,
        slope: float = 0.0,
        kink: float = 0.0,
        tau: float = math.inf,
    ) -> RankOne:
        write = write.float()
        numbers = (
            torch.tensor([value], dtype=torch.float32, device=write.device) for value in (offset, slope, kink, tau)
        )
        read = torch.zeros_like(write) if read is None else read.float()
        return cls(read[None], write[None], *numbers)

    @property
    def has_threshold(self) -> bool:
        return self._kinks

    # What the whole stack needs is looked at once, when it is built, and not in every step.
    @cached_property
    def _reads(self) -> bool:
        return self._kinks or bool((self.slope != 0).any())

    @cached_property
    def _kinks(self) -> bool:
        return bool((self.tau < math.inf).any())

    @cached_property
    def _columns(self) -> tuple[Tensor, ...]:
        """offset, slope, kink and tau as columns; the read vector as a matrix; the write vector as a row, its norm."""
        numbers = (self.offset[:, None], self.slope[:, None], self.kink[:, None], self.tau[:, None])
        return (*numbers, self.read[:, :, None], self.write[:, None, :], self.write.norm(dim=-1, keepdim=True))

    def __call__(self, h: Float[Tensor, "rows pos d_model"], positions: Int[Tensor, "rows pos"]) -> Effect:
        offset, slope, kink, tau, read, write, norm = self._columns
        fired = None
        if self._reads:
            p = torch.bmm(h, read).squeeze(-1)
            gain = torch.addcmul(offset, slope, p)
            if self._kinks:
                excess = (p - tau).relu()
                gain = torch.addcmul(gain, kink, excess)
                fired = excess > 0
        else:
            gain = offset.expand(h.shape[:2])
        return Effect(torch.addcmul(h, gain[..., None], write), gain.abs() * norm, fired)


@dataclass(frozen=True, eq=False)
class FeatureEdit:
    """Edits of SAE features, written back as `change @ rows`, so that the SAE's error stays (unless `drop`).

    With f the activations of `features`, p = f . v: change = (slope p + kink relu(p - tau)) v + add + scale * f;
    with `nonneg` a feature is not pushed below zero.
    """

    sae: Sae
    features: tuple[int, ...]
    v: Float[Tensor, "rows k"]
    slope: Float[Tensor, "rows"]
    kink: Float[Tensor, "rows"]
    tau: Float[Tensor, "rows"]
    add: Float[Tensor, "rows k"]
    scale: Float[Tensor, "rows k"]
    nonneg: Bool[Tensor, "rows"]
    drop: Bool[Tensor, "rows"]

    @classmethod
    def make(
        cls,
        sae: Sae,
        features: Sequence[int],
        *,
        v: Sequence[float] | Tensor | None = None,
        slope: float = 0.0,
        kink: float = 0.0,
        tau: float = math.inf,
        add: Sequence[float] | Tensor | None = None,
        scale: Sequence[float] | Tensor | None = None,
        nonneg: bool = False,
        drop: bool = False,
    ) -> FeatureEdit:
        sae.check_editable()
        device = sae.W_dec.device

        def row(values: Sequence[float] | Tensor | None) -> Tensor:
            values = [0.0] * len(features) if values is None else values
            return torch.as_tensor(values, dtype=torch.float32, device=device)[None]

        numbers = {"slope": float(slope), "kink": float(kink), "tau": float(tau), "nonneg": nonneg, "drop": drop}
        vectors = {name: torch.tensor([value], device=device) for name, value in numbers.items()}
        return cls(sae, tuple(map(int, features)), v=row(v), add=row(add), scale=row(scale), **vectors)

    @property
    def kind(self) -> Any:
        return type(self), id(self.sae)

    @property
    def has_threshold(self) -> bool:
        return self._needs["kink"]

    @classmethod
    def stack(cls, edits: Sequence[FeatureEdit]) -> FeatureEdit:
        """All rows over the union of their features: one encoding for all."""
        union = sorted({feature for edit in edits for feature in edit.features})
        place = {feature: column for column, feature in enumerate(union)}

        def spread(name: str) -> Tensor:
            out = torch.zeros(len(edits), len(union), device=edits[0].v.device)
            for row, edit in enumerate(edits):
                out[row, [place[feature] for feature in edit.features]] = getattr(edit, name)[0]
            return out

        if all(edit.features == tuple(union) for edit in edits):
            matrices = {name: torch.cat([getattr(edit, name) for edit in edits]) for name in ("v", "add", "scale")}
        else:
            matrices = {name: spread(name) for name in ("v", "add", "scale")}
        rest = ("slope", "kink", "tau", "nonneg", "drop")
        vectors = {name: torch.cat([getattr(edit, name) for edit in edits]) for name in rest}
        return cls(edits[0].sae, tuple(union), **matrices, **vectors)

    @cached_property
    def _needs(self) -> dict[str, bool]:
        return {
            "v": bool((self.v != 0).any()),
            "kink": bool((self.tau < math.inf).any()),
            "slope": bool((self.slope != 0).any()),
            "direct": bool((self.add != 0).any() or (self.scale != 0).any()),
            "nonneg": bool(self.nonneg.any()),
            "drop": bool(self.drop.any()),
        }

    @cached_property
    def _part(self) -> SaeSlice:
        return self.sae.features(self.features)

    @cached_property
    def _write(self) -> tuple[Tensor, Tensor] | None:
        """What one unit of the gain writes, and its norm, if that is the same at every token."""
        needs = self._needs
        if not needs["v"] or needs["direct"] or needs["nonneg"] or needs["drop"] or self.sae.normalizes:
            return None
        write = self.v @ self._part.rows
        return write[:, None, :], write.norm(dim=-1, keepdim=True)

    def __call__(self, h: Float[Tensor, "rows pos d_model"], positions: Int[Tensor, "rows pos"]) -> Effect:
        needs, part = self._needs, self._part
        f = part.encode(h).float()
        change: Tensor | None = None
        fired = None
        if needs["v"]:
            p = torch.bmm(f, self.v[:, :, None]).squeeze(-1)
            gain = self.slope[:, None] * p if needs["slope"] else torch.zeros_like(p)
            if needs["kink"]:
                excess = (p - self.tau[:, None]).relu()
                gain = torch.addcmul(gain, self.kink[:, None], excess)
                fired = excess > 0
            if self._write is not None:
                write, norm = self._write
                return Effect(torch.addcmul(h, gain[..., None], write), gain.abs() * norm, fired)
            change = gain[..., None] * self.v[:, None, :]
        if needs["direct"]:
            direct = torch.addcmul(self.add[:, None, :], self.scale[:, None, :], f)
            change = direct if change is None else change + direct
        if change is None:
            change = torch.zeros_like(f)
        if needs["nonneg"]:
            change = torch.where(self.nonneg[:, None, None], (f + change).relu() - f, change)
        delta = change @ part.rows
        factor = self.sae.scale(h)
        if factor is not None:
            delta = delta * factor
        if needs["drop"]:
            error = h - self.sae.reconstruct(h).float()
            delta = torch.where(self.drop[:, None, None], delta - error, delta)
        return Effect(h + delta, torch.linalg.vector_norm(delta, dim=-1), fired)


@dataclass(frozen=True, eq=False)
class Gain(_Stackable):
    """h' = h * (1 + gain), one gain a channel (SARA)."""

    gain: Float[Tensor, "rows d_model"]

    def __call__(self, h: Float[Tensor, "rows pos d_model"], positions: Int[Tensor, "rows pos"]) -> Effect:
        delta = h * self.gain[:, None, :]
        return Effect(h + delta, torch.linalg.vector_norm(delta, dim=-1))


@dataclass(frozen=True, eq=False)
class SignGain(_Stackable):
    """SARA on a single token, as the authors' code does it with a cache: K = 1, so a cosine is a product of signs.

    gain = alpha sign(u) (sign(attract) - sign(repel)) with u the token's left singular vector, whose sign is LAPACK's.
    """

    contrast: Float[Tensor, "rows d_model"]

    def __call__(self, h: Float[Tensor, "rows pos d_model"], positions: Int[Tensor, "rows pos"]) -> Effect:
        u = torch.linalg.svd(h[..., None], full_matrices=False).U[..., 0]
        delta = h * u.sign() * self.contrast[:, None, :]
        return Effect(h + delta, torch.linalg.vector_norm(delta, dim=-1))


@dataclass(frozen=True, eq=False)
class Rotation(_Stackable):
    """h' = h - P h + |P h| (cos theta b1 + sin theta b2) in the plane of b1, b2; the norm of h does not change.

    `adaptive` rows turn only tokens with h . b1 > 0.
    """

    b1: Float[Tensor, "rows d_model"]
    b2: Float[Tensor, "rows d_model"]
    target: Float[Tensor, "rows d_model"]
    adaptive: Bool[Tensor, "rows"]

    @property
    def has_threshold(self) -> bool:
        return bool(self.adaptive.any())

    def __call__(self, h: Float[Tensor, "rows pos d_model"], positions: Int[Tensor, "rows pos"]) -> Effect:
        x = torch.bmm(h, self.b1[:, :, None])
        y = torch.bmm(h, self.b2[:, :, None])
        radius = (x.square() + y.square()).sqrt()
        delta = radius * self.target[:, None, :] - x * self.b1[:, None, :] - y * self.b2[:, None, :]
        turned = (x.squeeze(-1) > 0) | ~self.adaptive[:, None]
        delta = torch.where(turned[..., None], delta, torch.zeros((), device=h.device))
        return Effect(h + delta, torch.linalg.vector_norm(delta, dim=-1), turned)


@dataclass(frozen=True, eq=False)
class AtPositions:
    """h' = h + difference[t - start] at absolute positions t from start on (a prompt contrast)."""

    difference: Float[Tensor, "rows k d_model"]
    start: Int[Tensor, "rows"]
    has_threshold = False

    @property
    def kind(self) -> Any:
        return type(self)

    @classmethod
    def stack(cls, edits: Sequence[AtPositions]) -> AtPositions:
        longest = max(edit.difference.shape[1] for edit in edits)
        padded = [
            torch.nn.functional.pad(edit.difference, (0, 0, 0, longest - edit.difference.shape[1])) for edit in edits
        ]
        return cls(torch.cat(padded), torch.cat([edit.start for edit in edits]))

    def __call__(self, h: Float[Tensor, "rows pos d_model"], positions: Int[Tensor, "rows pos"]) -> Effect:
        length = self.difference.shape[1]
        index = positions - self.start[:, None]
        inside = (index >= 0) & (index < length)
        index = index.clamp(0, length - 1)[..., None].expand(-1, -1, h.shape[-1])
        delta = self.difference.gather(1, index) * inside[..., None]
        return Effect(h + delta, torch.linalg.vector_norm(delta, dim=-1))
