"""Additions of a vector: ActivationAddition (CAA, RepE) to every token, ActAdd to the first prompt positions.

Every addition can be kept within the span of some texts' activations (`within`, see directions/geometry/manifold.py):
h' = h + P a instead of h + a. P is linear, so an addition at strength 0 is none, and kept twice is kept once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from ..directions.direction import Direction
from ..directions.geometry.manifold import Manifold
from ..models.model import Model
from ..sites import Site
from .edits import AtPositions, RankOne
from .knobs import NORMS, AtSite, Number, Setup, Vector, Within, Words
from .protocol import Intervention, Placement, Where


@dataclass(frozen=True, eq=False, kw_only=True)
class Additive(Intervention):
    """An intervention that adds vectors which do not depend on the activations.

    Attributes:
        within: add only the part of the vectors in this span; strengths are then in units of that part.
    """

    within: Manifold | None = None

    @property
    @abstractmethod
    def writes_at(self) -> Site:
        """The site to whose stream the vectors are added."""

    @property
    @abstractmethod
    def added(self) -> Float[Tensor, "*pos d_model"]:
        """The vectors at strength 1, before they are kept within the span."""

    @property
    def kept(self) -> Float[Tensor, "*pos d_model"]:
        """The vectors at strength 1, as they are added.

        Raises:
            ValueError: the span is of another site or width, or holds nothing of the vectors.
        """
        added, span = self.added, self.within
        if span is None:
            return added
        if span.site != self.writes_at or span.basis.shape[1] != added.shape[-1]:
            raise ValueError(f"An addition at {self.writes_at} is kept within a span of activations there; got {span}.")
        if self.share < 1e-9:
            raise ValueError(f"Nothing of this addition lies in the {len(span.basis)} dimensions that the texts span.")
        return span.project(added)

    @property
    def share(self) -> float:
        """|P a|^2 / |a|^2 over all vectors: how much of the addition is left."""
        added = self.added
        return 1.0 if self.within is None else self.within.share(added)

    def notes(self, prompt_length: int) -> tuple[str, ...]:
        if self.within is None:
            return ()
        k, d = self.within.basis.shape
        return (
            f"Kept within {k} of {d} dimensions that texts span: {self.share:.0%} of the addition (of its squared "
            "length) lies there. This limits where it points, not how far: too large a strength still exaggerates.",
        )


@dataclass(frozen=True, eq=False)
class ActivationAddition(Additive):
    """h' = h + alpha v at the direction's site (Rimsky et al. 2023, CAA; Zou et al. 2023, RepE).

    v is added as it is, so alpha is in units of v's own norm. A direction in feature space is decoded first
    (v @ W_dec). CAA steers from the end of the instruction on: `where="from_last"`, or `start` at that position.
    """

    direction: Direction
    alpha: float = 1.0

    setup = Setup(
        "add",
        "Add",
        "Adds the direction to every token (CAA, RepE).",
        (Vector(), Number("alpha", "Alpha", -2.0, 2.0, 0.5, unit=NORMS, help="How far tokens are shifted."), Within()),
        rank=1,
    )

    def placements(self, model: Model) -> Sequence[Placement]:
        self.direction.check(model)
        return [Placement(self.direction.site, RankOne.make(self.kept.to(model.device), offset=self.alpha))]

    @property
    def writes_at(self) -> Site:
        return self.direction.site

    @property
    def added(self) -> Float[Tensor, "d_model"]:
        return self.direction.decoded()

    @property
    def unit_shift(self) -> float:
        return float(self.kept.norm())


@dataclass(frozen=True, eq=False)
class ActAdd(Additive):
    """h'[start + i] = h[start + i] + alpha difference[i], in the prompt pass only (Turner et al. 2023).

    Front-aligned: with start 0 the first row meets BOS, where the difference of two prompts is zero. On a prompt
    shorter than the difference what fits is applied, and the receipt says so.
    """

    difference: Float[Tensor, "k d_model"]
    site: Site
    alpha: float = 1.0

    setup = Setup(
        "actadd",
        "Add a prompt contrast",
        "Adds the difference of two prompts to the first tokens (ActAdd).",
        (
            Words("positive", "Toward", "a text to move toward"),
            Words("negative", "Away from", "a text to move away from", required=False),
            AtSite(),
            Number("alpha", "Alpha", -2.0, 2.0, 0.5, unit=NORMS, help="The largest shift of the positions."),
            Within(),
        ),
        make="from_prompts",
        rank=8,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.difference.ndim != 2 or not len(self.difference):
            raise ValueError(f"An ActAdd difference is [pos, d_model]; got shape {list(self.difference.shape)}.")

    @classmethod
    @torch.no_grad()
    def from_prompts(
        cls,
        lm: Model,
        positive: str,
        negative: str,
        site: Site,
        *,
        alpha: float = 1.0,
        where: Where = "all",
        start: int = 0,
        pad: str = " ",
        within: Manifold | None = None,
    ) -> Self:
        """The difference of two prompts' activations; the shorter is padded on the right with `pad`, a space.

        Raises:
            ValueError: a prompt is empty, or `pad` is not one token.
        """
        sides = [lm.tokens(positive), lm.tokens(negative) if negative else lm.tokens(pad)]
        if not negative:  # the empty prompt is BOS alone where there is one, then padding
            sides[1] = sides[1][: lm.leading(sides[1])]
        filler = lm.tokenizer.encode(pad, add_special_tokens=False)
        if not filler:
            raise ValueError(f"pad is text of at least one token; {pad!r} has none.")
        longest = max(map(len, sides))
        filled = [side + filler[-1:] * (longest - len(side)) for side in sides]
        found, _ = lm.activations(filled, [site])
        h = found[site].float()
        return cls(h[0] - h[1], site, alpha, where=where, start=start, within=within)

    def placements(self, model: Model) -> Sequence[Placement]:
        model.check_site(self.site)
        if self.difference.shape[1] != model.d_model:
            raise ValueError(
                f"An ActAdd difference for {model.name} has width {model.d_model}; got {self.difference.shape[1]}."
            )
        matrix = self.alpha * self.kept.to(model.device)
        start = torch.tensor([self.start], device=model.device)
        return [Placement(self.site, AtPositions(matrix[None], start), where="prompt")]

    @property
    def writes_at(self) -> Site:
        return self.site

    @property
    def added(self) -> Float[Tensor, "k d_model"]:
        return self.difference.float()

    @property
    def unit_shift(self) -> float:
        return float(self.kept.norm(dim=-1).max())

    def randomized(self, seed: int) -> Self:
        """The control: random rows, each as long as the difference's."""
        noise = torch.randn(self.difference.shape, generator=torch.Generator().manual_seed(seed))
        size = self.difference.float().norm(dim=-1, keepdim=True)
        return replace(self, difference=noise / noise.norm(dim=-1, keepdim=True) * size.cpu())

    def span(self, prompt_length: int) -> tuple[int, float]:
        low, high = super().span(prompt_length)
        return low, min(high, self.start + len(self.difference))

    def notes(self, prompt_length: int) -> tuple[str, ...]:
        wanted, room = len(self.difference), prompt_length - self.start
        fits = f"The difference has {wanted} positions; the prompt has room for {max(room, 0)} of them."
        return (*super().notes(prompt_length), *([fits] if room < wanted else []))
