"""Whether a model is causal, and gives rows of unequal length in one batch the logits that they have alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ..model import Model


@torch.no_grad()
def check_rows(model: Model) -> None:
    """Raise ValueError if a token's logits depend on later tokens, or a padded row's on its padding.

    Compared are a text, its beginning, and both in one batch, padded on the left.
    """
    whole = [(7 * i + 3) % (model.d_vocab - 1) + 1 for i in range(7)]
    begun = whole[:4]
    alone, beginning = (_plain(model, torch.tensor([tokens], device=model.device))[0] for tokens in (whole, begun))
    family = type(model.hf).__name__
    if not _near(alone[: len(begun)], beginning, model.dtype):
        raise ValueError(
            f"Tiller steers models that write from left to right; {model.name} ({family}) reads the whole text at once."
        )
    tokens, mask, positions = model.pad([whole, begun])
    both = _plain(model, tokens, mask.long(), positions)
    if not (_near(both[0], alone, model.dtype) and _near(both[1, -len(begun) :], beginning, model.dtype)):
        raise ValueError(
            f"Tiller runs texts of unequal length in one batch; {model.name} ({family}) gives other numbers there than "
            "for each alone, so nothing could be compared."
        )


def _plain(model: Model, tokens: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
    """Logits without packed weights, which the first real pass makes."""
    extra = {} if mask is None else {"attention_mask": mask}
    extra |= {"position_ids": positions} if positions is not None and model.takes_positions else {}
    with model.lock:
        return model.hf(input_ids=tokens, use_cache=False, **extra).logits


def _near(one: Tensor, other: Tensor, dtype: torch.dtype) -> bool:
    slack = 64 * torch.finfo(dtype).eps * float(other.abs().max()) + 1e-4
    return bool(((one.float() - other.float()).abs() <= slack).all())
