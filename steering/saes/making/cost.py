"""How long a training will take on this machine: a few passes and a few steps are timed, the rest is arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from ...models.model import Model
from ...sites import Site
from .recipe import SaeRecipe
from .trainer import Trainer

PROBE_ROWS, PROBE_LENGTH = 4, 256  # tokens of the timed pass
PROBE_BATCH, PROBE_STEPS = 256, 3  # of the timed training
STEERED = 100 * 8 * 24  # tokens with which `quality.Bench.steers` clamps features


@dataclass(frozen=True)
class TrainingCost:
    """Seconds that each part of a plan takes, as far as a short trial tells."""

    tokens: int
    harvest: float
    training: Mapping[str, float]  # by the variant's name, all sites together
    measuring: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.harvest + sum(self.training.values()) + self.measuring


def cost(
    lm: Model, sites: Sequence[Site], recipes: Mapping[str, SaeRecipe], tokens: int, *, measured: int
) -> TrainingCost:
    """About how long harvesting `tokens` tokens, training the recipes at every site and measuring will take.

    Args:
        measured: tokens that each dictionary is measured on.

    Raises:
        ValueError: a site that the model has not.
    """
    generator = torch.Generator().manual_seed(0)
    length = min(PROBE_LENGTH, lm.n_ctx - 1)
    ids = torch.randint(lm.d_vocab, (PROBE_ROWS, length), generator=generator)
    rows = [row.tolist() for row in ids]
    read = _timed(lambda: lm.activations(rows, sites)) / ids.numel()
    one = ids[:1].to(lm.device)  # the logits of every position are large
    whole = _timed(lambda: lm.forward(one)) / one.numel()
    training = {name: sum(_sample_seconds(recipe, lm.width(site)) for site in sites) * recipe.steps * recipe.batch
                for name, recipe in recipes.items()}  # fmt: skip
    dictionaries = len(sites) * sum(recipe.group for recipe in recipes.values())
    # A reading pass, three scoring passes (as it is, reconstructed, zeros), and the clamped contexts.
    measuring = dictionaries * (measured * (read + 3 * whole) + STEERED * whole)
    return TrainingCost(tokens, tokens * read, training, measuring)


def _sample_seconds(recipe: SaeRecipe, width: int) -> float:
    """Seconds of training a sample."""
    batch = min(PROBE_BATCH, recipe.batch)
    samples = batch * (PROBE_STEPS + 1)
    trainer = Trainer(replace(recipe, batch=batch, samples=samples), width)
    x = torch.randn(batch, width, generator=torch.Generator().manual_seed(0))
    trainer.train([x])  # the first step allocates
    begun = time.perf_counter()
    trainer.train([x] * PROBE_STEPS)
    return (time.perf_counter() - begun) / (batch * PROBE_STEPS)


@torch.no_grad()
def _timed(work: Callable[[], object]) -> float:
    work()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
