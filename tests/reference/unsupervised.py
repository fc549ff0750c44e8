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
