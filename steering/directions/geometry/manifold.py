"""The manifold: the subspace that a text's activations span, and directions restricted to it.

X = U S V^T over tokens; the first rows of V^T that hold a share of the energy are the basis, P = V V^T. A direction
inside that span moves activations only along what occurs. It can still exaggerate: ten times a typical deviation lies
in the span, and no text goes there. So the share of a direction on the manifold says where it points, not that it is
safe.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...models.model import Model, Prompt
from ...sites import Site
from ..direction import Direction
from .tokens import tokens_of

# A token whose activation is so many times the median length is left out: it would be most of the energy.
MASSIVE = 10.0


@dataclass(frozen=True, eq=False)
class Manifold:
    """An orthonormal basis of what activations at a site span, the direction of most energy first.

    Attributes:
        basis: orthonormal rows.
        energy: the share of the squared activations in the span.
        singular_values: of all directions that occur, also of those left out.
        left_out: tokens that were left out as massive (BOS and the like).
    """

    site: Site
    basis: Float[Tensor, "k d_model"]
    energy: float
    singular_values: Float[Tensor, " r"]
    tokens: int
    left_out: int = 0

    def __repr__(self) -> str:
        k, d = self.basis.shape
        return f"Manifold({self.site}, {k} of {d} dimensions hold {self.energy:.0%} of {self.tokens} tokens' energy)"

    def project(self, vectors: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """The part of each vector inside the span: P v."""
        basis = self.basis.to(vectors.device, torch.float64)
        return ((vectors.double() @ basis.T) @ basis).to(vectors.dtype)

    def share(self, vectors: Float[Tensor, "*batch d_model"]) -> float:
        """|P v|^2 / |v|^2 (summed over several): 1 for a vector inside the span, about k / d_model for a random one."""
        v = vectors.double()
        return float(self.project(v).square().sum() / v.square().sum().clamp_min(1e-30))

    @property
    def fingerprint(self) -> str:
        """A hash of the site and the basis."""
        return hashlib.sha256(str(self.site).encode() + self.basis.contiguous().numpy().tobytes()).hexdigest()[:16]

    @cached_property
    def dimensions(self) -> float:
        """The effective number of dimensions, (sum s^2)^2 / sum s^4 (the participation ratio)."""
        squares = self.singular_values.double().square()
        return float(squares.sum() ** 2 / squares.square().sum().clamp_min(1e-300))


@dataclass(frozen=True, eq=False)
class OnManifold:
    """A direction restricted to a manifold, and how much of it was there."""

    direction: Direction
    share: float
    manifold: Manifold

    def __repr__(self) -> str:
        return (
            f"OnManifold({self.direction.name!r}, {self.share:.1%} of it in {self.manifold.basis.shape[0]} dimensions)"
        )


def spanned(
    x: Float[Tensor, "tokens d_model"], site: Site, *, energy: float = 0.9, k: int | None = None, center: bool = False
) -> Manifold:
    """The manifold of given activations: the fewest principal directions that hold `energy`, or the first k.

    By hand: rows (3, 0), (0, 1), (0, 0) have singular values 3 and 1, so energy 0.9 is held by the first axis (9 / 10).

    Raises:
        ValueError: no activations, energy outside (0, 1], k below 1.
    """
    if not 0 < energy <= 1:
        raise ValueError(f"The energy to hold is a share above 0 and at most 1; got {energy}.")
    if k is not None and k < 1:
        raise ValueError(f"A manifold has at least one dimension; got k={k}.")
    if not len(x):
        raise ValueError("A manifold is spanned by activations; there are none.")
    x = x.double()
    norms = x.norm(dim=-1)
    usual = norms <= MASSIVE * norms.median()
    x = x[usual]
    if center:
        x = x - x.mean(0)
    _, s, vh = torch.linalg.svd(x, full_matrices=False)
    occupied = int((s > s[0] * 1e-9).sum()) if len(s) and float(s[0]) > 0 else 0
    if not occupied:
        raise ValueError("A manifold is spanned by activations that differ from 0; all of these are 0.")
    held = s.square().cumsum(0) / s.square().sum()
    if k is None:
        k = int(np.searchsorted(held.numpy(), energy - 1e-12)) + 1
    k = min(k, occupied)
    return Manifold(site, vh[:k].float(), float(held[k - 1]), s.float(), len(x), int((~usual).sum()))


def manifold(
    lm: Model,
    texts: Sequence[Prompt],
    site: Site,
    *,
    energy: float = 0.9,
    k: int | None = None,
    center: bool = False,
) -> Manifold:
    """What the activations at a site span over texts; massive tokens (the first, mostly) are left out.

    Args:
        energy: the share of the squared activations that the span holds; or give k, its dimensions.
        center: of the deviations from the mean instead of the activations themselves.

    Raises:
        ValueError: no text; what `spanned` refuses.
    """
    site = lm.check_site(Site.parse(site))
    x = tokens_of(lm, texts, site, first=True)  # massive ones are left out by their length
    return spanned(x, site, energy=energy, k=k, center=center)


def on_manifold(
    direction: Direction,
    lm: Model,
    texts: Sequence[Prompt],
    *,
    energy: float = 0.9,
    k: int | None = None,
    same_norm: bool = True,
) -> OnManifold:
    """A direction restricted to what texts' activations at its site span, and the share of it that was there.

    Args:
        same_norm: of the direction's own length again, so that strengths stay comparable.

    Raises:
        ValueError: nothing of the direction is in the span; what `manifold` refuses.
    """
    span = manifold(lm, texts, direction.check(lm).site, energy=energy, k=k)
    vector = direction.decoded()
    share, inside = span.share(vector), span.project(vector)
    if share < 1e-9:
        raise ValueError(f"Nothing of {direction.name!r} lies in the {len(span.basis)} dimensions that the texts span.")
    if same_norm:
        inside = inside * (vector.norm() / inside.norm())
    kept = {"model": direction.provenance["model"]} if "model" in direction.provenance else {"model": lm.identity}
    about = {
        **kept, "method": "on-manifold", "of": {"fingerprint": direction.fingerprint, "name": direction.name},
        "energy": span.energy, "k": len(span.basis), "share": share,
    }  # fmt: skip
    return OnManifold(Direction(inside, direction.site, None, f"{direction.name} on-manifold", about), share, span)
