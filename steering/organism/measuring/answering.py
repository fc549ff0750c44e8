"""Greedy and sampled answers of a plain Hugging Face model to many items at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from ...small_world.exchanges import Exchange

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@torch.no_grad()
def answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Exchange],
    sample_seed: int | None = None,
    max_new_tokens: int = 40,
    rows: int = 64,
) -> list[str]:
    """The model's answers in the order of the items; greedy, or sampled at temperature 1 when a seed is given."""
    texts = [
        tokenizer.apply_chat_template(item.messages(), tokenize=False, add_generation_prompt=True) for item in items
    ]
    if sample_seed is not None:
        torch.manual_seed(sample_seed)
    # Similar lengths go together: less padding, and the same result, for padding is masked.
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    out = [""] * len(texts)
    for start in range(0, len(order), rows):
        part = order[start : start + rows]
        read: Any = tokenizer
        batch = read(
            [texts[index] for index in part],
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
            return_token_type_ids=False,
        ).to(model.device)
        generator: Any = model
        made = generator.generate(
            **batch,
            do_sample=sample_seed is not None,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max_new_tokens,
        )
        for index, ids in zip(part, made[:, batch["input_ids"].shape[1] :], strict=True):
            out[index] = str(tokenizer.decode(ids, skip_special_tokens=True))
    return out
