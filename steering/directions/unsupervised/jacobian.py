"""Singular vectors of the Jacobian between two layers: the directions to which the later one responds most.

With J the derivative of the response (response.py) at no vector, a unit vector v moves the target by |J v|; the right
singular vectors are the directions that move it most, each orthogonal to those before. They are found by a block Krylov
iteration: products J V and J^T U of a few vectors at a time, and the best singular pairs within all that was seen
(Rayleigh-Ritz). J itself, one row a token and channel, is never formed. (Mack and Turner 2024, "linear DCT"; the first
of them stands in for gradient descent on a steering vector. Musco and Musco 2015 for the block Krylov method.)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...models.model import Model, Prompt
from ...sites import Site
from ..direction import Direction
from .found import FoundVectors
from .response import Reduce, Response, Tick, random_units

MOST_BLOCKS = 8  # of k vectors each, kept in memory with their images


@dataclass(frozen=True, eq=False)
class JacobianVectors(FoundVectors):
    """The first right singular vectors of a Jacobian, as unit directions at the source, the largest first.

    Attributes:
        values: the singular values: how far the target moves per unit of the vector, in the linear range.
        errors: |J^T u - s v| / s of each: 0 for an exact singular pair; |s - sigma| <= error * s for some true sigma.
        outputs: the left singular vectors, what each does at the target.
    """

    values: Float[Tensor, " k"]
    errors: Float[Tensor, " k"]
    outputs: Float[Tensor, "k out"]

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
    v = _span(random_units(k, response.d_in, seed).to(lm.device), within)
    # Every product with J so far: Rayleigh-Ritz over all of them converges like Lanczos, several times faster than
    # power iteration on the last block alone.
    basis, images = v.double(), response.jvp(v).double()
    rows = len(v)
    u, s, errors = torch.empty(0), torch.empty(0), torch.empty(0)
    for number in range(max(1, iterations)):
        if tick is not None:
            tick(number, iterations, f"Step {number + 1} of at most {iterations}")
        left, s, right = torch.linalg.svd(images.T, full_matrices=False)
        ritz = right @ basis
        u, s, v = left.T[:k], s[:k], ritz[:k]
        back = response.vjp(u.float()).double()  # rows J^T u
        if within is not None:
            back = (back @ within.T.to(back)) @ within.to(back)
        rows += k
        residual = back - s[:, None] * v
        errors = residual.norm(dim=-1) / s.clamp_min(1e-30)
        if float(errors.max()) < tolerance or number == iterations - 1:
            break
        if len(basis) > MOST_BLOCKS * k:  # start again from the best of what there is
            basis, images = ritz[: 2 * k], right[: 2 * k] @ images
        fresh = _apart(residual[errors >= tolerance], basis)
        if not len(fresh):  # the whole space is spanned
            break
        if within is not None:
            fresh = _span(fresh.float(), within).double()
        rows += len(fresh)
        basis, images = torch.cat([basis, fresh]), torch.cat([images, response.jvp(fresh.float()).double()])
    passes = rows * len(response.tokens)
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
        Direction(
            v[i].float().cpu(), response.source, None, f"jacobian {i + 1}", {**about, "number": i, "value": float(s[i])}
        )
        for i in range(k)
    )
    seconds = time.perf_counter() - start
    return JacobianVectors(directions, passes, seconds, s.float().cpu(), errors.float().cpu(), u.float().cpu())


def _apart(rows: Float[Tensor, "k d"], basis: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
    """An orthonormal basis of what the rows add to an orthonormal basis."""
    scale = rows.norm(dim=-1, keepdim=True).clamp_min(1e-300)
    rows = rows / scale
    for _ in range(2):  # once leaves rounding errors along the basis, twice does not
        rows = rows - (rows @ basis.T) @ basis
    _, s, right = torch.linalg.svd(rows, full_matrices=False)
    return right[s > 1e-4]  # what is less is rounding of the products, which are float32


def _span(rows: Float[Tensor, "k d"], within: Float[Tensor, "m d"] | None) -> Float[Tensor, "k d"]:
    """An orthonormal basis of the rows' span, inside the subspace if there is one."""
    rows = rows.double()
    if within is not None:
        basis = within.to(rows)
        rows = (rows @ basis.T) @ basis
    q, _ = torch.linalg.qr(rows.T)
    return q.T.float()
