"""Sparse autoencoders as trainable modules: one class an architecture, each with the loss of its paper.

Plain torch. Every decoder row has norm 1 throughout training, so that a penalty on the features cannot be dodged by
small features with long rows, and a feature's value is the length of what it writes. The reconstruction error is the
squared distance, summed over channels and averaged over the batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .recipe import SaeRecipe

# (f + SMOOTH)^p - SMOOTH^p: the slope of f^p is infinite at 0, which would kill a feature at its first small overlap.
SMOOTH = 0.01
AUXILIARY = 1 / 32  # weight of the loss by which dead features learn; Gao et al. 2024, appendix A.2
BANDWIDTH = 0.05  # jumprelu: width of the kernel that estimates the threshold's gradient
FIRST_THRESHOLD = 0.01
THRESHOLD_RATE = 0.01  # batchtopk: how fast the running threshold follows the batches


class Loss(NamedTuple):
    """The loss of a batch, its parts by name, and what the dictionary said of the batch."""

    total: Tensor
    parts: dict[str, Tensor]
    features: Float[Tensor, "batch d_sae"]
    reconstruction: Float[Tensor, "batch d_in"]


def squared_error(x: Float[Tensor, "batch d_in"], y: Float[Tensor, "batch d_in"]) -> Tensor:
    """The mean over the batch of |x - y|^2."""
    return (x - y).square().sum(-1).mean()


class Dictionary(nn.Module):
    """Encoder, decoder and biases: f = act((x - b_dec) W_enc + b_enc), reconstruction f W_dec + b_dec."""

    b_enc: Tensor
    saved_as = "standard"  # the architecture of the SAELens folder that it becomes
    biases = ("b_enc",)  # names of what is added to pre-activations, in the activations' units

    def __init__(self, recipe: SaeRecipe, d_in: int, seed: int | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        generator = torch.Generator().manual_seed(recipe.seed if seed is None else seed)
        rows = nn.functional.normalize(torch.randn(recipe.d_sae, d_in, generator=generator), dim=1)
        self.W_dec = nn.Parameter(rows)
        self.W_enc = nn.Parameter(rows.T.contiguous().clone())
        self.b_dec = nn.Parameter(torch.zeros(d_in))
        for name in self.biases:
            self.register_parameter(name, nn.Parameter(torch.zeros(recipe.d_sae)))

    def pre(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """The pre-activations."""
        return (x - self.b_dec) @ self.W_enc + self.b_enc

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Feature activations, as the saved dictionary gives them."""
        return torch.relu(self.pre(x))

    def decode(self, f: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_in"]:
        """The reconstruction of feature activations."""
        return f @ self.W_dec + self.b_dec

    def loss(self, x: Float[Tensor, "batch d_in"], dead: Bool[Tensor, " d_sae"] | None, warm: float | Tensor) -> Loss:
        """The loss of a batch.

        Args:
            dead: features that have not fired for long, or None where all have.
            warm: how much of the sparsity penalty counts: rises to 1, or to what an aim makes of it.
        """
        raise NotImplementedError

    @torch.no_grad()
    def keep_unit_rows(self) -> None:
        """Set the decoder's rows to norm 1."""
        self.W_dec.div_(self.W_dec.norm(dim=1, keepdim=True).clamp(min=1e-8))

    @torch.no_grad()
    def tangent_gradient(self) -> None:
        """Remove from the decoder's gradient what would only change the length of its rows."""
        if self.W_dec.grad is not None:
            self.W_dec.grad -= (self.W_dec.grad * self.W_dec).sum(1, keepdim=True) * self.W_dec

    @torch.no_grad()
    def fold(self, scale: float) -> None:
        """Change the units: the module, trained on `scale` times the activations, then reads the activations as they
        are, and a feature's value is the length of what it writes there."""
        for name in ("b_dec", "threshold", *self.biases):
            if name in self.state_dict():
                getattr(self, name).div_(scale)

    def weights(self) -> dict[str, Tensor]:
        """The tensors of the saved folder, by SAELens' names."""
        return {name: tensor.detach().clone() for name, tensor in self.state_dict().items()}


class Standard(Dictionary):
    """f = ReLU(pre); penalty sum_j f_j^p, L1 for p = 1 (Bricken et al. 2023)."""

    def loss(self, x: Tensor, dead: Tensor | None, warm: float | Tensor) -> Loss:
        """|x - reconstruction|^2 + sparsity * sum f^p."""
        f = self.encode(x)
        said = self.decode(f)
        p = self.recipe.p
        penalty = f if p == 1 else (f + SMOOTH) ** p - SMOOTH**p
        parts = {"error": squared_error(x, said), "sparsity": self.recipe.sparsity * warm * penalty.sum(-1).mean()}
        return Loss(parts["error"] + parts["sparsity"], parts, f, said)


class Gated(Dictionary):
    """f = 1[gate > 0] ReLU(magnitude), with tied encoders (Rajamanoharan et al. 2024, arXiv 2404.16014)."""

    b_gate: Tensor
    b_mag: Tensor
    saved_as = "gated"
    biases = ("b_gate", "b_mag")

    def __init__(self, recipe: SaeRecipe, d_in: int, seed: int | None = None) -> None:
        super().__init__(recipe, d_in, seed)
        self.r_mag = nn.Parameter(torch.zeros(recipe.d_sae))

    def _paths(self, x: Tensor) -> tuple[Tensor, Tensor]:
        projected = (x - self.b_dec) @ self.W_enc
        gate = projected + self.b_gate
        return gate, (gate > 0).to(x.dtype) * torch.relu(projected * self.r_mag.exp() + self.b_mag)

    def encode(self, x: Tensor) -> Tensor:
        """Feature activations."""
        return self._paths(x)[1]

    def loss(self, x: Tensor, dead: Tensor | None, warm: float | Tensor) -> Loss:
        """Equation 8: error + sparsity * |ReLU(gate)|_1 + error of ReLU(gate) through a frozen copy of the decoder."""
        gate, f = self._paths(x)
        said, opened = self.decode(f), torch.relu(gate)
        frozen = opened @ self.W_dec.detach() + self.b_dec.detach()
        parts = {
            "error": squared_error(x, said),
            "sparsity": self.recipe.sparsity * warm * opened.sum(-1).mean(),
            "auxiliary": squared_error(x, frozen),
        }
        return Loss(parts["error"] + parts["sparsity"] + parts["auxiliary"], parts, f, said)


class TopK(Dictionary):
    """The k largest pre-activations of a token, where they are positive (Gao et al. 2024, arXiv 2406.04093)."""

    saved_as = "topk"

    def encode(self, x: Tensor) -> Tensor:
        """Feature activations."""
        return self._sparse(torch.relu(self.pre(x)))

    def _sparse(self, f: Tensor) -> Tensor:
        top = f.topk(self.recipe.k, dim=-1, sorted=False)
        return torch.zeros_like(f).scatter(-1, top.indices, top.values)

    def loss(self, x: Tensor, dead: Tensor | None, warm: float | Tensor) -> Loss:
        """|x - reconstruction|^2, and what the strongest dead features say of the residual."""
        pre = self.pre(x)
        f = self._sparse(torch.relu(pre))
        said = self.decode(f)
        parts = {"error": squared_error(x, said)}
        if dead is not None:
            parts["auxiliary"] = AUXILIARY * self._revival((x - said).detach(), pre, dead)
        return Loss(torch.stack(list(parts.values())).sum(), parts, f, said)

    def _revival(self, residual: Tensor, pre: Tensor, dead: Tensor) -> Tensor:
        """The error with which the strongest dead features of a token (at most d_in / 2) say the residual."""
        among = dead.nonzero()[:, 0]
        most = residual.shape[-1] // 2
        strength = torch.relu(pre[:, among])
        if len(among) > most:
            top = strength.topk(most, dim=-1, sorted=False)
            strength = torch.zeros_like(strength).scatter(-1, top.indices, top.values)
        return min(len(among) / most, 1.0) * squared_error(residual, strength @ self.W_dec[among])


class BatchTopK(TopK):
    """k features a token on average over the batch (Bussmann et al. 2024, arXiv 2412.06410).

    A running mean of the smallest kept value becomes the threshold with which tokens are encoded one by one.
    """

    saved_as = "jumprelu"
    threshold: Tensor

    def __init__(self, recipe: SaeRecipe, d_in: int, seed: int | None = None) -> None:
        super().__init__(recipe, d_in, seed)
        self.register_buffer("threshold", torch.tensor(0.0))

    def encode(self, x: Tensor) -> Tensor:
        """Feature activations: what exceeds the threshold."""
        f = torch.relu(self.pre(x))
        return f * (f > self.threshold)

    def _sparse(self, f: Tensor) -> Tensor:
        with torch.no_grad():
            kept = f.flatten().topk(min(f.numel(), self.recipe.k * len(f)), sorted=False).values
            # Smallest positive: where fewer than k a token are positive, zeros were kept too.
            smallest = torch.where(kept > 0, kept, kept.max()).min()
            if self.training:
                rate = torch.where(self.threshold > 0, THRESHOLD_RATE, 1.0)
                self.threshold.lerp_(smallest, rate)
        return f * (f >= smallest)

    def weights(self) -> dict[str, Tensor]:
        """The tensors of the saved folder: every feature has the one threshold."""
        return {**super().weights(), "threshold": self.threshold.expand(self.recipe.d_sae).clone()}


class Matryoshka(BatchTopK):
    """BatchTopK whose first features also reconstruct alone, so that they stay general (Bussmann et al. 2025)."""

    def loss(self, x: Tensor, dead: Tensor | None, warm: float | Tensor) -> Loss:
        """The loss of BatchTopK and the error of the first features alone, at each inner width."""
        found = super().loss(x, dead, warm)
        parts, said, before = dict(found.parts), self.b_dec, 0
        for width in self.recipe.nested[:-1]:
            said = said + found.features[:, before:width] @ self.W_dec[before:width]
            parts[f"first {width}"], before = squared_error(x, said), width
        return Loss(torch.stack(list(parts.values())).sum(), parts, found.features, found.reconstruction)


class _Fires(torch.autograd.Function):
    """1[x > threshold]; the gradient of the threshold by a rectangle kernel, none for x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(x, threshold)
        return (x > threshold).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        x, threshold = ctx.saved_tensors
        near = ((x - threshold).abs() < BANDWIDTH / 2).to(x.dtype)
        return None, -(near * grads[0]).sum(0) / BANDWIDTH


class JumpReLU(Dictionary):
    """f = pre 1[pre > threshold], the number of features is penalized (Rajamanoharan et al. 2024, arXiv 2407.14435)."""

    saved_as = "jumprelu"

    def __init__(self, recipe: SaeRecipe, d_in: int, seed: int | None = None) -> None:
        super().__init__(recipe, d_in, seed)
        self.threshold = nn.Parameter(torch.full((recipe.d_sae,), FIRST_THRESHOLD))

    def encode(self, x: Tensor) -> Tensor:
        """Feature activations."""
        pre = torch.relu(self.pre(x))
        return pre * (pre > self.threshold)

    def loss(self, x: Tensor, dead: Tensor | None, warm: float | Tensor) -> Loss:
        """|x - reconstruction|^2 + sparsity * number of active features, by straight-through estimates."""
        with torch.no_grad():
            self.threshold.clamp_(min=0.0)
        pre = self.pre(x)
        fires = _Fires.apply(pre, self.threshold)
        assert isinstance(fires, Tensor)
        f = _Jump.apply(pre, self.threshold)
        assert isinstance(f, Tensor)
        said = self.decode(f)
        parts = {"error": squared_error(x, said), "sparsity": self.recipe.sparsity * warm * fires.sum(-1).mean()}
        return Loss(parts["error"] + parts["sparsity"], parts, f, said)


class _Jump(torch.autograd.Function):
    """x 1[x > threshold] with the paper's estimate of the threshold's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(x, threshold)
        return x * (x > threshold)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, threshold = ctx.saved_tensors
        near = ((x - threshold).abs() < BANDWIDTH / 2).to(x.dtype)
        return (x > threshold) * grads[0], -(threshold * near * grads[0]).sum(0) / BANDWIDTH


CLASSES: dict[str, type[Dictionary]] = {
    "standard": Standard, "gated": Gated, "topk": TopK, "batchtopk": BatchTopK,
    "matryoshka": Matryoshka, "jumprelu": JumpReLU,
}  # fmt: skip


def dictionary(recipe: SaeRecipe, d_in: int, seed: int | None = None) -> Dictionary:
    """An untrained dictionary of a recipe; `seed` instead of the recipe's."""
    return CLASSES[recipe.architecture](recipe, d_in, seed)
