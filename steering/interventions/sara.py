"""SARA: scale every channel by how much more it resembles an attracting prompt than a repelling one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor

from ..models.model import Model
from ..sites import Site
from .edits import Gain, SignGain
from .knobs import AtSite, Number, OneOf, Setup, Words
from .protocol import Intervention, Placement, Where

Sign = Literal["align", "canonical", "raw"]


def reduce(a: Float[Tensor, "d_model pos"], k: int) -> Float[Tensor, "d_model k"]:
    """The first k columns of U S in A = U S V^T: channels by components, whatever the number of tokens was."""
    u, s, _ = torch.linalg.svd(a, full_matrices=False)
    return u[:, :k] * s[:k]


def sara_gain(
    original: Float[Tensor, "pos d_model"],
    attract: Float[Tensor, "pos_attract d_model"],
    repel: Float[Tensor, "pos_repel d_model"],
    sign: Sign = "align",
) -> Float[Tensor, "d_model"]:
    """gamma = cos(original, attract) - cos(original, repel), per channel, in [-2, 2] (Tlaie 2024, arXiv 2405.17345).

    Each matrix is channels x tokens, reduced to K components, the fewest tokens of the three. A singular vector's sign
    is arbitrary and a change of the input in the seventh digit can flip it, so columns are aligned with the original's
    ("align"), or their largest entry made positive ("canonical"); "raw" is the authors' code.
    """
    k = min(len(original), len(attract), len(repel), original.shape[1])
    o, a, r = (reduce(h.float().T, k) for h in (original, attract, repel))
    if sign == "canonical":
        o, a, r = (m * m.gather(0, m.abs().argmax(0, keepdim=True)).sign() for m in (o, a, r))
    elif sign == "align":
        a, r = (m * torch.where((m * o).sum(0) < 0, -1.0, 1.0) for m in (a, r))
    cosine = torch.nn.functional.cosine_similarity
    return cosine(o, a, dim=1) - cosine(o, r, dim=1)


@dataclass(frozen=True, eq=False)
class Sara(Intervention):
    """h' = h * (1 + alpha gamma), a gain per channel found from the prompt (see `sara_gain`); nothing is added.

    Attributes:
        attract, repel: activations of the two steering prompts at the site, [pos, d_model], all tokens.
        mode: "frozen" finds gamma in the prompt pass and keeps it. "recompute" finds it again from all tokens so far at
            every step, without a cache. "paper" replicates what the authors' cached code does on generated tokens: one
            token at a time, so that every gain is 1 - 2 alpha, 1 or 1 + 2 alpha.
        sign: how the signs of singular vectors are fixed; "paper" goes with "raw".
    """

    attract: Float[Tensor, "pos_attract d_model"]
    repel: Float[Tensor, "pos_repel d_model"]
    site: Site
    alpha: float = 1.0
    mode: Literal["frozen", "recompute", "paper"] = "frozen"
    sign: Sign = "align"

    setup = Setup(
        "sara",
        "Rescale channels",
        "Strengthens the channels that resemble the first text and weakens those that resemble the second (SARA).",
        (
            Words("attract", "Attract", "a text to attract"),
            Words("repel", "Repel", "a text to repel"),
            AtSite(),
            Number("alpha", "Gain", -4.0, 4.0, 1.0, step=0.1),
            OneOf(
                "mode",
                "The gain is found",
                {
                    "frozen": "Once, from the prompt",
                    "recompute": "Anew at every token",
                    "paper": "As the authors' code does it",
                },
                "frozen",
            ),
            OneOf(
                "sign",
                "Signs of components",
                {"": "As the mode needs", "align": "Aligned", "canonical": "Canonical", "raw": "As they come"},
                "",
                help="A singular vector's sign is arbitrary; the authors leave it as it comes.",
            ),
        ),
        make="from_prompts",
        rank=9,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in ("frozen", "recompute", "paper"):
            raise ValueError(f'mode is "frozen", "recompute" or "paper"; got {self.mode!r}.')
        if self.sign not in ("align", "canonical", "raw"):
            raise ValueError(f'sign is "align", "canonical" or "raw"; got {self.sign!r}.')

    @classmethod
    @torch.no_grad()
    def from_prompts(
        cls,
        lm: Model,
        *,
        attract: str,
        repel: str,
        site: Site,
        alpha: float = 1.0,
        mode: Literal["frozen", "recompute", "paper"] = "frozen",
        sign: Sign | None = None,
        where: Where = "all",
        start: int = 0,
    ) -> Self:
        """SARA with the activations of two prompts; the authors steer at `resid_pre`."""
        sides = [lm.activations([lm.tokens(text)], [site])[0][site][0].float() for text in (attract, repel)]
        sign = sign or ("raw" if mode == "paper" else "align")
        return cls(sides[0], sides[1], site, alpha, mode, sign, where=where, start=start)

    def randomized(self, seed: int) -> Self:
        """The control: the channels of both prompts shuffled alike, which keeps the gains' sizes, not their places."""
        order = torch.randperm(self.attract.shape[1], generator=torch.Generator().manual_seed(seed))
        return replace(self, attract=self.attract[:, order], repel=self.repel[:, order])

    def placements(self, model: Model) -> Sequence[Placement]:
        model.check_site(self.site)
        attract, repel = self.attract.float().to(model.device), self.repel.float().to(model.device)
        if attract.shape[-1] != model.d_model or repel.shape[-1] != model.d_model:
            raise ValueError(
                f"SARA prompts for {model.name} have width {model.d_model}; "
                f"got {attract.shape[-1]} and {repel.shape[-1]}."
            )

        def find(h: Float[Tensor, "pos d_model"]) -> Gain:
            return Gain(self.alpha * sara_gain(h, attract, repel, self.sign)[None])

        if self.mode == "recompute":
            return [Placement(self.site, from_prompt=find, whole_history=True)]
        if self.mode == "frozen":
            return [Placement(self.site, from_prompt=find)]
        contrast = reduce(attract.T, 1)[:, 0].sign() - reduce(repel.T, 1)[:, 0].sign()
        return [
            Placement(self.site, from_prompt=find, where="prompt"),
            Placement(self.site, SignGain(self.alpha * contrast[None]), where="generated"),
        ]
