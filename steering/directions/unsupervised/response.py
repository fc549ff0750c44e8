"""The response of a later layer to a vector that is added at an earlier one: values, Jacobian products, gradients.

    Delta(theta) = Z(x with theta added at every token of the source) - Z(x)

with Z the activations at the target, at chosen tokens of one or many prompts. Everything that finds directions without
labels (Jacobian singular vectors, MELBO, deep causal transcoding, the linear range) is written in terms of `Response`.

Many vectors are rows of one pass: the layers up to the source run once, and the hook there gives the later layers one
row a vector. Derivatives at no vector need one row only, once, whatever they are multiplied with. Prompts run one after
another, so nothing is padded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...models.model import Model, Prompt
from ...sites import Site

Tick = Callable[[int, int, str], None]
Reduce = Literal["stack", "mean"]
LOGITS = "logits"
MOST_TOKENS = 4096  # tokens of all rows of one pass; more rows are done in several passes, so memory stays bounded
KEPT_TOKENS = 512  # tokens of the prompts whose graphs are kept from one product to the next
EPSILON = 1e-2  # of the length of the activations: the step of a finite difference


class _Reached(Exception):
    """Raised by the hook at the target: the rest of the pass is not needed."""


class _Linearized:
    """A function's derivative J at theta = 0, kept as graphs, so that products with J do not run the function again.

    J^T u is a backward pass. It is linear in u, so its own derivative with respect to u, transposed once more, is J v.
    Both are done for many vectors at once over the graph of a single row. Raises what torch raises if an operation
    cannot be differentiated twice.
    """

    def __init__(self, d_in: int, device: torch.device | str, run: Callable[[Tensor], Tensor]) -> None:
        # Fused attention cannot be differentiated twice; plain products can.
        with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
            self._theta = torch.zeros(1, d_in, device=device, requires_grad=True)
            self._z = run(self._theta)
            self._u = torch.zeros_like(self._z, requires_grad=True)
            (self._back,) = torch.autograd.grad(self._z, self._theta, self._u, create_graph=True)

    def __call__(self, v: Float[Tensor, "k d_in"]) -> Float[Tensor, "k pos d_target"]:
        """J v for each row of v."""
        return self._batched(self._back, self._u, v[:, None])[:, 0]

    def transposed(self, u: Float[Tensor, "k pos d_target"]) -> Float[Tensor, "k d_in"]:
        """J^T u for each row of u."""
        return self._batched(self._z, self._theta, u[:, None])[:, 0]

    @staticmethod
    def _batched(output: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(output, wanted, weights, is_grads_batched=True, retain_graph=True)
        return found.detach()


@dataclass(frozen=True, eq=False)
class Response:
    """How the activations at `target` change when a vector is added at `source`, on given prompts.

    Attributes:
        prompts: text, chat messages or token ids each.
        source: where the vector is added, at every token but BOS.
        target: a later site; "logits" for the model's logits; or a pair of token ids (a, b) for the one number
            logit(a) - logit(b).
        last: only the last so many tokens of each prompt are looked at; None for all.
        reduce: "stack" keeps every token of every prompt; "mean" averages over tokens and prompts.

    Raises:
        ValueError: no prompt; the target does not come after the source; the source is resid_mid, where a hook cannot
            part one row into many; a prompt that the model refuses.
    """

    lm: Model
    prompts: Sequence[Prompt]
    source: Site
    target: Site | Literal["logits"] | tuple[int, int]
    last: int | None = None
    reduce: Reduce = "stack"
    tokens: list[list[int]] = field(init=False, repr=False)
    _linear: dict[int, _Linearized | None] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.prompts, str) or not self.prompts:
            raise ValueError(f"The response is read on a list of prompts, at least one; got {self.prompts!r:.60}.")
        if self.last is not None and self.last < 1:
            raise ValueError(f"The last tokens of a prompt are at least one; got last={self.last}.")
        if self.reduce not in ("stack", "mean"):
            raise ValueError(f"Tokens are reduced by 'stack' or 'mean'; got {self.reduce!r}.")
        source = self.lm.check_site(Site.parse(self.source))
        object.__setattr__(self, "source", source)
        if source.stream == "resid_mid":
            raise ValueError(f"A vector is added at resid_pre, resid_post, attn_out or mlp_out; got {source}.")
        if isinstance(self.target, (Site, str)) and self.target != LOGITS:
            target = self.lm.check_site(Site.parse(self.target))
            if _depth(target) <= _depth(source):
                raise ValueError(f"The target comes after the source; got source {source} and target {target}.")
            object.__setattr__(self, "target", target)
        object.__setattr__(self, "tokens", [self.lm.tokens(prompt) for prompt in self.prompts])

    # Values -------------------------------------------------------------------------------------------------------

    @property
    def d_in(self) -> int:
        """The width of the vectors that are added."""
        return self.lm.width(self.source)

    @cached_property
    def d_out(self) -> int:
        """The number of entries of a response."""
        return self.baseline.shape[-1]

    @cached_property
    def baseline(self) -> Float[Tensor, " out"]:
        """Z(0): the target without a vector."""
        return self._values(torch.zeros(1, self.d_in, device=self.lm.device))[0]

    @cached_property
    def scale(self) -> float:
        """The median length of the activations at the source, by which a small step is small."""
        found, _ = self.lm.activations([self.tokens[0]], [self.source])
        return float(found[self.source][0].float().norm(dim=-1).median())

    def __call__(self, theta: Float[Tensor, "k d_in"]) -> Float[Tensor, "k out"]:
        """Delta(theta) for each row of theta."""
        return self._values(theta) - self.baseline

    def by_token(self, theta: Float[Tensor, "k d_in"]) -> list[Float[Tensor, "k pos d_target"]]:
        """Z(theta) of each prompt, token by token, with gradients where theta wants them. All rows in one pass."""
        return [self._pass(theta, ids) for ids in self.tokens]

    # Derivatives --------------------------------------------------------------------------------------------------

    def vjp(self, u: Float[Tensor, "k out"], at: Float[Tensor, "k d_in"] | None = None) -> Float[Tensor, "k d_in"]:
        """J^T u for each row of u, at theta = 0 or at the rows of `at`."""
        u = u.to(self.lm.device).float()
        total, offset = torch.zeros(len(u), self.d_in, device=self.lm.device), 0
        for number, ids in enumerate(self.tokens):
            pos = min(len(ids), self.last or len(ids))
            if self.reduce == "mean":
                weight = (u / self._seen)[:, None, :].expand(-1, pos, -1)
            else:
                width = u.shape[1] // self._seen * pos
                weight = u[:, offset : offset + width].reshape(len(u), pos, -1)
                offset += width
            linear = self._linearized(number) if at is None else None
            for rows in self._chunks(len(u)):
                chunk = slice(rows.start, rows.stop)
                if linear is not None:
                    total[chunk] += linear.transposed(weight[chunk])
                    continue
                theta = (torch.zeros(len(rows), self.d_in) if at is None else at[chunk]).detach().clone()
                theta = theta.to(self.lm.device).requires_grad_(True)
                with torch.enable_grad():
                    (part,) = torch.autograd.grad((self._pass(theta, ids) * weight[chunk]).sum(), theta)
                total[chunk] += part
        return total

    def jvp(self, v: Float[Tensor, "k d_in"], exact: bool | None = None) -> Float[Tensor, "k out"]:
        """J v for each row of v at theta = 0.

        By differentiation (`exact`), or by central differences where an operation of the model cannot be
        differentiated twice (`exact=False`; they agree to about seven digits of the cosine). None takes the first that
        works.
        """
        v = v.to(self.lm.device).float()
        linear = [self._linearized(number) for number in range(len(self.tokens))] if exact is not False else [None]
        if all(linear):
            rows = self._chunks(len(v))
            return torch.cat([self._reduced([one(v[r.start : r.stop]) for one in linear if one]) for r in rows])
        if exact:
            raise NotImplementedError(f"An operation of {self.lm.name} cannot be differentiated twice.")
        step = EPSILON * self.scale / v.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        both = self._values(torch.cat([v * step, -v * step]))
        return (both[: len(v)] - both[len(v) :]) / (2 * step)

    def _linearized(self, number: int) -> _Linearized | None:
        """The response of a prompt as a linear map at theta = 0; None if the model does not allow it."""
        if number in self._linear:
            return self._linear[number]
        try:
            found = _Linearized(self.d_in, self.lm.device, lambda theta: self._pass(theta, self.tokens[number]))
        except (NotImplementedError, RuntimeError):
            found = None
        if found is None or sum(len(self.tokens[known]) for known in self._linear) < KEPT_TOKENS:
            self._linear[number] = found
        return found

    # Passes -------------------------------------------------------------------------------------------------------

    @property
    def _seen(self) -> int:
        """How many tokens are looked at, over all prompts."""
        return sum(min(len(ids), self.last or len(ids)) for ids in self.tokens)

    def _chunks(self, k: int) -> Iterator[range]:
        size = max(1, MOST_TOKENS // max(len(ids) for ids in self.tokens))
        return (range(start, min(start + size, k)) for start in range(0, k, size))

    @torch.no_grad()
    def _values(self, theta: Float[Tensor, "k d_in"]) -> Float[Tensor, "k out"]:
        theta = theta.to(self.lm.device).float()
        return torch.cat(
            [self._reduced([self._pass(theta[rows], ids) for ids in self.tokens]) for rows in self._chunks(len(theta))]
        )

    def _reduced(self, parts: Sequence[Float[Tensor, "k pos d_target"]]) -> Float[Tensor, "k out"]:
        if self.reduce == "stack":
            return torch.cat([part.flatten(1) for part in parts], dim=1)
        return torch.stack([part.sum(1) for part in parts]).sum(0) / self._seen

    def _pass(self, theta: Tensor, ids: Sequence[int]) -> Float[Tensor, "k pos d_target"]:
        """The target's activations of one prompt, a row for each row of theta."""
        reached: list[Tensor] = []
        skip = 1 if ids[0] == self.lm.tokenizer.bos_token_id and len(ids) > 1 else 0

        def add(h: Tensor) -> Tensor:
            added = torch.zeros(1, h.shape[1], 1, device=h.device)
            added[:, skip:] = 1
            return (h.float() + theta[:, None, :] * added).to(h.dtype)

        def read(h: Tensor) -> None:
            reached.append(h)
            raise _Reached

        hooks = {self.source: add}
        tokens = torch.tensor([list(ids)], device=self.lm.device)
        if isinstance(self.target, Site):
            with suppress(_Reached):
                self.lm.forward(tokens, hooks={**hooks, self.target: read}, keep=1)
            h = reached[0]
        else:
            h = self.lm.forward(tokens, hooks=hooks, keep=int(self.last == 1))
            if isinstance(self.target, tuple):
                h = (h[..., self.target[0]] - h[..., self.target[1]])[..., None]
        return (h[:, -self.last :] if self.last else h).float()


def _depth(site: Site) -> float:
    """A place in the order in which a pass meets sites."""
    order = ("resid_pre", "attn_out", "resid_mid", "mlp_in", "mlp_out", "resid_post")
    return site.layer + (order.index(site.stream) / 10 if site.stream in order else 0.05)


def random_units(k: int, d: int, seed: int) -> Float[Tensor, "k d"]:
    """k random vectors of length 1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(k, d, generator=generator), dim=-1)
