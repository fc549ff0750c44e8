"""Train an SAE on activations in memory, or on those of a buffer at several sites."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor

from ...jobs.files import write_atomically
from ...sites import Site
from .folder import save_dictionary
from .harvest import Buffer
from .losses import Dictionary
from .recipe import SaeRecipe
from .trainer import Trainer

# The site in training, activations seen, in all, and what the last batch showed.
SiteTick = Callable[[str, int, int, dict[str, float]], None]


def train_sae(
    activations: Float[Tensor, "tokens d_model"],
    recipe: SaeRecipe,
    site: Site,
    model_name: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SAE[Any]:
    """A trained SAE, ready for use, as SAELens loads it. Give it activations without BOS, padding and massive tokens.

    `progress` is called with the activations seen; an exception it raises ends the training, which is how a job is
    cancelled.

    Raises:
        ValueError: there is less than one batch.
    """
    module = train_group(activations, recipe, progress)[0]
    with tempfile.TemporaryDirectory() as folder:
        about = {"prepend_bos": True, "exclude_special_tokens": ["bos", "pad"]}
        return SAE.load_from_disk(save_dictionary(module, Path(folder), site, model_name, about))


def save_sae(sae: SAE[Any], folder: Path, quality: dict[str, float] | None = None) -> Path:
    """Save in SAELens' format (cfg.json, sae_weights.safetensors) with the quality as metadata; return the folder."""
    for name, value in (quality or {}).items():
        sae.cfg.metadata[name] = value
    sae.save_model(folder)
    return folder


def train_group(
    activations: Float[Tensor, "tokens d_model"],
    recipe: SaeRecipe,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Dictionary]:
    """The trained dictionaries of a recipe's group, in the units of the activations.

    Raises:
        ValueError: there is less than one batch.
    """
    if len(activations) < recipe.batch:
        raise ValueError(
            f"Training needs at least one batch of {recipe.batch} activations; {len(activations)} arrived. "
            "Give more text or a smaller batch."
        )
    scale = activations.shape[1] ** 0.5 / float(activations.float().norm(dim=-1).mean())
    trainer = Trainer(recipe, activations.shape[1], activations.device)
    trainer.train(_shuffled(activations, recipe, scale), lambda done, total, _: progress(done, total))
    return finished(trainer, scale)


def finished(trainer: Trainer, scale: float) -> list[Dictionary]:
    """The dictionaries of a trainer, for use: in the units of the activations, without gradients."""
    for member in trainer.group:
        member.fold(scale)
        member.eval().requires_grad_(False)
    return trainer.group


def _shuffled(activations: Tensor, recipe: SaeRecipe, scale: float) -> Iterator[Tensor]:
    """Batches in a seeded random order, over and over."""
    generator = torch.Generator().manual_seed(recipe.seed)
    while True:
        order = torch.randperm(len(activations), generator=generator).to(activations.device)
        for start in range(0, len(order) - recipe.batch + 1, recipe.batch):
            yield activations[order[start : start + recipe.batch]].float() * scale


def train_sites(
    buffer: Buffer,
    recipe: SaeRecipe,
    folder: Path,
    tick: SiteTick = lambda site, done, total, shown: None,
    *,
    save_every: float = 60.0,
) -> dict[Site, Trainer]:
    """Train the recipe at every site of a buffer; goes on where an earlier call with the same folder was stopped.

    The text is visited piece by piece; on each piece every site is trained in turn, over as many passes (at most 4) as
    the wanted samples need. The trainers' units are the buffer's; `finished` brings them to the stream's.

    Args:
        tick: called after every step, with measures every 25 steps, and while text is harvested; may raise to cancel.
        save_every: seconds between checkpoints.

    Raises:
        ValueError: the text holds less than one batch, or the folder belongs to another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trainers = {site: Trainer(recipe, buffer.lm.width(site), buffer.device) for site in buffer.sites}
    for site, trainer in trainers.items():
        if (folder / f"{site}.safetensors").is_file():
            trainer.load(folder / f"{site}.safetensors")
    log = folder / "pieces.json"
    rows_of: dict[str, int] = json.loads(log.read_text(encoding="utf-8")) if log.is_file() else {}
    wanted = recipe.steps * recipe.batch
    passes = max(1, min(4, -(-wanted // max(buffer.windows.tokens, 1))))
    begun = visit = 0
    while any(trainer.step < recipe.steps for trainer in trainers.values()):
        piece = visit % len(buffer.pieces)
        known = rows_of.get(str(piece))
        if known is None or begun + passes * (known // recipe.batch) > min(t.step for t in trainers.values()):
            rows = buffer.load(piece, lambda done, total: tick("harvest", done, total, {}))
            if rows < recipe.batch:
                raise ValueError(
                    f"Training needs at least one batch of {recipe.batch} activations; {rows} arrived. "
                    "Give more text, a larger buffer or a smaller batch."
                )
            rows_of[str(piece)] = known = rows
            write_atomically(log, json.dumps(rows_of).encode())
            for site, trainer in trainers.items():
                end = begun + passes * (rows // recipe.batch)
                if begun <= trainer.step < end:
                    skip, seed = trainer.step - begun, recipe.seed + 1_000 * visit
                    batches = buffer.batches(site, rows, recipe.batch, passes, seed, skip)
                    _train(trainer, batches, str(site), folder / f"{site}.safetensors", tick, save_every)
        begun, visit = begun + passes * (known // recipe.batch), visit + 1
    return trainers


def _train(
    trainer: Trainer, batches: Iterator[Tensor], site: str, path: Path, tick: SiteTick, save_every: float
) -> None:
    saved = time.monotonic()

    def on_tick(done: int, total: int, shown: dict[str, float]) -> None:
        nonlocal saved
        if shown and time.monotonic() - saved >= save_every:
            trainer.save(path)
            saved = time.monotonic()
        tick(site, done, total, shown)

    trainer.train(batches, on_tick)
    if trainer.step >= trainer.recipe.steps:
        trainer.save(path)
