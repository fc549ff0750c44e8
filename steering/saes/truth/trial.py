"""Losses and mutual regularization on data with known features, over seeds: what each reaches, with intervals."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from scipy.stats import t as student
from torch import Tensor

from ...jobs.checkpoint import Checkpoint
from ..comparing.matching import stability
from ..making.losses import Dictionary
from ..making.recipe import SaeRecipe
from ..making.training import train_group
from ..quality import quality
from .world import FOUND, SparseWorld, found, mean_max_cosine, true_share

LOSSES: dict[str, dict[str, Any]] = {
    "L1": {"architecture": "standard"},
    "Lp 0.5": {"architecture": "standard", "p": 0.5},
    "Gated": {"architecture": "gated"},
    "TopK": {"architecture": "topk"},
    "BatchTopK": {"architecture": "batchtopk"},
}
HELD_OUT = 20_000  # samples
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TruthExperiment:
    """What `python -m steering.saes truth CONFIG.toml` reads."""

    world: SparseWorld = field(default_factory=SparseWorld)
    losses: tuple[str, ...] = tuple(LOSSES)
    l0: tuple[float, ...] = (3.0, 5.0, 10.0)
    seeds: int = 3
    d_sae: int = 256
    samples: int = 400_000
    pool: int = 100_000  # samples drawn once and seen several times
    learning_rate: float = 3e-3
    sparsity: float = 0.1  # of the penalties, before their weight follows the wanted L0
    group: int = 3  # dictionaries of the mutual regularization
    mutual: tuple[float, ...] = (0.0, 0.1, 1.0)  # its weights; 0 is independent training
    mutual_loss: str = "TopK"
    mutual_l0: float = 5.0
    model: str = ""  # of the same losses on a model's activations; "" leaves that out
    site: str = ""
    model_d_sae: int = 512
    model_l0: tuple[float, ...] = (8.0, 16.0, 32.0)
    model_samples: int = 200_000

    def __post_init__(self) -> None:
        """Raise ValueError if it cannot be run."""
        unknown = sorted({*self.losses, self.mutual_loss} - set(LOSSES))
        if unknown:
            raise ValueError(f"Losses are {', '.join(LOSSES)}; {unknown[0]!r} arrived.")
        if self.seeds < 2 or self.group < 2:
            raise ValueError(f"An interval needs seeds and a group of at least 2; {self.seeds} and {self.group} came.")

    @classmethod
    def parse(cls, text: str) -> TruthExperiment:
        """The experiment of a TOML file.

        Raises:
            ValueError: not TOML, an unknown name, or a value that does not fit.
        """
        try:
            given = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"An experiment is a TOML file; this one could not be read: {error}.") from error
        world = given.pop("world", {})
        for some, known in ((given, cls), (world, SparseWorld)):
            if unknown := sorted(set(some) - {one.name for one in fields(known)}):
                raise ValueError(f"The experiment does not know {unknown[0]!r}.")
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
        }
        try:
            return cls(world=SparseWorld(**world), **plain)
        except TypeError as error:
            raise ValueError(f"A value of the experiment has the wrong kind: {error}.") from error

    def recipe(self, loss: str, l0: float, seed: int, **changes: Any) -> SaeRecipe:
        """The recipe of a loss that lets about `l0` features fire."""
        counted = "topk" in LOSSES[loss]["architecture"]
        sparse = {"k": max(1, round(l0))} if counted else {"aim": l0, "sparsity": self.sparsity}
        plain = {"d_sae": self.d_sae, "samples": self.samples, "learning_rate": self.learning_rate}
        return SaeRecipe(**{**LOSSES[loss], **plain, **sparse, "batch": 512, "seed": 100 * seed, **changes})


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of a few seeds with its 95% interval by Student's t."""
    n = len(values)
    mean = sum(values) / n
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else float("nan")
    half = float(student.ppf(0.975, n - 1)) * spread / math.sqrt(n) if n > 1 else float("nan")
    return mean, mean - half, mean + half


def data_of(world: SparseWorld, pool: int) -> tuple[Float[Tensor, "pool width"], Float[Tensor, "held width"]]:
    """Samples to train on and samples to measure on."""
    generator = torch.Generator().manual_seed(10_000 + world.seed)
    return world.sample(pool, generator)[0], world.sample(HELD_OUT, generator)[0]


def measured(module: Dictionary, held: Tensor, truth: Tensor) -> dict[str, float]:
    """What a dictionary explains, and how many of the true features it has."""
    said = quality(module, held)
    rows = module.W_dec.detach()
    return {
        "variance": said.explained_variance, "l0": said.l0, "dead": said.dead,
        "mmcs": mean_max_cosine(truth, rows), "found": found(truth, rows), "true": true_share(rows, truth),
    }  # fmt: skip


