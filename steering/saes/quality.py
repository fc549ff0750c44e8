"""How good a dictionary is, on text that it was not trained on: what it explains, what it costs, what it can steer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..models.hooks import Hook
from ..models.lens import token_effects
from ..models.model import Model
from ..sites import Site
from .comparing.matching import interference
from .making.harvest import special_tokens
from .making.tokens import Windows


class Codes(Protocol):
    """What is measured: an SAE of SAELens, or a dictionary in training."""

    W_dec: Any

    def encode(self, x: Tensor, /) -> Tensor:
        """Feature activations."""
        ...

    def decode(self, f: Tensor, /) -> Tensor:
        """The reconstruction."""
        ...


@dataclass(frozen=True)
class SaeQuality:
    """How well an SAE says what it was shown."""

    explained_variance: float  # 1 - |h - reconstruction|^2 / |h - mean|^2, both summed over the tokens
    l0: float  # active features a token
    dead: float  # share of features that never fire
    tokens: int


class Explained:
    """Sums over tokens from which explained variance and shrinkage follow."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.count = 0
        self._h = torch.zeros(width, dtype=torch.double, device=device)
        self._said = torch.zeros_like(self._h)
        self._squares = torch.zeros(4, dtype=torch.double, device=device)  # h h, said said, h said, error

    def add(self, h: Float[Tensor, "tokens d"], said: Float[Tensor, "tokens d"]) -> None:
        """Count tokens and what was said of them."""
        h, said = h.double(), said.double()
        self.count += len(h)
        self._h += h.sum(0)
        self._said += said.sum(0)
        self._squares += torch.stack([(h * h).sum(), (said * said).sum(), (h * said).sum(), (h - said).square().sum()])

    @property
    def variance(self) -> float:
        """1 - |h - said|^2 / |h - mean|^2."""
        spread = self._squares[0] - self._h.square().sum() / self.count
        return float(1 - self._squares[3] / spread)

    @property
    def shrinkage(self) -> float:
        """What the reconstructions would have to be divided by to lie closest to the truth; below 1 they are too short.

        Rajamanoharan et al. 2024, equation 10, about the mean activation.
        """
        mean = self._h / self.count
        said = self._squares[1] - 2 * mean @ self._said + self.count * mean @ mean
        both = self._squares[2] - mean @ self._said - mean @ self._h + self.count * mean @ mean
        return float(said / both)


@torch.no_grad()
def quality(sae: Codes, activations: Float[Tensor, "tokens d_model"], rows: int = 4096) -> SaeQuality:
    """Explained variance, L0 and dead features on these activations, which should not be those of the training."""
    explained = Explained(activations.shape[1], activations.device)
    fired = torch.zeros(len(sae.W_dec), device=activations.device)
    for batch in activations.split(rows):
        features = sae.encode(batch)
        explained.add(batch, sae.decode(features))
        fired += (features > 0).sum(0)
    dead = float((fired == 0).float().mean())
    return SaeQuality(explained.variance, float(fired.sum()) / len(activations), dead, len(activations))


