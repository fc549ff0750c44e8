"""Singular vectors of the Jacobian between two layers: the directions to which the later one responds most.

With J the derivative of the response (response.py) at no vector, a unit vector v moves the target by |J v|; the right
singular vectors are the directions that move it most, each orthogonal to those before. They are found by block power
iteration V <- qr(J^T (J V)) with a Rayleigh-Ritz step, which takes some 15 products with J and J^T and never forms J.
(Mack and Turner 2024, "linear DCT"; the first of them stands in for gradient descent on a steering vector.)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...models.model import Model, Prompt
from ...sites import Site
from ..direction import Direction
from .response import Reduce, Response, Tick, random_units


@dataclass(frozen=True, eq=False)
class JacobianVectors:
    """The first right singular vectors of a Jacobian, as unit directions at the source, the largest first.

    Attributes:
        values: the singular values: how far the target moves per unit of the vector, in the linear range.
        errors: |J^T u - s v| / s of each: 0 for an exact singular pair; |s - sigma| <= error * s for some true sigma.
        outputs: the left singular vectors, what each does at the target.
        passes: forward and backward passes that it took, counted in rows of the batch times prompts.
    """

    directions: tuple[Direction, ...]
    values: Float[Tensor, " k"]
    errors: Float[Tensor, " k"]
    outputs: Float[Tensor, "k out"]
    passes: int
    seconds: float

    def __len__(self) -> int:
        return len(self.directions)

    def __iter__(self) -> Iterator[Direction]:
        return iter(self.directions)

    def __getitem__(self, index: int) -> Direction:
        return self.directions[index]

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.3g}" for value in self.values[:4].tolist())
        return f"JacobianVectors({len(self)} at {self.directions[0].site}, singular values {shown}, ...)"


def jacobian_directions(
    lm: Model,
    prompts: Sequence[Prompt],
    source: Site,
    target: Site | Literal["logits"] | tuple[int, int],
    *,
    k: int = 16,
    last: int | None = None,
    reduce: Reduce = "stack",
    within: Float[Tensor, "m d_model"] | None = None,
    iterations: int = 15,
    tolerance: float = 1e-3,
    seed: int = 0,
    tick: Tick | None = None,
) -> JacobianVectors:
    """The k directions at `source` to which `target` responds most, on these prompts.

    Args:
        target: a later site, "logits", or two token ids for the difference of their logits.
        last: only the last tokens of each prompt are looked at; None for all.
        reduce: "stack" for the response of every token, "mean" for the mean over tokens and prompts.
        within: rows that span a subspace to search in (`Manifold.basis`), orthonormal.
        iterations: at most so many; it stops when every error is below `tolerance`.
        tick: called with what is done, the total and a note; may raise to cancel.

    Raises:
        ValueError: k below 1 or above the width; what `Response` refuses.
    """
    start = time.perf_counter()
    response = Response(lm, prompts, source, target, last, reduce)
    most = min(response.d_in if within is None else len(within), response.d_out)
    if k < 1:
        raise ValueError(f"At least one singular vector is asked for; got k={k}.")
    k = min(k, most)
    # A few more than asked for: the last vectors of a block converge slowest.
    block = min(most, k + min(8, max(2, k // 2)))
    v = _span(random_units(block, response.d_in, seed).to(lm.device), within)
    passes = 0
    u, s, errors = torch.empty(0), torch.empty(0), torch.empty(0)
    for number in range(max(1, iterations)):
        if tick is not None:
            tick(number, iterations, f"Power iteration {number + 1} of at most {iterations}")
        moved = response.jvp(v)  # rows J v
        # Rayleigh-Ritz: the singular vectors of J within the span of v.
        left, s, right = torch.linalg.svd(moved.double().T, full_matrices=False)
        v = (right @ v.double()).float()
        u = left.T.float()
        back = response.vjp(u)  # rows J^T u
        if within is not None:
            back = (back @ within.T.to(back)) @ within.to(back)
        passes += 3 * len(v) * len(response.tokens)
        errors = ((back.double() - s[:, None] * v.double()).norm(dim=-1) / s.clamp_min(1e-30)).float()
        if float(errors[:k].max()) < tolerance or number == iterations - 1:
            break
        v = _span(back, within)
    about = {
        "method": "jacobian",
        "model": lm.identity,
        "source": str(response.source),
        "target": str(target),
        "last": last,
        "reduce": reduce,
        "prompts": len(response.tokens),
        "within": None if within is None else len(within),
    }
    directions = tuple(
        Direction(v[i].cpu(), response.source, None, f"jacobian {i + 1}", {**about, "number": i, "value": float(s[i])})
        for i in range(k)
    )
    seconds = time.perf_counter() - start
    return JacobianVectors(directions, s[:k].float().cpu(), errors[:k].cpu(), u[:k].cpu(), passes, seconds)


def _span(rows: Float[Tensor, "k d"], within: Float[Tensor, "m d"] | None) -> Float[Tensor, "k d"]:
    """An orthonormal basis of the rows' span, inside the subspace if there is one."""
    rows = rows.double()
    if within is not None:
        basis = within.to(rows)
        rows = (rows @ basis.T) @ basis
    q, _ = torch.linalg.qr(rows.T)
    return q.T.float()
