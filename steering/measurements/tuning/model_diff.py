"""Two models of one architecture compared: parameters, activations, predictions, and the directions of the difference.

The steps of Marks et al. 2023 (arXiv 2310.08164) that come before a reward is looked for: which layers diverge, and
along what.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...directions.activations import batches
from ...directions.direction import Direction
from ...interventions.weights import blocks_of, writer_of
from ...models.checks.overflow import check_finite
from ...models.model import Model, Prompt
from ...saes.sae import Sae
from ...showing.html import caption, tinted_tokens
from ...showing.one_line import counted, one_line, quoted
from ...sites import Site
from ..numbers import kl_divergence

Tick = Callable[[int, int, str], None]
PARTS = ("attention", "MLP", "norms")
MAX_TOKENS = 20_000  # over all texts; more tell nothing new and do not fit into memory on large models


@dataclass(frozen=True)
class PartChange:
    """How far a part of the parameters has moved: |tuned - base| and that over |base|.

    Attributes:
        layer: the block, or None for what is outside of the blocks.
        part: "attention", "MLP" or "norms" of a block; "embedding", "unembedding" or "other" outside.
    """

    layer: int | None
    part: str
    absolute: float
    relative: float


@dataclass(frozen=True)
class LayerChange:
    """How the stream after a layer differs on the same tokens.

    Attributes:
        difference: mean |h_tuned - h_base| over mean |h_base|.
        cosine: mean cosine of the two activations of a token.
        cka: linear centered kernel alignment over all tokens (Kornblith et al. 2019): 1 for the same up to rotation.
    """

    layer: int
    difference: float
    cosine: float
    cka: float


@dataclass(frozen=True)
class TokenChange:
    """A text, and KL(base || tuned) in nats of the prediction after each of its tokens."""

    tokens: tuple[str, ...]
    kl: tuple[float, ...]

    def _repr_html_(self) -> str:
        return tinted_tokens(self.tokens, self.kl, "KL(base || tuned) of the next token, nats:")


@dataclass(frozen=True, eq=False)
class DiffDirection:
    """A singular vector of the difference, in the stream after a layer.

    Attributes:
        of: "activations" (h_tuned - h_base over tokens) or "weights" (what a block's matrices newly write).
        share: of the squared difference that lies along it.
        similar: the named directions and SAE features that it resembles most, with cosines.
    """

    direction: Direction
    of: str
    share: float
    similar: tuple[tuple[str, float], ...] = ()

    def __repr__(self) -> str:
        best = ", ".join(f"{name} {cosine:+.2f}" for name, cosine in self.similar[:2])
        return one_line(self, self.of, self.direction.site, f"share {self.share:.2f}", best)


@dataclass(frozen=True, eq=False)
class ModelDiff:
    """What `compare_models` found."""

    base: str
    tuned: str
    parts: tuple[PartChange, ...]
    layers: tuple[LayerChange, ...]
    texts: tuple[TokenChange, ...]
    directions: tuple[DiffDirection, ...]

    def __repr__(self) -> str:
        moved = self.most_divergent(1)[0]
        names = f"{quoted(self.base, 40)} and {quoted(self.tuned, 40)}"
        return one_line(self, names, f"most different after layer {moved}", counted(len(self.texts), "text"))

    def _repr_html_(self) -> str:
        return caption(repr(self)) + "".join(text._repr_html_() for text in self.texts[:5])

    def most_divergent(self, n: int = 2) -> list[int]:
        """The layers whose own blocks have moved the most, relative to their size: the first is the furthest."""
        return most_divergent(self.parts, n)


def most_divergent(parts: Sequence[PartChange], n: int = 2) -> list[int]:
    """See `ModelDiff.most_divergent`."""
    size = {
        layer: sum(one.relative**2 for one in parts if one.layer == layer and one.part != "norms")
        for layer in sorted({one.layer for one in parts if one.layer is not None})
    }
    return sorted(size, key=lambda layer: -size[layer])[:n]


def compare_models(
    base: Model,
    tuned: Model,
    texts: Sequence[Prompt],
    *,
    named: Sequence[Direction] = (),
    saes: Sequence[Sae] = (),
    n_directions: int = 3,
    tick: Tick | None = None,
) -> ModelDiff:
    """What differs between a model and its tuned copy, on the same texts.

    Args:
        texts: texts, chat messages or token ids; both models read the same tokens.
        named: directions that the directions of the difference are compared with, whatever layer they are at.
        saes: their features are compared as well, each SAE's at its own layer.
        n_directions: singular vectors a layer.
        tick: called with what is done, the total and a note; may raise to cancel.

    Raises:
        ValueError: two architectures, other shapes, other tokens, or no text.
    """
    if not texts:
        raise ValueError("Two models are compared on at least one text; got none.")
    say = tick or (lambda done, total, note: None)
    say(0, 4, "Parameters")
    parts = part_changes(base, tuned)
    sequences, room = [], MAX_TOKENS
    for text in texts:
        ids = base.tokens(text)
        if ids != tuned.tokens(text):
            raise ValueError(
                f"Both models read the same tokens; {tuned.name} cuts a text another way than {base.name}."
            )
        if room < len(ids):
            break
        room -= len(ids)
        sequences.append(ids)
    say(1, 4, "Predictions")
    shown = tuple(_predictions(base, tuned, ids) for ids in sequences)
    say(2, 4, "Activations")
    found = [stream_pairs(base, tuned, sequences, layer) for layer in range(base.n_layers)]
    layers = tuple(layer_change(k, *pair) for k, pair in enumerate(found))
    say(3, 4, "Directions of the difference")
    directions: list[DiffDirection] = []
    for layer, (h, g) in enumerate(found):
        site = Site(layer, "resid_post")
        directions += _singular((g - h).double(), "activations", site, tuned, n_directions, named, saes)
        with suppress(ValueError):  # of a family whose writers are not known the activations have to do
            directions += _singular(_written(base, tuned, layer), "weights", site, tuned, n_directions, named, saes)
    say(4, 4, "Done")
    return ModelDiff(base.name, tuned.name, parts, layers, shown, tuple(directions))


def _same_kind(base: Model, tuned: Model) -> None:
    ours, theirs = (
        {name: tuple(p.shape) for name, p in lm.hf.named_parameters(remove_duplicate=False)} for lm in (base, tuned)
    )
    if type(base.hf) is not type(tuned.hf) or ours != theirs:
        name = next((name for name in (*ours, *theirs) if ours.get(name) != theirs.get(name)), type(tuned.hf).__name__)
        raise ValueError(
            f"Two models of one architecture and size are compared; {base.name} and {tuned.name} differ at {name}: "
            f"{ours.get(name)} and {theirs.get(name)}."
        )


# Parameters ---------------------------------------------------------------------------------------------------------


def part_changes(base: Model, tuned: Model) -> tuple[PartChange, ...]:
    """Divergence of the parameters by layer and part, all numbers of a part as one vector.

    Raises:
        ValueError: two architectures, or other shapes.
    """
    _same_kind(base, tuned)
    other = dict(tuned.hf.named_parameters())
    sums: dict[tuple[int | None, str], list[float]] = {}
    for name, before in base.hf.named_parameters():
        moved = (other[name].double().cpu() - before.double().cpu()).square().sum()
        kept = sums.setdefault(_place(base, name), [0.0, 0.0])
        kept[0] += float(moved)
        kept[1] += float(before.double().square().sum())
    order = sorted(sums, key=lambda key: (key[0] is None, key[0] or 0, key[1]))
    return tuple(
        PartChange(*key, sums[key][0] ** 0.5, (sums[key][0] / max(sums[key][1], 1e-24)) ** 0.5) for key in order
    )


def _place(lm: Model, name: str) -> tuple[int | None, str]:
    """Layer and part of a parameter, by TransformerLens' description of the architecture."""
    mapping = lm.adapter.component_mapping
    inside = re.match(re.escape(mapping["blocks"].name) + r"\.(\d+)\.(.+)", name)
    if inside is None:
        for part, said in (("embed", "embedding"), ("pos_embed", "embedding"), ("unembed", "unembedding")):
            if part in mapping and name.startswith(f"{mapping[part].name}."):
                return None, said
        return None, "other"
    spec = mapping["blocks"].submodules
    for part, said in (("attn", "attention"), ("mlp", "MLP")):
        if part in spec and inside[2].startswith(f"{spec[part].name}."):
            return int(inside[1]), said
    return int(inside[1]), "norms"


@torch.no_grad()
def _written(base: Model, tuned: Model, layer: int) -> Float[Tensor, "inputs d_model"]:
    """What the block's matrices that write to the stream write differently: a row for each of their inputs."""
    rows = []
    for (here, spec), (there, _) in zip([*blocks_of(base)][layer:], [*blocks_of(tuned)][layer:], strict=True):
        for part in ("attn", "mlp"):
            before, after = (writer_of(block.get_submodule(spec[part].name), spec[part]) for block in (here, there))
            change = after.weight.double().cpu() - before.weight.double().cpu()
            # nn.Linear keeps [out in]; GPT-2's Conv1D keeps [in out].
            rows.append(change.T if isinstance(before, nn.Linear) else change)
        break
    return torch.cat(rows)


# Activations and predictions ------------------------------------------------------------------------------------------


@torch.no_grad()
def stream_pairs(
    base: Model, tuned: Model, sequences: Sequence[Sequence[int]], layer: int
) -> tuple[Float[Tensor, "tokens d_model"], Float[Tensor, "tokens d_model"]]:
    """The stream after a layer in both models, token by token, BOS and padding left out; float32 on the CPU."""
    site, sides = Site(layer, "resid_post"), []
    for lm in (base, tuned):
        rows = []
        for batch in batches([len(ids) for ids in sequences], lm.piece_tokens):
            found, mask = lm.activations([sequences[k] for k in batch], [site])
            keep = mask.clone()
            for row, k in enumerate(batch):
                start = mask.shape[1] - len(sequences[k])
                keep[row, start : start + lm.leading(sequences[k])] = False
            rows.append(check_finite(lm, found[site][keep]).float().cpu())
        sides.append(torch.cat(rows))
    return sides[0], sides[1]


def layer_change(layer: int, h: Float[Tensor, "tokens d_model"], g: Float[Tensor, "tokens d_model"]) -> LayerChange:
    """How the tuned model's stream g after a layer differs from the base's h, on the same tokens."""
    h, g = h.double(), g.double()
    difference = float((g - h).norm(dim=-1).mean() / h.norm(dim=-1).mean().clamp_min(1e-12))
    cosine = float(torch.nn.functional.cosine_similarity(h, g, dim=-1).mean())
    return LayerChange(layer, difference, cosine, linear_cka(h, g))


def linear_cka(x: Float[Tensor, "n a"], y: Float[Tensor, "n b"]) -> float:
    """|Y'X|_F^2 / (|X'X|_F |Y'Y|_F) of centered columns (Kornblith et al. 2019, arXiv 1905.00414)."""
    x, y = x.double() - x.double().mean(0), y.double() - y.double().mean(0)
    below = (x.T @ x).norm() * (y.T @ y).norm()
    return float((y.T @ x).norm().square() / below.clamp_min(1e-24))


@torch.no_grad()
def _predictions(base: Model, tuned: Model, ids: Sequence[int]) -> TokenChange:
    p, q = (lm.forward(torch.tensor([list(ids)], device=lm.device))[0].float().cpu() for lm in (base, tuned))
    check_finite(tuned, q.logsumexp(-1))
    return TokenChange(tuple(base.token_texts(ids)), tuple(kl_divergence(p, q).tolist()))


# Directions ---------------------------------------------------------------------------------------------------------


def _singular(
    matrix: Float[Tensor, "rows d_model"], of: str, site: Site, tuned: Model, n: int, named: Sequence[Direction],
    saes: Sequence[Sae],
) -> list[DiffDirection]:  # fmt: skip
    """The right singular vectors of the difference with the largest shares, and what they resemble."""
    total = float(matrix.square().sum())
    if not len(matrix) or total == 0:
        return []
    values, vectors = torch.linalg.eigh(matrix.T @ matrix)
    found = []
    for k in range(1, min(n, len(values)) + 1):
        v = vectors[:, -k]
        v = v * (1.0 if float((matrix @ v).sum()) >= 0 else -1.0)  # toward the tuned model's side
        about: dict[str, Any] = {"model": tuned.identity, "method": f"singular vector of {of}", "number": k}
        direction = Direction(v, site, None, f"{of} {k}", about)
        found.append(DiffDirection(direction, of, float(values[-k]) / total, resembles(v, site, named, saes)))
    return found


def resembles(
    v: Float[Tensor, "d_model"], site: Site, named: Sequence[Direction], saes: Sequence[Sae], n: int = 3
) -> tuple[tuple[str, float], ...]:
    """The named directions, and the features of the SAEs at this site, with the largest |cosine|."""
    unit = torch.nn.functional.normalize(v.double().cpu(), dim=-1)
    cosines = []
    for one in named:
        w = one.decoded().double()
        if len(w) == len(unit):
            cosines.append((one.name, float(w @ unit / w.norm())))
    for sae in saes:
        if sae.site == site and sae.d_model == len(unit):
            rows = torch.nn.functional.normalize(sae.rows.double().cpu(), dim=-1) @ unit
            top = int(rows.abs().argmax())
            cosines.append((f"feature {top}", float(rows[top])))
    return tuple(sorted(cosines, key=lambda pair: -abs(pair[1]))[:n])


def as_matrix(parts: Sequence[PartChange], n_layers: int) -> Float[np.ndarray, "layers parts"]:
    """Relative divergence by layer (rows) and part (columns), for a heatmap; NaN where a block has no such part."""
    found = {(one.layer, one.part): one.relative for one in parts}
    return np.array([[found.get((layer, part), np.nan) for part in PARTS] for layer in range(n_layers)])