class Bench:
    """Held-out windows, a site and the norm above which its tokens are massive: where dictionaries are measured.

    Special and massive tokens are never replaced by a reconstruction: no dictionary is trained on them.
    """

    def __init__(
        self, lm: Model, windows: Windows, site: Site, threshold: float, *, tokens: int, batch_tokens: int = 2048
    ) -> None:
        self.lm, self.site, self.threshold = lm, site, threshold
        self.special = torch.tensor(sorted(special_tokens(lm)), device=lm.device)
        order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0)).tolist()
        chosen, seen = [], 0
        for number in order:
            if seen >= tokens:
                break
            chosen.append(windows[number])
            seen += len(chosen[-1])
        chosen.sort(key=len)
        self.batches: list[list[list[int]]] = [[]]
        for ids in chosen:
            if self.batches[-1] and (len(self.batches[-1]) + 1) * len(ids) > batch_tokens:
                self.batches.append([])
            self.batches[-1].append(ids)

    def plain(self, ids: Tensor, mask: Tensor) -> Bool[Tensor, "rows pos"]:
        """Tokens that are neither padding nor special."""
        return mask & ~torch.isin(ids, self.special)

    def usual(self, h: Float[Tensor, "*batch d"]) -> Bool[Tensor, "*batch"]:
        """Tokens that are not massive."""
        return h.float().norm(dim=-1) <= self.threshold

    @torch.no_grad()
    def said(self, sae: Codes) -> tuple[dict[str, float], Float[Tensor, " d_sae"], Float[Tensor, " d_sae"]]:
        """Explained variance, L0 and the like; the share of tokens each feature fires on; its largest value."""
        width, device = self.lm.width(self.site), self.lm.device
        fine, every = Explained(width, device), Explained(width, device)
        fired = torch.zeros(len(sae.W_dec), device=device)
        largest = torch.zeros_like(fired)
        for prompts in self.batches:
            found, mask = self.lm.activations(prompts, [self.site])
            h = found[self.site][self.plain(self.lm.pad(prompts)[0], mask)].float()
            usual = self.usual(h)
            for part, keep in zip(h.split(8192), usual.split(8192), strict=True):
                features = sae.encode(part)
                reconstruction = sae.decode(features)
                every.add(part, reconstruction)
                fine.add(part[keep], reconstruction[keep])
                fired += (features[keep] > 0).sum(0)
                largest = torch.maximum(largest, features[keep].amax(0) if bool(keep.any()) else largest)
        density = fired / fine.count
        near = interference(sae.W_dec.detach())
        alive = density[density > 0].log10()
        return (
            {
                "explained_variance": fine.variance,
                "explained_variance_with_massive": every.variance,
                "l0": float(fired.sum()) / fine.count,
                "dead": float((fired == 0).float().mean()),
                "above_1_percent": float((density > 0.01).float().mean()),
                "above_10_percent": float((density > 0.1).float().mean()),
                "median_log10_density": float(alive.median()) if len(alive) else float("nan"),
                "shrinkage": fine.shrinkage,
                "max_cosine_mean": float(near.mean()),
                "max_cosine_99": float(near.quantile(0.99)),
                "tokens": fine.count,
                "massive": 1 - fine.count / every.count,
            },
            density,
            largest,
        )

    @torch.no_grad()
    def cost(self, sae: Codes) -> dict[str, float]:
        """What replacing the site by the reconstruction costs the model's predictions of the next token.

        Cross-entropy recovered is (zero - sae) / (zero - clean), where zero sets the same tokens to 0 instead.
        """
        sums = torch.zeros(4, dtype=torch.double)  # clean, sae, zero, KL(clean | sae)
        count = 0
        for prompts in self.batches:
            ids, mask, positions = self.lm.pad(prompts)
            plain, real = self.plain(ids, mask), mask[:, 1:] & mask[:, :-1]

            def logits(
                hook: Hook | None, ids: Tensor = ids, mask: Tensor = mask, positions: Tensor = positions,
                real: Tensor = real,
            ) -> Tensor:  # fmt: skip
                out = self.lm.forward(
                    ids, attention_mask=mask.long(), positions=positions, hooks={self.site: hook} if hook else None
                )
                return out[:, :-1][real].float().log_softmax(-1)

            target = ids[:, 1:][real]
            clean, changed = logits(None), logits(self._replacing(sae, plain))
            kl = (clean.exp() * (clean - changed)).sum()
            zero = logits(self._replacing(None, plain))
            scores = [F.nll_loss(each, target, reduction="sum") for each in (clean, changed, zero)]
            sums += torch.stack([*scores, kl]).double().cpu()
            count += len(target)
        clean, changed, zero, kl = (sums / count).tolist()
        return {
            "ce_recovered": (zero - changed) / (zero - clean),
            "ce_clean": clean, "ce_sae": changed, "ce_zero": zero, "kl": kl,
        }  # fmt: skip

    def _replacing(self, sae: Codes | None, plain: Tensor) -> Hook:
        def hook(h: Tensor) -> Tensor:
            keep = plain & self.usual(h)
            new = h.clone()
            part = h[keep].float()
            new[keep] = (torch.zeros_like(part) if sae is None else sae.decode(sae.encode(part))).to(h.dtype)
            return new

        return hook

    @torch.no_grad()
    def steers(
        self, sae: Codes, largest: Float[Tensor, " d_sae"], *, features: int = 100, contexts: int = 8, tokens: int = 24
    ) -> dict[str, float]:
        """How often a clamped feature moves the next token the way its logit lens says.

        A feature is added at its largest value to all tokens of some contexts. Counted are features whose 10 most
        promoted tokens rise into the top tenth of all changes, on average; the control asks the same of those tokens
        while another feature is clamped.
        """
        device, generator = self.lm.device, torch.Generator().manual_seed(0)
        alive = (largest > 0).nonzero()[:, 0].cpu()
        chosen = alive[torch.randperm(len(alive), generator=generator)[:features]].to(device)
        rows = [ids for batch in self.batches for ids in batch if len(ids) >= tokens]
        picked = torch.randperm(len(rows), generator=generator)[:contexts].tolist()
        ids = torch.tensor([rows[number][:tokens] for number in picked], device=device)
        if len(chosen) < 2 or len(ids) == 0:
            return {"steers": float("nan"), "steers_control": float("nan")}
        written = sae.W_dec.detach().float()[chosen]
        promoted = torch.cat([token_effects(self.lm, part).topk(10, dim=-1).indices for part in written.split(32)])
        clean = self.lm.forward(ids, keep=1)[:, -1].float()
        plain = ~torch.isin(ids, self.special)
        ranks = torch.stack([
            self._ranks(clean, ids, plain, float(largest[feature]) * row)
            for feature, row in zip(chosen, written, strict=True)
        ])  # fmt: skip
        own = ranks.gather(1, promoted).mean(1)
        other = ranks.roll(1, 0).gather(1, promoted).mean(1)
        return {
            "steers": float((own >= 0.9).float().mean()),
            "steers_control": float((other >= 0.9).float().mean()),
            "steered_features": float(len(chosen)),
        }

    def _ranks(self, clean: Tensor, ids: Tensor, plain: Tensor, vector: Tensor) -> Float[Tensor, " vocab"]:
        """For each token of the vocabulary the share of tokens whose logit rises less, on average over contexts."""

        def hook(h: Tensor) -> Tensor:
            return h + plain[..., None] * vector.to(h.dtype)

        moved = self.lm.forward(ids, hooks={self.site: hook}, keep=1)[:, -1].float()
        order = (moved - clean).mean(0).argsort()
        ranks = torch.empty(len(order), device=order.device)
        ranks[order] = torch.linspace(0, 1, len(order), device=order.device)
        return ranks


def measure(bench: Bench, sae: Codes, tick: Callable[[str], None] = lambda what: None) -> dict[str, float]:
    """Every measure of a dictionary, by name."""
    tick("what it explains")
    said, _, largest = bench.said(sae)
    tick("what it costs")
    cost = bench.cost(sae)
    tick("what it steers")
    return {**said, **cost, **bench.steers(sae, largest)}


def table(rows: Sequence[tuple[str, dict[str, float]]]) -> str:
    """Measures of several dictionaries as a table in Markdown, a dictionary a column."""
    names = list(dict.fromkeys(name for _, measures in rows for name in measures))
    head = ["| measure |" + "".join(f" {name} |" for name, _ in rows), "| --- |" + " --- |" * len(rows)]
    body = [f"| {name} |" + "".join(f" {m.get(name, float('nan')):.4g} |" for _, m in rows) for name in names]
    return "\n".join([*head, *body]) + "\n"
