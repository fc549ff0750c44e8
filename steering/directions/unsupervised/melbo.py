"""MELBO: steering vectors of a fixed length that change a later layer as much as possible, found by gradient ascent.

    maximize  sum_i ( sum_t | Z_it(theta) - Z_it(0) |_2^p )^(1/q)   with |theta| = R, theta orthogonal to earlier ones

over prompts i and tokens t (Mack and Turner 2024, "Mechanistically eliciting latent behaviors"). The inner norm is over
channels; the authors' code takes it over tokens, which is the same for p = 2 only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...models.model import Model, Prompt
from ...sites import Site
from ..direction import Direction
from .found import FoundVectors
from .response import MOST_TOKENS, Response, Tick, random_units


@dataclass(frozen=True, eq=False)
class MelboVectors(FoundVectors):
    """Found vectors of length R, in the order in which each is orthogonal to those before.

    Attributes:
        objective: what each reaches; `start` is what its random start had, so what was gained can be seen.
    """

    objective: Float[Tensor, " n"]
    start: Float[Tensor, " n"]
    norm: float

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.3g}" for value in self.objective[:4].tolist())
        return f"MelboVectors({len(self)} at {self.directions[0].site}, norm {self.norm:.3g}, objective {shown}, ...)"


def objective(
    moved: Sequence[Float[Tensor, "n pos d"]], plain: Sequence[Float[Tensor, "1 pos d"]], p: float, q: float
) -> Float[Tensor, " n"]:
    """sum_i ( sum_t |moved - plain|^p )^(1/q) for each row, over the prompts i.

    By hand, one prompt, p = q = 2: changes (3, 4) and (0, 0) at two tokens give (25 + 0)^(1/2) = 5.
    """
    total = torch.zeros(len(moved[0]), device=moved[0].device)
    for one, base in zip(moved, plain, strict=True):
        # The gradient of a length at 0 is NaN; a token that does not move adds 0.
        squared = (one - base).square().sum(-1)
        total = total + (squared + 1e-20).pow(p / 2).sum(-1).pow(1 / q)
    return total


def melbo(
    lm: Model,
    prompts: Sequence[Prompt],
    source: Site,
    target: Site,
    *,
    n: int = 16,
    norm: float,
    p: float = 2.0,
    q: float | None = None,
    steps: int = 100,
    rate: float = 0.1,
    last: int | None = None,
    within: Float[Tensor, "m d_model"] | None = None,
    seed: int = 0,
    tick: Tick | None = None,
) -> MelboVectors:
    """n vectors of length `norm` at `source`, orthogonal to one another, that change `target` most on these prompts.

    All of them climb together as rows of one batch; after each step row i is made orthogonal to the rows before it.
    The best step is kept, so no vector is worse than its random start.

    Args:
        norm: R; `linear_range` finds one at which the response is half non-linear.
        p, q: the exponents; q is p where it is not given.
        rate: the first step, as a share of R; it falls to 0 along a cosine.
        last: only the last tokens of each prompt are looked at; None for all.
        within: rows that span a subspace to search in, orthonormal.

    Raises:
        ValueError: norm not above 0, p or q below 1, more vectors than dimensions; what `Response` refuses.
    """
    start = time.perf_counter()
    q = p if q is None else q
    if not norm > 0:
        raise ValueError(f"The length of the vectors is above 0; got norm={norm}.")
    if p < 1 or q < 1:
        raise ValueError(f"The exponents p and q are at least 1; got p={p}, q={q}.")
    response = Response(lm, prompts, source, target, last)
    room = response.d_in if within is None else len(within)
    if not 1 <= n <= room:
        raise ValueError(f"There are 1 to {room} vectors orthogonal to one another; got n={n}.")
    with torch.no_grad():
        plain = response.by_token(torch.zeros(1, response.d_in, device=lm.device))
    theta = _on_sphere(random_units(n, response.d_in, seed).to(lm.device), norm, within)
    kept, reached, first = theta, torch.full((n,), -torch.inf, device=lm.device), None
    first_moment, second_moment = torch.zeros_like(theta), torch.zeros(n, 1, device=lm.device)
    size, passes = max(1, MOST_TOKENS // max(map(len, response.tokens))), 0
    for step in range(steps + 1):
        if tick is not None:
            tick(step, steps, f"Step {step} of {steps}")
        values, gradient = [], []
        for rows in range(0, n, size):
            part = theta[rows : rows + size].detach().requires_grad_(True)
            with torch.enable_grad():
                value = objective(response.by_token(part), plain, p, q)
                (slope,) = torch.autograd.grad(value.sum(), part)
            values.append(value.detach())
            gradient.append(slope)
        value, slope = torch.cat(values), torch.cat(gradient)
        passes += 2 * n * len(response.tokens)
        first = value if first is None else first
        # All rows of one step, because rows of different steps need not be orthogonal.
        if bool((value >= first).all()) and float(value.sum()) > float(reached.sum()):
            kept, reached = theta, value
        if step == steps:
            break
        slope = slope - (slope * theta).sum(-1, keepdim=True) * theta / norm**2  # along the sphere
        # Adam with one scale a row: its own of every channel would turn the step off the sphere's tangent.
        first_moment = 0.9 * first_moment + 0.1 * slope
        second_moment = 0.98 * second_moment + 0.02 * slope.square().sum(-1, keepdim=True)
        scale = (second_moment / (1 - 0.98 ** (step + 1))).sqrt().clamp_min(1e-30)
        pace = rate * norm * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / steps)))
        theta = _on_sphere(theta + pace * first_moment / (1 - 0.9 ** (step + 1)) / scale, norm, within)
    assert first is not None
    about = {
        "method": "melbo", "model": lm.identity, "source": str(response.source), "target": str(response.target),
        "norm": norm, "p": p, "q": q, "steps": steps, "last": last, "prompts": len(response.tokens), "seed": seed,
    }  # fmt: skip
    directions = tuple(
        Direction(kept[i].cpu(), response.source, None, f"melbo {i + 1}", {**about, "value": float(reached[i])})
        for i in range(n)
    )
    return MelboVectors(directions, passes, time.perf_counter() - start, reached.cpu(), first.cpu(), norm)


def _on_sphere(rows: Float[Tensor, "n d"], norm: float, within: Float[Tensor, "m d"] | None) -> Float[Tensor, "n d"]:
    """The rows, each orthogonal to those before it, and of length `norm`: Gram-Schmidt in their order."""
    rows = rows.detach().double()
    if within is not None:
        basis = within.to(rows)
        rows = (rows @ basis.T) @ basis
    q, r = torch.linalg.qr(rows.T)
    # QR leaves the signs open; each row keeps its own.
    return (q * torch.where(r.diagonal() < 0, -1.0, 1.0)).T.float() * norm
