"""Leakage of an ablation: removing u changes the projection on every direction that is not orthogonal to u.

a' = a - (a . u) u changes a . w by -(a . u)(u . w). With a = x b + y c and u = (b - d) / sqrt 2 (b, c, d orthonormal),
a' = (x/2) b + y c + (x/2) d: the ablation has written half of x onto d, of which there was nothing, and later layers
that read d see something that was not there.

An oblique projection a' = a - (a . u) r with r . u = 1 removes u as well, and does not change directions to which r is
orthogonal. LEACE (Belrose et al. 2023) is the one that changes activations least, in expectation, while no linear
reader can separate two classes afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...models.model import Model, Prompt
from ...saes.sae import Sae
from ..direction import Direction
from .tokens import tokens_of


@dataclass(frozen=True)
class Leak:
    """How an ablation moved the projection on one other direction, over tokens.

    Attributes:
        cosine: of the ablated direction with this one.
        before, after: the root mean square of the projection on it.
        moved: the root mean square of its change.
    """

    name: str
    cosine: float
    before: float
    after: float
    moved: float


@dataclass(frozen=True)
class LeastLeak:
    """A way of taking a direction out that leaves others alone: a' = a - ((a - center) . read) * write.

    For any activation the part that `read` finds is 0 afterwards (where read . write = 1).
    """

    read: Float[Tensor, " d_model"]
    write: Float[Tensor, " d_model"]
    center: Float[Tensor, " d_model"]

    def __call__(self, a: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """The activations without what `read` finds."""
        a, read = a.double(), self.read.double()
        return a - ((a - self.center.double()) @ read)[..., None] * self.write.double()

    def __repr__(self) -> str:
        return f"LeastLeak(width {len(self.read)}, |read| {self.read.norm():.3g}, |write| {self.write.norm():.3g})"


def moved_projections(
    before: Float[Tensor, "n d_model"],
    after: Float[Tensor, "n d_model"],
    others: Mapping[str, Float[Tensor, " d_model"]],
    ablated: Float[Tensor, " d_model"],
) -> list[Leak]:
    """How the projections on each named direction moved between two sets of activations, the most moved first."""
    before, after = before.double(), after.double()
    u = ablated.double() / ablated.double().norm()
    found = []
    for name, vector in others.items():
        w = vector.double() / vector.double().norm()
        was, now = before @ w, after @ w
        rms = lambda x: float(x.square().mean().sqrt())  # noqa: E731
        found.append(Leak(name, float(u @ w), rms(was), rms(now), rms(now - was)))
    return sorted(found, key=lambda leak: -leak.moved)


def leakage(
    lm: Model, direction: Direction, others: Sequence[Direction], texts: Sequence[Prompt], *, sae: Sae | None = None
) -> list[Leak]:
    """What ablating a direction at its site does to the projections on others, over the tokens of texts.

    Args:
        others: directions at the same site; each is named by its name.
        sae: an SAE at the same site: what its features read is reported too, as "feature 17", by their activations.

    Raises:
        ValueError: nothing to compare with, a direction at another site, no text.
    """
    if not others and sae is None:
        raise ValueError("A leak is seen on other directions or on an SAE's features; got neither.")
    u = direction.check(lm).decoded().double()
    a = tokens_of(lm, texts, direction.site).double()
    u = u / u.norm()
    after = a - (a @ u)[:, None] * u
    for other in others:
        if other.site != direction.site:
            raise ValueError(f"Directions are compared at one site; got {direction.site} and {other.site}.")
    named = {other.name or f"direction {k + 1}": other.check(lm).decoded() for k, other in enumerate(others)}
    found = moved_projections(a, after, named, u)
    if sae is not None:
        if sae.site != direction.site:
            raise ValueError(f"The SAE reads at {sae.site}; the direction is at {direction.site}.")
        was, now = (
            sae.encode(a.float().to(lm.device)).cpu().double(),
            sae.encode(after.float().to(lm.device)).cpu().double(),
        )
        change = (now - was).square().mean(0).sqrt()
        for number in change.topk(min(20, len(change))).indices.tolist():
            if float(change[number]) == 0:
                break
            row = sae.rows[number].double().cpu()
            cosine = float(u @ (row / row.norm().clamp_min(1e-30)))
            rms = [float(side[:, number].square().mean().sqrt()) for side in (was, now)]
            found.append(Leak(f"feature {number}", cosine, rms[0], rms[1], float(change[number])))
    return found


def oblique(
    direction: Float[Tensor, " d_model"],
    protected: Float[Tensor, "m d_model"],
    center: Float[Tensor, " d_model"] | None = None,
) -> LeastLeak:
    """Take a direction out without moving the projections on protected ones.

    r is the direction less its part in their span, scaled so that r . u = 1.

    Raises:
        ValueError: the direction lies in the span of the protected ones, so that both cannot be had.
    """
    u = direction.double() / direction.double().norm()
    q, s, _ = torch.linalg.svd(protected.double().T, full_matrices=False)
    q = q[:, s > s.max().clamp_min(1e-30) * 1e-9]
    r = u - q @ (q.T @ u)
    overlap = float(r @ u)
    if overlap < 1e-6:
        raise ValueError("The direction lies in the span of the protected ones; it cannot go while they stay.")
    c = torch.zeros_like(u) if center is None else center.double()
    return LeastLeak(u.float(), (r / overlap).float(), c.float())


def leace(positive: Float[Tensor, "n d_model"], negative: Float[Tensor, "m d_model"], ridge: float = 1e-6) -> LeastLeak:
    """Least-squares concept erasure of two classes (Belrose et al. 2023, theorem 4.3, one label).

    a' = a - ((a - mean) . w) delta, with delta the difference of the class means, S the covariance of all rows and
    w = S^-1 delta / (delta' S^-1 delta): afterwards both classes have one mean, and no linear reader
    does better than a constant.

    Raises:
        ValueError: a class without two rows, or two classes with one mean.
    """
    if min(len(positive), len(negative)) < 2:
        raise ValueError(f"Two classes have at least two rows each; got {len(positive)} and {len(negative)}.")
    p, q = positive.double(), negative.double()
    both = torch.cat([p, q])
    mean = both.mean(0)
    delta = p.mean(0) - q.mean(0)
    if float(delta.norm()) == 0:
        raise ValueError("Both classes have the same mean; there is nothing to erase.")
    x = both - mean
    covariance = x.T @ x / len(x)
    covariance += ridge * covariance.diagonal().mean() * torch.eye(len(mean), dtype=torch.float64)
    w = torch.linalg.solve(covariance, delta)
    return LeastLeak((w / (delta @ w)).float(), delta.float(), mean.float())
