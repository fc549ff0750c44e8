"""What decides a trained SAE, besides the activations that it is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Architecture = Literal["standard", "gated", "topk", "batchtopk", "matryoshka", "jumprelu"]
ARCHITECTURES: tuple[str, ...] = get_args(Architecture)
COUNTED = ("topk", "batchtopk", "matryoshka")  # sparse because k features are kept, not because of a penalty


@dataclass(frozen=True)
class SaeRecipe:
    """The architecture, its loss and how long it is trained.

    Raises:
        ValueError: an unknown architecture, or a number outside the range that its comment names.
    """

    architecture: Architecture = "batchtopk"  # batchtopk and matryoshka are saved as jumprelu, with one threshold
    d_sae: int = 1024
    k: int = 24  # topk, batchtopk, matryoshka: features a token (on average, but for topk), from 1 to d_sae
    sparsity: float = 1.0  # standard, gated: weight of the penalty on the features; jumprelu: of their number
    aim: float = 0.0  # of standard, gated, jumprelu: features a token; the weight follows until so many fire. 0: fixed
    p: float = 1.0  # standard: the penalty is the sum of f^p, 0 < p <= 1; 1 is the usual L1
    widths: tuple[int, ...] = ()  # matryoshka: how many first features reconstruct alone; () means 1/16 .. 1/2
    samples: int = 1_500_000  # activations seen, over several passes if there are fewer
    batch: int = 2048
    learning_rate: float = 1e-3
    seed: int = 0
    group: int = 1  # dictionaries trained side by side on the same batches, with seeds seed, seed + 1, ...
    mutual: float = 0.0  # weight of the mutual feature regularization within the group
    reinitialize_above: float | None = None  # imbalance of the firing rates above which a dictionary is drawn anew

    def __post_init__(self) -> None:
        """Raise ValueError if the recipe cannot be trained."""
        rules = (
            (self.architecture in ARCHITECTURES, f"architecture is one of {', '.join(ARCHITECTURES)}", "architecture"),
            (self.d_sae >= 1 and self.batch >= 1, "d_sae and batch count from 1", "d_sae"),
            (0 < self.p <= 1, "p is above 0 and at most 1", "p"),
            (self.learning_rate > 0, "learning_rate is above 0", "learning_rate"),
            (self.sparsity >= 0 and self.mutual >= 0, "sparsity and mutual are not negative", "sparsity"),
            (self.aim >= 0 and (self.aim == 0 or self.sparsity > 0), "aim needs a sparsity to start from", "aim"),
            (self.aim == 0 or self.architecture not in COUNTED, "only a penalty has an aim; here k counts", "aim"),
            (self.group >= 1, "group counts dictionaries, from 1", "group"),
            (self.mutual == 0 or self.group > 1, "mutual regularization needs a group of at least 2", "group"),
        )
        for holds, rule, name in rules:
            if not holds:
                raise ValueError(f"In a recipe, {rule}; {name}={getattr(self, name)!r} arrived.")
        if self.samples < self.batch:
            raise ValueError(
                f"At least one batch is needed; samples={self.samples} is less than batch={self.batch}. "
                "Give more samples."
            )
        if self.architecture in COUNTED and not 0 < self.k <= self.d_sae:
            raise ValueError(
                f"k counts features, from 1 to d_sae={self.d_sae}; k={self.k} arrived. Give a number in between."
            )
        widths = self.nested
        if list(widths) != sorted(set(widths)) or widths[0] < 1 or widths[-1] != self.d_sae:
            raise ValueError(f"Matryoshka widths grow, from 1 up to below d_sae={self.d_sae}; {self.widths} arrived.")

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return self.samples // self.batch

    @property
    def nested(self) -> tuple[int, ...]:
        """The widths of a matryoshka's reconstructions, d_sae last."""
        inner = self.widths or tuple(self.d_sae // part for part in (16, 8, 4, 2) if self.d_sae >= 2 * part)
        return (*(width for width in inner if width != self.d_sae), self.d_sae)
