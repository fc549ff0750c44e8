"""What multiplying in bfloat16 changes: the model's predictions against those of float32 products, on neutral text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..models.checks.exact import unpacked
from ..models.model import Model
from .neutral import neutral_texts
from .numbers import NORM_TEXTS, kl_divergence


@dataclass(frozen=True)
class Rounding:
    """How far the next-token distributions of rounded products are from those of float32.

    Attributes:
        kl: KL(float32 || rounded) in nats, the mean over tokens.
        same: the share of tokens after which both find the same next token most probable.
        tokens: how many were compared.
    """

    kl: float
    same: float
    tokens: int

    def __str__(self) -> str:
        return (
            f"KL to float32 products {self.kl:.2g} nats a token, the same next token after {self.same:.1%} of "
            f"{self.tokens} tokens of neutral text"
        )


@torch.inference_mode()
def rounding(lm: Model, texts: Sequence[str] | None = None) -> Rounding:
    """What a model's products in bfloat16 change against the same weights multiplied in float32."""
    texts = neutral_texts(lm.name)[:NORM_TEXTS] if texts is None else texts
    exact = unpacked(lm)
    divergences, hits = [], []
    for text in texts:
        tokens = torch.tensor([lm.encode(text)[: lm.n_ctx - 1]], device=lm.device)
        whole, rounded = exact.forward(tokens)[0], lm.forward(tokens)[0]
        divergences.append(kl_divergence(whole, rounded))
        hits.append(whole.argmax(-1) == rounded.argmax(-1))
    kl, same = torch.cat(divergences), torch.cat(hits).float()
    return Rounding(float(kl.mean()), float(same.mean()), len(kl))
