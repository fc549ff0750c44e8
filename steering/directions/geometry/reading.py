"""Reading directions: which directions of the stream a layer reads, and how many of them matter for the prediction.

A layer reads the stream through its norm and then through weights: queries, keys and values of each head, and the input
of its MLP. Weighted by what occurs, X = U S V^T, the left singular vectors of (S V^T) W say which combinations of
occupied directions those weights tell apart, the most read first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...models.lens import gain
from ...models.model import Model, Prompt
from ...sites import Site
from ..direction import Direction
from .tokens import tokens_of


@dataclass(frozen=True, eq=False)
class ReadingDirections:
    """What one part of a layer reads, as unit directions at its input, the most read first.

    Attributes:
        part: "q", "k" or "v" with a head ("q.3") or for the whole layer ("q"), or "mlp".
        values: how much of the occupied variance goes through each.
        read: the effective number of directions read, (sum s^2)^2 / sum s^4.
        occupied: the effective number of directions that the activations occupy, beside it.
    """

    part: str
    directions: tuple[Direction, ...]
    values: Float[Tensor, " k"]
    read: float
    occupied: float

    def __repr__(self) -> str:
        site = self.directions[0].site
        return f"ReadingDirections({self.part} at {site}: reads {self.read:.1f} of {self.occupied:.1f} dimensions)"


def read_through(
    x: Float[Tensor, "tokens d_model"], weight: Float[Tensor, "d_model out"]
) -> tuple[Float[Tensor, "d_model k"], Float[Tensor, " k"], Float[Tensor, " r"]]:
    """The directions [d_model k] that a weight reads of activations, their values, and the activations' own values.

    SVD of (S V^T) W with X = U S V^T; a left singular vector combines principal directions, and V turns it back.

    By hand: X = diag(2, 1) and W = (0, 1)^T: S V^T = diag(2, 1), (S V^T) W = (0, 1)^T, so the direction is (0, 1) with
    value 1, though the first axis holds four fifths of the energy.
    """
    _, s, vh = torch.linalg.svd(x.double(), full_matrices=False)
    left, values, _ = torch.linalg.svd((s[:, None] * vh) @ weight.double(), full_matrices=False)
    return vh.T @ left, values, s


def participation(values: Float[Tensor, " k"]) -> float:
    """(sum s^2)^2 / sum s^4: k for k equal values, 1 for one alone."""
    squares = values.double().square()
    return float(squares.sum() ** 2 / squares.square().sum().clamp_min(1e-300))


def reading_directions(
    lm: Model, site: Site, texts: Sequence[Prompt], *, k: int = 8, heads: bool = True
) -> list[ReadingDirections]:
    """What the layer at a site reads there: queries, keys and values (of each head and of all), and the MLP's input.

    The site is `resid_pre` of the layer (read by attention) or `resid_mid` (read by the MLP); `resid_post` of layer l
    is read as `resid_pre` of layer l + 1.

    Raises:
        ValueError: the site is not the stream before attention or MLP, no text, or the family keeps these weights in
            a form that is not known here.
    """
    site = lm.check_site(Site.parse(site))
    if site.stream == "resid_post" and site.layer + 1 < lm.n_layers:
        site = Site(site.layer + 1, "resid_pre")
    if site.stream not in ("resid_pre", "resid_mid"):
        raise ValueError(f"A layer reads the stream at resid_pre (attention) or resid_mid (MLP); got {site}.")
    x = tokens_of(lm, texts, site)
    parts = lm.adapter.component_mapping["blocks"].submodules
    norm = lm.blocks[site.layer].get_submodule(parts["ln1" if site.stream == "resid_pre" else "ln2"].name)
    scaled = _normalized(x, norm)
    scale = gain(norm, lm).cpu()
    found_parts = []
    for name, weight in _weights(lm, site, heads).items():
        vectors, values, occupied = read_through(scaled, scale[:, None] * weight)
        about = {"model": lm.identity, "method": "reading", "part": name, "layer": site.layer, "texts": len(texts)}
        directions = tuple(
            Direction(vectors[:, i].float(), site, None, f"{name} reads {i + 1}", {**about, "value": float(values[i])})
            for i in range(min(k, vectors.shape[1]))
        )
        found_parts.append(
            ReadingDirections(name, directions, values[:k].float(), participation(values), participation(occupied))
        )
    return found_parts


def _normalized(x: Tensor, norm: nn.Module) -> Tensor:
    """What the norm does before its gain and bias."""
    x = x.double()
    if isinstance(norm, nn.LayerNorm):
        x = x - x.mean(-1, keepdim=True)
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def _weights(lm: Model, site: Site, heads: bool) -> dict[str, Float[Tensor, "d_model out"]]:
    """The weights that read at a site, [d_model out] each, by part."""
    block = lm.blocks[site.layer]
    parts = lm.adapter.component_mapping["blocks"].submodules
    if site.stream == "resid_mid":
        mlp = parts["mlp"]
        names = [mlp.submodules[key].name for key in ("gate", "in") if key in mlp.submodules]
        found = [_matrix(block.get_submodule(f"{mlp.name}.{name}")) for name in names]
        if not found:
            raise ValueError(f"The MLP of {lm.name} has no reading weights that are known here.")
        return {"mlp": torch.cat(found, dim=1)}
    attn = parts["attn"]
    names = {part: attn.submodules[part].name for part in ("q", "k", "v") if part in attn.submodules}
    config = lm.text_config
    n_heads = int(config.num_attention_heads)
    width = int(getattr(config, "head_dim", None) or lm.d_model // n_heads)
    whole: dict[str, Tensor] = {}
    if len(names) == 3 and all(_has(block, f"{attn.name}.{name}") for name in names.values()):
        whole = {part: _matrix(block.get_submodule(f"{attn.name}.{name}")) for part, name in names.items()}
    else:
        joint = next((m for n, m in block.named_modules() if n.rsplit(".", 1)[-1] == "c_attn"), None)
        if joint is None:
            raise ValueError(f"{lm.name} keeps queries, keys and values in a form that is not known here.")
        whole = dict(zip("qkv", _matrix(joint).chunk(3, dim=1), strict=True))
    found_parts = dict(whole)
    if heads:
        for part, weight in whole.items():
            for head, piece in enumerate(weight.split(width, dim=1)):
                found_parts[f"{part}.{head}"] = piece
    return found_parts


def _has(block: nn.Module, name: str) -> bool:
    try:
        return block.get_submodule(name).get_parameter("weight") is not None
    except AttributeError:
        return False


def _matrix(module: nn.Module) -> Float[Tensor, "d_model out"]:
    """A linear layer's matrix as [in out]; torch's Linear keeps [out in], the Conv1D of GPT-2 [in out]."""
    weight = module.get_parameter("weight").detach().float().cpu()
    return weight.T if isinstance(module, nn.Linear) else weight


@dataclass(frozen=True)
class PredictionDimensions:
    """How many dimensions of each layer's stream matter for the next token.

    Attributes:
        layers: after which layer (`resid_post`).
        effective: (sum s^2)^2 / sum s^4 of the gradients; held: how many directions hold 90% of their energy.
        samples: gradients it was read from, which bounds both.
        stream: the stream's width, beside which they are to be seen.
    """

    layers: tuple[int, ...]
    effective: tuple[float, ...]
    held: tuple[int, ...]
    samples: int
    stream: int

    def __repr__(self) -> str:
        ends = f"{self.effective[0]:.1f} after layer 0 to {self.effective[-1]:.1f} after the last"
        return f"PredictionDimensions({ends}, of {self.stream}, from {self.samples} gradients)"


def prediction_dimensions(
    lm: Model, texts: Sequence[Prompt], *, draws: int = 8, positions: int = 8, energy: float = 0.9, seed: int = 0
) -> PredictionDimensions:
    """Backwards from the output: the dimensions along which a small change of a layer changes the next token.

    Gradients of log p(y) at each layer, for tokens y drawn from the model's own prediction at the last positions of
    each text: their second moment is the Fisher information of the prediction, and its spectrum counts dimensions.

    Raises:
        ValueError: no text, or draws or positions below 1.
    """
    if isinstance(texts, str) or not texts:
        raise ValueError(f"Dimensions are counted on a list of texts, at least one; got {texts!r:.60}.")
    if draws < 1 or positions < 1:
        raise ValueError(f"At least one draw at one position; got draws={draws}, positions={positions}.")
    sites = [Site(layer, "resid_post") for layer in range(lm.n_layers)]
    rows: dict[Site, list[Tensor]] = {site: [] for site in sites}
    generator = torch.Generator().manual_seed(seed)
    for text in texts:
        ids = lm.tokens(text)
        held: dict[Site, Tensor] = {}

        def keep(site: Site, held: dict[Site, Tensor] = held):
            def hook(h: Tensor) -> Tensor:
                if not h.requires_grad:
                    h = h.detach().requires_grad_(True)
                h.retain_grad()
                held[site] = h
                return h

            return hook

        with torch.enable_grad():
            logits = lm.forward(torch.tensor([ids], device=lm.device), hooks={site: keep(site) for site in sites})[0]
            logprobs = logits.float().log_softmax(-1)
            places = range(max(1, len(ids) - positions), len(ids)) if len(ids) > 1 else range(1)
            for place in places:
                drawn = torch.multinomial(logprobs[place].detach().exp().cpu(), draws, True, generator=generator)
                for token in drawn.tolist():
                    grads = torch.autograd.grad(logprobs[place, token], list(held.values()), retain_graph=True)
                    for site, grad in zip(held, grads, strict=True):
                        rows[site].append(grad[0, place].float().cpu())
    effective, counted = [], []
    for site in sites:
        s = torch.linalg.svdvals(torch.stack(rows[site]).double())
        effective.append(participation(s))
        share = s.square().cumsum(0) / s.square().sum().clamp_min(1e-300)
        counted.append(int((share < energy).sum()) + 1)
    samples = len(rows[sites[0]])
    return PredictionDimensions(tuple(range(lm.n_layers)), tuple(effective), tuple(counted), samples, lm.d_model)
