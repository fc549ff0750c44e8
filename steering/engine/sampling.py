"""Choosing the next token of each row, with random numbers that belong to the row and not to the batch.

Gumbel-max: the token is the argmax of logits / temperature + noise. The noise of a step is a function of seed, prompt,
sample and step alone, so the variants of a prompt share it (a comparison is paired: a steering too weak to matter
changes no token), and neither other rows nor the moment of joining changes a row.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How a row's tokens are chosen.

    Attributes:
        temperature: 0 is greedy.
        top_p: the nucleus: only the most probable tokens that together reach this probability.
        seed: which random numbers.
        sample: which of several samples of the same prompt and seed.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    sample: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature is a finite number from 0 (greedy) on; got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is a probability above 0 and up to 1; got {self.top_p}.")
        for name in ("seed", "sample"):
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), int):
                raise ValueError(f"{name} is an integer; got {getattr(self, name)!r}.")

    def stream(self, prompt: Sequence[int]) -> int:
        """The name of the random numbers that this sampling draws for a prompt."""
        text = f"{self.seed}/{self.sample}/" + ",".join(map(str, prompt))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def gumbel(
    keys: Sequence[tuple[int, int]], d_vocab: int, device: torch.device | None = None
) -> Float[Tensor, "keys vocab"]:
    """Standard Gumbel noise of steps of streams, a row for each (stream, step).

    The uniform numbers are drawn on the CPU, so that every device draws the same; their logarithms are taken on the
    device for all rows at once, where they cost least.
    """
    uniform = torch.empty(len(keys), d_vocab)  # pinned memory would be allocated anew at every step: tens of ms
    for row, (stream, step) in zip(uniform, keys, strict=True):
        generator = torch.Generator().manual_seed((stream + step * 0x9E3779B97F4A7C15) % 2**63)
        torch.rand(d_vocab, generator=generator, out=row)
    uniform = uniform.to(device).clamp_(min=1e-20)
    return uniform.log_().neg_().clamp_(min=1e-20).log_().neg_()


def nucleus(logits: Float[Tensor, "rows vocab"], top_p: Float[Tensor, "rows"]) -> Float[Tensor, "rows vocab"]:
    """Logits with everything outside the nucleus at minus infinity; the most probable token always stays."""
    ordered, index = logits.sort(dim=-1, descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    # At top_p 1 nothing is cut, even if rounding lets the sum reach 1 early: another row's nucleus must change no row.
    ordered = ordered.masked_fill((before >= top_p[:, None]) & (top_p[:, None] < 1), -math.inf)
    return torch.empty_like(logits).scatter_(1, index, ordered)


def choose(
    logits: Float[Tensor, "rows vocab"], samplings: Sequence[Sampling], streams: Sequence[int], steps: Sequence[int]
) -> Int[Tensor, "rows"]:
    """The next token of each row: argmax, or a draw from its own noise."""
    tokens = logits.argmax(-1)
    drawn = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    if not drawn:
        return tokens
    index = torch.tensor(drawn, device=logits.device)
    temperature = torch.tensor([samplings[row].temperature for row in drawn], device=logits.device)
    scaled = logits[index].float() / temperature[:, None]
    if any(samplings[row].top_p < 1 for row in drawn):
        scaled = nucleus(scaled, torch.tensor([samplings[row].top_p for row in drawn], device=logits.device))
    keys = [(streams[row], steps[row]) for row in drawn]
    own = {key: k for k, key in enumerate(dict.fromkeys(keys))}  # variants of a prompt share their noise
    noise = gumbel(list(own), logits.shape[-1], logits.device)
    scaled += noise if len(own) == len(keys) else noise[torch.tensor([own[key] for key in keys], device=noise.device)]
    return tokens.index_copy(0, index, scaled.argmax(-1))
