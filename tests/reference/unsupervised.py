"""The response of a layer to an added vector, its Jacobian and MELBO's objective, written out with plain loops."""

from __future__ import annotations

import torch
from torch import Tensor


def target_states(lm, ids: list[int], source: int, target: int, theta: Tensor) -> Tensor:
    """Z(theta) [pos d_model] after block `target`, with theta added after block `source` at every token but BOS."""
    skip = 1 if ids[0] == lm.tokenizer.bos_token_id else 0
    found = {}

    def add(module, args, output):
        h = output if isinstance(output, Tensor) else output[0]
        moved = torch.cat([h[:, :skip], h[:, skip:] + theta], dim=1)
        return moved if isinstance(output, Tensor) else (moved, *output[1:])

    def keep(module, args, output):
        found["z"] = (output if isinstance(output, Tensor) else output[0])[0]

    handles = [lm.blocks[source].register_forward_hook(add), lm.blocks[target].register_forward_hook(keep)]
    try:
        lm.hf(torch.tensor([ids]))
    finally:
        for handle in handles:
            handle.remove()
    return found["z"]


def jacobian(lm, prompts: list[list[int]], source: int, target: int) -> Tensor:
    """dZ/dtheta at 0, tokens and prompts stacked: [sum pos * d_model, d_model], one backward pass an entry."""
    zero = torch.zeros(lm.d_model)
    parts = [
        torch.autograd.functional.jacobian(lambda x, ids=ids: target_states(lm, ids, source, target, x), zero)
        for ids in prompts
    ]
    return torch.cat([part.reshape(-1, lm.d_model) for part in parts])


def melbo_objective(moved: list[Tensor], plain: list[Tensor], p: float, q: float) -> float:
    """sum_i ( sum_t |moved_it - plain_it|_2^p )^(1/q)."""
    total = 0.0
    for one, base in zip(moved, plain, strict=True):
        inner = 0.0
        for a, b in zip(one, base, strict=True):
            inner += float((a - b).norm()) ** p
        total += inner ** (1 / q)
    return total


def transcoded_once(
    lm, prompts: list[list[int]], source: int, target: int, v: Tensor, norm: float, last: int
) -> tuple[Tensor, Tensor, Tensor]:
    """U, V and alpha after one orthogonalized gradient iteration from the rows of v, factor by factor."""

    def delta(theta: Tensor) -> Tensor:
        zero = torch.zeros_like(theta)
        moved = [target_states(lm, ids, source, target, theta)[-last:] for ids in prompts]
        plain = [target_states(lm, ids, source, target, zero)[-last:] for ids in prompts]
        return (torch.cat(moved) - torch.cat(plain)).mean(0)

    rows_u, rows_v = [], []
    for row in torch.linalg.qr(v.double().T)[0].T.float():
        u = delta(norm * row)
        u = (u / u.norm()).detach()
        at = row.clone().requires_grad_(True)
        with torch.enable_grad():
            (g,) = torch.autograd.grad(u @ delta(norm * at), at)
        rows_u.append(u)
        rows_v.append(g / g.norm())
    n = len(rows_u)
    gram, wanted = torch.zeros(n, n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for i in range(n):
        wanted[i] = float(rows_u[i] @ delta(norm * rows_v[i]))
        for j in range(n):
            gram[i, j] = float(rows_u[i] @ rows_u[j]) * (torch.e ** float(rows_v[i] @ rows_v[j]) - 1)
    return torch.stack(rows_u), torch.stack(rows_v), torch.linalg.solve(gram, wanted).float()
