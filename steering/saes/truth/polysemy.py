"""Four ways in which one neuron answers to several features, only one of which is superposition.

After L. Chan, "Superposition is not just neuron polysemanticity" (2024): features may lie across the neurons and yet be
orthogonal, may be written by a code that no sum of directions reads, or may be put together from parts. Each is built
here as the smallest model that has it, and measured the same way, so that a plot tells it from superposition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

NEURONS = 8
SAMPLES = 4_000
MOST_ACTIVE = 4  # features at once, in the plot of what is still read out
ANSWERS = 0.25  # a neuron answers to a feature that moves it by this share of its largest response


@dataclass(frozen=True)
class NeuronCode:
    """Features written into neurons: `write` gives the neurons of feature values, `read` what is found in them.

    Attributes:
        exclusive: whether only one feature is there at a time.
        tells: what tells it from superposition, in a sentence.
    """

    name: str
    features: int
    write: Callable[[Float[Tensor, "batch features"]], Float[Tensor, "batch neurons"]]
    read: Callable[[Float[Tensor, "batch neurons"]], Bool[Tensor, "batch features"]]
    exclusive: bool
    tells: str

    @property
    def vectors(self) -> Float[Tensor, "features neurons"]:
        """What each feature alone writes."""
        return self.write(torch.eye(self.features)) - self.write(torch.zeros(1, self.features))


@dataclass(frozen=True)
class CodeMeasures:
    """What can be seen of a code from outside."""

    alignment: Float[np.ndarray, " features"]  # largest |cosine| with a neuron: 1 lies along one
    interference: Float[np.ndarray, " features"]  # largest |cosine| with another feature's vector
    answers: float  # features that a neuron answers to, on average
    rank: int  # dimensions that the features' vectors span
    linear: tuple[float, ...]  # share of features read out by a fitted linear probe, with 1, 2, ... at a time
    own: tuple[float, ...]  # and by the code's own reader

    @property
    def superposed(self) -> bool:
        """Whether more features than dimensions share the space, so that they must interfere."""
        return len(self.alignment) > self.rank


def rotated(seed: int = 0) -> NeuronCode:
    """As many orthogonal features as neurons, turned away from them."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(NEURONS, NEURONS, generator=generator))[0]
    return NeuronCode(
        "Orthogonal, not along neurons", NEURONS, lambda f: f @ turn, lambda h: h @ turn.T > 0.5, False,
        "No two features interfere: a rotation of the neurons makes each one clean, and a linear probe reads any "
        "number of them at once.",
    )  # fmt: skip


def leveled() -> NeuronCode:
    """Two features a neuron, told apart by how strongly it fires: 1 for the first, 2 for the second, 3 for both."""

    def write(f: Tensor) -> Tensor:
        present = (f > 0).float()
        return present[:, 0::2] + 2 * present[:, 1::2]

    def read(h: Tensor) -> Tensor:
        level = h.round()
        both = torch.stack([level % 2 == 1, level >= 2], dim=-1)
        return both.flatten(-2)

    return NeuronCode(
        "A non-linear code", 2 * NEURONS, write, read, False,
        "Two features have one direction, so no linear probe parts them; its own reader, by level, makes no mistake "
        "with any number at once. In superposition every reader gets worse the more there is.",
    )  # fmt: skip


def composed() -> NeuronCode:
    """Sixteen objects of four shapes and four colors; a neuron for each shape and each color."""
    shape, color = torch.eye(4).repeat_interleave(4, 0), torch.eye(4).repeat(4, 1)
    parts = torch.cat([shape, color], dim=1)
    return NeuronCode(
        "A compositional code", 16, lambda f: f @ parts, lambda h: h @ parts.T > 1.5, True,
        "A neuron answers to four objects because they share a part. The sixteen objects span seven dimensions, and "
        "eight parts, each along a neuron, say everything: a dictionary of parts is shorter than one of objects.",
    )  # fmt: skip


def superposed(seed: int = 0) -> NeuronCode:
    """Twice as many features as neurons, in directions as far apart as they get."""
    vectors = _spread(2 * NEURONS, NEURONS, seed)
    return NeuronCode(
        "Superposition", 2 * NEURONS, lambda f: f @ vectors, lambda h: h @ vectors.T > 0.5, False,
        "Every feature interferes with others. One at a time is read out cleanly; with more at once the interference "
        "adds up and readers fail.",
    )  # fmt: skip


def aligned() -> NeuronCode:
    """A neuron for each feature: what polysemanticity is the opposite of."""
    return NeuronCode(
        "One neuron a feature", NEURONS, lambda f: f, lambda h: h > 0.5, False,
        "Each feature lies along a neuron, and none interferes.",
    )  # fmt: skip


def codes() -> tuple[NeuronCode, ...]:
    """All of them, superposition last."""
    return aligned(), rotated(), leveled(), composed(), superposed()


def _spread(count: int, width: int, seed: int, steps: int = 300) -> Float[Tensor, "count width"]:
    """Unit vectors that were pushed apart until their largest |cosine| hardly falls."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(count, width, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([vectors], lr=0.05)
    for _ in range(steps):
        rows = F.normalize(vectors, dim=1)
        loss = ((rows @ rows.T).fill_diagonal_(0.0) ** 8).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return F.normalize(vectors.detach(), dim=1)


def measure_code(code: NeuronCode, seed: int = 0) -> CodeMeasures:
    """What is seen of a code from outside, and how much of it is read out of samples that no reader was fitted on."""
    vectors = code.vectors
    unit = F.normalize(vectors, dim=1)
    near = (unit @ unit.T).abs().fill_diagonal_(0.0)
    moved = vectors.abs()
    answers = (moved >= ANSWERS * moved.max(0, keepdim=True).values).sum(0).float().mean()
    generator = torch.Generator().manual_seed(seed)
    most = 1 if code.exclusive else MOST_ACTIVE
    linear, own = [], []
    for active in range(1, most + 1):
        fit, held = (_present(code, active, generator) for _ in range(2))
        linear.append(_probed(code, fit, held))
        own.append(_whole(code.read(code.write(held.float())), held))
    return CodeMeasures(
        unit.abs().max(1).values.numpy(), near.max(1).values.numpy(), float(answers),
        int(torch.linalg.matrix_rank(vectors)), tuple(linear), tuple(own),
    )  # fmt: skip


def _present(code: NeuronCode, active: int, generator: torch.Generator) -> Bool[Tensor, "batch features"]:
    """Samples with exactly `active` features."""
    order = torch.rand(SAMPLES, code.features, generator=generator).argsort(1)
    return order < active


def _whole(read: Bool[Tensor, "batch features"], held: Bool[Tensor, "batch features"]) -> float:
    """The share of samples of which every feature is read rightly."""
    return float((read == held).all(1).float().mean())


def _probed(code: NeuronCode, fit: Tensor, held: Tensor) -> float:
    """The same by a linear probe, fitted by least squares and cut midway between what it says of both classes."""
    inside, outside = (torch.cat([code.write(f.float()), torch.ones(len(f), 1)], 1) for f in (fit, held))
    weights = torch.linalg.lstsq(inside, fit.float(), driver="gelsd").solution
    said, there = inside @ weights, fit.float()
    present, absent = ((said * part).sum(0) / part.sum(0) for part in (there, 1 - there))
    return _whole(outside @ weights > (present + absent) / 2, held)
