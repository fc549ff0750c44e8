"""Train sparse autoencoders (SAEs) on activations of a site, with SAELens' own trainer, into SAELens' folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from sae_lens import SAE, TrainingSAE
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from ..sites import Site

Architecture = Literal["standard", "gated", "topk", "batchtopk", "jumprelu"]


@dataclass(frozen=True)
class SaeRecipe:
    """What decides a trained SAE, besides its activations."""

    architecture: Architecture = "batchtopk"  # SAELens saves batchtopk as jumprelu: a threshold learnt from the batches
    d_sae: int = 1024
    k: int = 24  # topk, batchtopk: features a token (on average, for batchtopk)
    sparsity: float = 1.0  # standard, gated: weight of the L1 term; jumprelu: of the L0 term
    samples: int = 1_500_000  # activations seen, over several passes if there are fewer
    batch: int = 2048
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.samples < self.batch:
            raise ValueError(
                f"At least one batch is needed; samples={self.samples} is less than batch={self.batch}. "
                "Give more samples."
            )
        if self.architecture in ("topk", "batchtopk") and not 0 < self.k <= self.d_sae:
            raise ValueError(
                f"k counts features, from 1 to d_sae={self.d_sae}; k={self.k} arrived. Give a number in between."
            )

    def sae_lens(self, d_model: int) -> dict[str, Any]:
        """The recipe in SAELens' words."""
        # The scale is estimated once and folded into the weights, so decoding stays affine: a change of features is
        # a change of the residual stream, whatever the token.
        common = {
            "architecture": self.architecture,
            "d_in": d_model,
            "d_sae": self.d_sae,
            "normalize_activations": "expected_average_only_in",
        }
        warm_up = self.samples // self.batch // 5
        if self.architecture in ("topk", "batchtopk"):
            return {**common, "k": self.k, "rescale_acts_by_decoder_norm": True}
        if self.architecture == "jumprelu":
            return {**common, "l0_coefficient": self.sparsity, "l0_warm_up_steps": warm_up}
        return {**common, "l1_coefficient": self.sparsity, "l1_warm_up_steps": warm_up}


@dataclass(frozen=True)
class SaeQuality:
    """How well an SAE says what it was shown."""

    explained_variance: float  # 1 - |h - reconstruction|^2 / |h - mean|^2, both summed over the tokens
    l0: float  # active features a token
    dead: float  # share of features that never fire
    tokens: int


def _shuffled(
    activations: Float[Tensor, "tokens d_model"], recipe: SaeRecipe, progress: Callable[[int, int], None]
) -> Iterator[Tensor]:
    """Batches in a seeded random order, over and over; `progress` hears how many of how many were given out."""
    generator = torch.Generator().manual_seed(recipe.seed)
    given = 0
    while True:
        order = torch.randperm(len(activations), generator=generator)
        for start in range(0, len(order) - recipe.batch + 1, recipe.batch):
            given += recipe.batch
            progress(min(given, recipe.samples), recipe.samples)
            yield activations[order[start : start + recipe.batch]].float()


def train_sae(
    activations: Float[Tensor, "tokens d_model"],
    recipe: SaeRecipe,
    site: Site,
    model_name: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SAE[Any]:
    """A trained SAE, ready for use. Give it activations without BOS and padding: SAELens trains on whatever arrives.

    `progress` is called with each batch; an exception it raises ends the training, which is how a job is cancelled.
    """
    if len(activations) < recipe.batch:
        raise ValueError(
            f"Training needs at least one batch of {recipe.batch} activations; {len(activations)} arrived. "
            "Give more text or a smaller batch."
        )
    torch.manual_seed(recipe.seed)
    sae = TrainingSAE.from_dict(recipe.sae_lens(activations.shape[1]))
    steps = recipe.samples // recipe.batch
    config = SAETrainerConfig(
        total_training_samples=steps * recipe.batch,
        train_batch_size_samples=recipe.batch,
        lr=recipe.learning_rate,
        lr_end=recipe.learning_rate / 10,
        lr_warm_up_steps=min(50, steps // 5),
        lr_decay_steps=steps // 3,
        device=str(activations.device),
        dead_feature_window=max(10, min(40, steps // 10)),
        feature_sampling_window=max(50, steps // 2),
        n_batches_for_norm_estimate=20,
        logger=LoggingConfig(log_to_wandb=False),
    )
    SAETrainer(config, sae, _shuffled(activations, recipe, progress)).fit()
    return for_inference(sae, site, model_name)


def for_inference(sae: Any, site: Site, model_name: str) -> SAE[Any]:
    """The SAE in the class that SAELens loads, with its site and model in the metadata."""
    sae.cfg.metadata = SAEMetadata(
        model_name=model_name,
        hook_name=str(site),
        prepend_bos=True,
        exclude_special_tokens=["bos", "pad"],
        model_class_name="TransformerBridge",
        model_from_pretrained_kwargs={},
    )
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        sae.save_inference_model(folder)
        return SAE.load_from_disk(folder)


def save_sae(sae: SAE[Any], folder: Path, quality: dict[str, float] | None = None) -> Path:
    """The folder in SAELens' format (cfg.json and sae_weights.safetensors), the measured quality in its metadata."""
    for name, value in (quality or {}).items():
        sae.cfg.metadata[name] = value
    sae.save_model(folder)
    return folder


@torch.no_grad()
def quality(sae: SAE[Any], activations: Float[Tensor, "tokens d_model"], rows: int = 4096) -> SaeQuality:
    """Explained variance, L0 and dead features on these activations, which should not be those of the training."""
    mean = activations.mean(0)
    left = spread = active = 0.0
    fired = torch.zeros(sae.cfg.d_sae, dtype=torch.bool, device=activations.device)
    for batch in activations.split(rows):
        features = sae.encode(batch)
        left += float((batch - sae.decode(features)).double().square().sum())
        spread += float((batch - mean).double().square().sum())
        active += float((features > 0).sum())
        fired |= (features > 0).any(0)
    return SaeQuality(1 - left / spread, active / len(activations), float((~fired).float().mean()), len(activations))
