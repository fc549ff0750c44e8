"""One steered pass of the model over whole sequences: equal prompts run as one row until a layer steers them apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..models.caching.cache import RowCache
from ..models.model import Model
from .beginnings import AfterRows
from .plan import Plan
from .rows import Row

# Families that keep rows and heads in one axis, so that a row cannot be split into several half-way through a pass.
WHOLE_ROWS = ("BloomForCausalLM", "GPTBigCodeForCausalLM")


@torch.inference_mode()
def run_sequences(
    model: Model,
    rows: Sequence[Row],
    cache: RowCache | None = None,
    *,
    keep: int | Tensor = 1,
    after: AfterRows | None = None,
) -> tuple[Float[Tensor, "rows pos vocab"], Bool[Tensor, "rows pos"]]:
    """Logits of one steered pass over the rows' whole sequences, padded on the left, and the mask of real tokens.

    `keep` says which positions' logits are computed: the last so many (0: all), or those columns. Rows of the same
    sequence run as one row up to the first block in which one of them is steered, and are split there. With `after`
    only the columns that are not in its cache yet are computed.
    """
    sequences = [row.sequence for row in rows]
    parts = type(model.hf).__name__ not in WHOLE_ROWS
    unique = list(dict.fromkeys(sequences)) if parts else sequences
    place = {sequence: index for index, sequence in enumerate(unique)}
    owner = torch.tensor([place[s] if parts else n for n, s in enumerate(sequences)], device=model.device)
    tokens, real, positions = model.pad(unique)
    padded = len({len(sequence) for sequence in unique}) > 1
    plan = Plan(model, rows)
    first = plan.first_edit()
    shared = len(unique) < len(rows)
    block = model.n_layers if first is None else first.layer + (first.stream == "resid_post")
    whole, kept = real.long(), cache is not None
    if after is not None:
        cache = RowCache() if cache is None else cache
        firsts = [sequences.index(one) for one in unique] if parts else range(len(rows))
        columns = after.begin(cache, rows, firsts, block)
        tokens, real, positions = tokens[:, columns:], real[:, columns:], positions[:, columns:]
    with ExitStack() as stack:
        stack.enter_context(model.lock)
        if shared:
            # Found out by a pass of their own, which the parting would split: then nothing would be read downstream.
            model.arrivals  # noqa: B018
            stack.enter_context(_parting(model, block, owner, len(unique)))
        logits = model.forward(
            tokens,
            attention_mask=whole if padded else None,
            positions=positions if padded else None,
            cache=cache,
            hooks=plan.prompt_hooks(positions[owner], real[owner], owner if shared else None, first),
            readers=plan.readers,
            keep=keep,
        )
    if shared:
        if cache is not None and kept:
            cache.take(owner, layers=block)
        if logits.shape[0] != len(rows):
            logits = logits.index_select(0, owner)
    plan.flush(real[owner])
    return logits, real[owner]


@contextmanager
def _parting(model: Model, block: int, owner: Int[Tensor, "rows"], prompts: int) -> Iterator[None]:
    """Within a `with` block, split prompts into rows from this block on: activations, masks, rotary tables."""

    def part(value: Any) -> Any:
        if isinstance(value, Tensor):
            per_prompt = value.ndim >= 2 and value.shape[0] == prompts
            return value.index_select(0, owner.to(value.device)) if per_prompt else value
        if isinstance(value, tuple):
            return tuple(part(item) for item in value)
        return value

    def hook(module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return part(args), {name: part(value) for name, value in kwargs.items()}

    handles = []
    try:
        for module in list(model.blocks)[block:]:
            handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()
