"""Deep causal transcoding with an exponential: directions whose effects grow together with them, many at once.

    Delta(R v) ~ sum_i alpha_i (exp(<v_i, R v>) - 1) u_i       |u_i| = |v_i| = 1

fitted by orthogonalized gradient iteration (Mack and Turner 2024): V <- qr(V); U <- mean response to R v_i; V <- R
times the gradient of <u_i, Delta(R v_i)>. The factors are ranked by their weight alpha^2 in the least-squares fit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ...models.model import Model, Prompt
from ...sites import Site
from ..direction import Direction
from .found import FoundVectors
from .response import Response, Tick, random_units


@dataclass(frozen=True, eq=False)
class TranscodedVectors(FoundVectors):
    """The factors' input directions, unit vectors at the source, the one with most weight first.

    Attributes:
        weights: alpha of each; its square is the rank.
        outputs: u of each, what it does at the target.
    """

    weights: Float[Tensor, " n"]
    outputs: Float[Tensor, "n d_model"]
    norm: float

    def __repr__(self) -> str:
        return f"TranscodedVectors({len(self)} at {self.directions[0].site}, norm {self.norm:.3g})"


def exponential_dct(
    lm: Model,
    prompts: Sequence[Prompt],
    source: Site,
    target: Site,
    *,
    n: int = 32,
    norm: float,
    iterations: int = 10,
    beta: float = 1.0,
    last: int | None = 3,
    seed: int = 0,
    tick: Tick | None = None,
) -> TranscodedVectors:
    """n factors of the response of `target` to vectors of length `norm` at `source`, ranked by their weight.

    Args:
        norm: R; `linear_range` finds one.
        beta: how much of an old factor is given up at each iteration; 1 takes the new one.

    Raises:
        ValueError: norm not above 0, beta outside (0, 1], more factors than dimensions; what `Response` refuses.
    """
    start = time.perf_counter()
    if not norm > 0:
        raise ValueError(f"The length of the vectors is above 0; got norm={norm}.")
    if not 0 < beta <= 1:
        raise ValueError(f"beta is above 0 and at most 1; got {beta}.")
    response = Response(lm, prompts, source, target, last, "mean")
    if not 1 <= n <= response.d_in:
        raise ValueError(f"There are 1 to {response.d_in} factors; got n={n}.")
    v = random_units(n, response.d_in, seed).to(lm.device)
    u = torch.zeros(n, response.d_out, device=lm.device)
    passes = 0
    for number in range(iterations):
        if tick is not None:
            tick(number, iterations, f"Iteration {number + 1} of {iterations}")
        v = torch.linalg.qr(v.double().T)[0].T.float()
        u = normalize(beta * normalize(response(norm * v), dim=-1) + (1 - beta) * u, dim=-1)
        gradient = norm * response.vjp(u, at=norm * v)
        v = normalize(beta * normalize(gradient, dim=-1) + (1 - beta) * v, dim=-1)
        passes += 3 * n * len(response.tokens)
    weights = factor_weights(u, v, response(norm * v))
    order = weights.square().argsort(descending=True)
    about = {
        "method": "exponential dct", "model": lm.identity, "source": str(response.source),
        "target": str(response.target), "norm": norm, "iterations": iterations, "last": last, "seed": seed,
    }  # fmt: skip
    directions = tuple(
        Direction(v[i].cpu(), response.source, None, f"dct {place + 1}", {**about, "value": float(weights[i])})
        for place, i in enumerate(order.tolist())
    )
    seconds = time.perf_counter() - start
    return TranscodedVectors(directions, passes, seconds, weights[order].cpu(), u[order].cpu(), norm)


def factor_weights(
    u: Float[Tensor, "n out"], v: Float[Tensor, "n d"], moved: Float[Tensor, "n out"]
) -> Float[Tensor, " n"]:
    """alpha with ((U U^T) o expm1(V V^T)) alpha = diag(U moved^T): the least-squares weights of the factors."""
    u, v, moved = u.double(), v.double(), moved.double()
    gram = (u @ u.T) * torch.expm1(v @ v.T)
    return torch.linalg.lstsq(gram, (u * moved).sum(-1)[:, None]).solution[:, 0].float()
