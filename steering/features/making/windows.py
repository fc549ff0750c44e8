"""Texts to token windows, and what an SAE (and the neurons before it) do on them in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...models.model import Model
from ...saes.neurons import Neurons
from ...saes.sae import Sae


@dataclass(frozen=True)
class Reading:
    """Feature activations of the tokens of some windows, BOS and padding left out.

    `row` and `pos` say where in which window a token stands; `neurons` are whole windows, zero at BOS and padding, and
    their columns are left-padded: token `pos` of a window of length n stands in column `width - n + pos`.
    """

    features: Float[Tensor, "tokens d_sae"]
    row: Int[np.ndarray, " tokens"]
    pos: Int[np.ndarray, " tokens"]
    neurons: Float[Tensor, "rows width d_mlp"] | None


def starts_with_bos(lm: Model, sae: Sae) -> bool:
    """Whether windows begin with BOS: where the tokenizer puts one, or the SAE was trained with one."""
    bos = lm.tokenizer.bos_token_id
    if bos is None:
        return False
    return bool(sae.metadata.get("prepend_bos")) or lm.opening[:1] == (bos,)


def windows(lm: Model, texts: Iterable[str], context: int, bos: bool) -> Iterator[list[int]]:
    """Token windows of at most `context` tokens, in the order of the texts; a long text gives several.

    Every window is a sequence of its own: no text reaches into the next, and each starts with BOS where the first does.
    """
    start = [lm.tokenizer.bos_token_id] if bos else []
    size = min(context, lm.n_ctx) - len(start)
    for text in texts:
        ids = lm.encode(text) if text else []
        while start and ids[:1] == start:  # a rendered chat brings a BOS beside the tokenizer's own
            ids = ids[1:]
        for first in range(0, len(ids), size):
            yield start + ids[first : first + size]


@torch.no_grad()
def read(lm: Model, sae: Sae, rows: Sequence[Sequence[int]], bos: bool, neurons: Neurons | None) -> Reading:
    """Feature activations on some windows, from one pass that stops right after the SAE's site."""
    with lm.lock:
        if neurons is None:
            found, mask = lm.activations(rows, [sae.site])
            hidden = None
        else:
            with neurons.reading() as caught:
                found, mask = lm.activations(rows, [sae.site])
            hidden = caught[0]
        counted = mask.clone()
        if bos:
            counted[torch.arange(len(rows)), mask.long().argmax(-1)] = False
        features = sae.encode(found[sae.site][counted])
    row, column = (index.cpu().numpy() for index in counted.nonzero(as_tuple=True))
    lengths = np.array([len(window) for window in rows])
    if hidden is not None:
        hidden = (hidden * counted[..., None]).float().cpu()
    return Reading(features.float().cpu(), row, column - (mask.shape[1] - lengths)[row], hidden)


def prefix_hashes(window: Sequence[int]) -> np.ndarray:
    """A 64-bit hash of each prefix of a window: the identity of an occurrence.

    A causal model's activation is a function of the prefix, so two places with the same prefix are one example, however
    often a text begins the same way. Sum of token times a fixed odd number per position, then mixed (splitmix64).
    """
    positions = np.arange(1, len(window) + 1, dtype=np.uint64)
    weights = mixed(positions * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)
    tokens = mixed(np.asarray(window, dtype=np.uint64) + np.uint64(0xD1B54A32D192ED03))
    with np.errstate(over="ignore"):
        return mixed(np.cumsum(tokens * weights, dtype=np.uint64))


def mixed(x: np.ndarray) -> np.ndarray:
    """Splitmix64's last step: well mixed 64-bit numbers, different for different inputs."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def by_length(rows: Sequence[Sequence[int]], budget: int) -> Iterator[list[int]]:
    """Row indices in batches of at most `budget` padded tokens, rows of similar length together."""
    batch: list[int] = []
    for number in sorted(range(len(rows)), key=lambda n: (-len(rows[n]), n)):
        if batch and len(rows[batch[0]]) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