def _row(kept: Checkpoint, about: tuple[object, ...], make: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The measures kept of a training, found by everything that decides it; made and kept if there are none."""
    key = " ".join(str(part) for part in about)
    known = kept.get(key)
    if known is None:
        known = make()
        kept.add([(key, known)])
    return known


def _lone(recipe: SaeRecipe, train: Tensor, held: Tensor, truth: Tensor) -> dict[str, float]:
    return measured(train_group(train, recipe)[0], held, truth)


def _group(recipe: SaeRecipe, train: Tensor, held: Tensor, truth: Tensor) -> dict[str, float]:
    """Means over the dictionaries of a group, and what its stable features are."""
    group = train_group(train, recipe)
    each = [measured(module, held, truth) for module in group]
    return {**{name: sum(one[name] for one in each) / len(each) for name in each[0]}, **_stable(group, truth)}


def _explained(recipe: SaeRecipe, train: Tensor, held: Tensor) -> dict[str, float]:
    said = quality(train_group(train, recipe)[0], held)
    return {"variance": said.explained_variance, "l0": said.l0, "dead": said.dead}


def pareto(plan: TruthExperiment, tick: Progress, kept: Checkpoint) -> list[dict[str, Any]]:
    """A row for each loss, wanted L0 and seed; a seed changes the world and the beginning of the training."""
    rows: list[dict[str, Any]] = []
    total = plan.seeds * len(plan.losses) * len(plan.l0)
    for seed in range(plan.seeds):
        world = replace(plan.world, seed=plan.world.seed + seed)
        train, held = data_of(world, plan.pool)
        for loss in plan.losses:
            for l0 in plan.l0:
                tick("losses", len(rows), total)
                recipe = plan.recipe(loss, l0, seed)
                found = _row(kept, (world, plan.pool, recipe), partial(_lone, recipe, train, held, world.dictionary))
                rows.append({"loss": loss, "wanted": l0, "seed": seed, **found})
    return rows


def mutual(plan: TruthExperiment, tick: Progress, kept: Checkpoint) -> list[dict[str, Any]]:
    """A row for each weight of the mutual regularization and seed: of its group, and of its stable features."""
    rows: list[dict[str, Any]] = []
    for seed in range(plan.seeds):
        world = replace(plan.world, seed=plan.world.seed + seed)
        train, held = data_of(world, plan.pool)
        for weight in plan.mutual:
            tick("mutual", len(rows), plan.seeds * len(plan.mutual))
            recipe = plan.recipe(plan.mutual_loss, plan.mutual_l0, seed, group=plan.group, mutual=weight)
            found = _row(kept, (world, plan.pool, recipe), partial(_group, recipe, train, held, world.dictionary))
            rows.append({"mutual": weight, "seed": seed, **found})
    return rows


def _stable(group: Sequence[Dictionary], truth: Tensor) -> dict[str, float]:
    """How often a feature that the others of its group have too is true, and one that they have not."""
    rows = [module.W_dec.detach() for module in group]
    stable: list[Tensor] = []
    others: list[Tensor] = []
    for number, mine in enumerate(rows):
        agrees = stability(mine, [other for place, other in enumerate(rows) if place != number]) >= FOUND
        stable.append(mine[agrees])
        others.append(mine[~agrees])
    shared, alone = torch.cat(stable), torch.cat(others)
    return {
        "stable": len(shared) / (len(shared) + len(alone)),
        "true_if_stable": true_share(shared, truth) if len(shared) else float("nan"),
        "true_if_not": true_share(alone, truth) if len(alone) else float("nan"),
    }


def on_activations(
    plan: TruthExperiment,
    train: Float[Tensor, "tokens d"],
    held: Float[Tensor, "held d"],
    tick: Progress,
    kept: Checkpoint,
) -> list[dict[str, Any]]:
    """A row for each loss, wanted L0 and seed on a model's activations, where no truth is known."""
    rows: list[dict[str, Any]] = []
    total = plan.seeds * len(plan.losses) * len(plan.model_l0)
    for seed in range(plan.seeds):
        for loss in plan.losses:
            for l0 in plan.model_l0:
                tick("model", len(rows), total)
                recipe = plan.recipe(loss, l0, seed, d_sae=plan.model_d_sae, samples=plan.model_samples)
                found = _row(kept, (plan.model, plan.site, recipe), partial(_explained, recipe, train, held))
                rows.append({"loss": loss, "wanted": l0, "seed": seed, **found})
    return rows


def by(rows: Sequence[Mapping[str, Any]], *names: str) -> dict[tuple[Any, ...], dict[str, tuple[float, float, float]]]:
    """Rows that agree in some columns, joined: the mean and the interval of every measure over their seeds."""
    joined: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        joined.setdefault(tuple(row[name] for name in names), []).append(row)
    measures = [name for name in rows[0] if name not in (*names, "seed")]
    return {key: {name: interval([float(row[name]) for row in some]) for name in measures}
            for key, some in joined.items()}  # fmt: skip


def run(
    plan: TruthExperiment,
    tick: Progress,
    activations: tuple[Tensor, Tensor] | None = None,
    kept: Checkpoint | None = None,
) -> dict[str, Any]:
    """Everything as plain data: the experiment, and the rows of its parts.

    Args:
        kept: where each finished row goes; what an interrupted run left there is not trained again.
    """
    kept = Checkpoint() if kept is None else kept  # an empty one is false
    result: dict[str, Any] = {
        "experiment": asdict(plan), "losses": pareto(plan, tick, kept), "mutual": mutual(plan, tick, kept)
    }  # fmt: skip
    if activations is not None:
        result["model"] = on_activations(plan, *activations, tick, kept)
    return result
