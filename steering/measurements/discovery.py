"""Discover: find directions without labels between two layers, and generate text with each, beside random ones.

Length by `linear_range` (where a quarter of the response of random directions is non-linear), directions by Jacobian
singular vectors, MELBO or exponential transcoding, then, at that length and in both signs: a text each, decoded in one
batch, the tokens made likelier, groups of vectors whose responses resemble each other, and the share on the manifold of
the prompts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from ..directions.direction import Direction
from ..directions.geometry.manifold import Manifold, manifold
from ..directions.unsupervised.jacobian import jacobian_directions
from ..directions.unsupervised.linear_range import linear_range
from ..directions.unsupervised.melbo import melbo
from ..directions.unsupervised.response import Response, Tick, random_units
from ..directions.unsupervised.transcoding import exponential_dct
from ..engine.engine import Engine
from ..interventions.protocol import Intervention, made
from ..models.model import Model, Prompt
from ..saes.sae import Sae
from ..sites import Site
from .neutral import neutral_texts

METHODS = {
    "jacobian": "Jacobian singular vectors",
    "melbo": "MELBO (gradient ascent)",
    "dct": "Exponential transcoding",
}
ALIKE = 0.7  # responses of a group have at least about this cosine, up to sign
NONLINEAR = 0.25  # of the response at the length chosen; at one half, texts of small models have long broken
RANGE_DIRECTIONS = 8  # random directions whose linear range sets the length


@dataclass(frozen=True, eq=False)
class FoundDirection:
    """One direction, and what it does at the length that all of them have.

    Attributes:
        direction: of length 1, at the source; `name` says how it was found.
        value: the singular value, the objective reached, or the weight, by the method; for a random one, |J v|.
        share: how much of it lies on the manifold of the prompts (0 to 1).
        moved: the length of the target's response to it, mean over the last tokens, of both signs.
        promoted: the tokens whose logits it raises most after the prompt, with plus and with minus.
        texts: what the model writes with plus and with minus.
        group: a number that vectors of like responses share.
        similar: the named directions it resembles most, with cosines.
        features: the features of the SAE at the source that write most alike, with cosines.
    """

    direction: Direction
    value: float
    share: float
    moved: tuple[float, float]
    promoted: tuple[tuple[str, ...], tuple[str, ...]]
    texts: tuple[str, str] = ("", "")
    group: int = 0
    similar: tuple[tuple[str, float], ...] = ()
    features: tuple[tuple[int, float], ...] = ()
    random: bool = False


@dataclass(frozen=True, eq=False)
class Discovery:
    """What a search has found, and what it cost.

    Attributes:
        norm: the length at which the texts were written.
        baseline: the text without steering.
        found: the directions, in the method's order, then the random ones.
        chance: the share on the manifold that a random direction has by its number of dimensions.
        sae: the name of the SAE whose features were compared with; empty for none.
    """

    method: str
    source: Site
    target: Site
    norm: float
    typical: float
    baseline: str
    found: tuple[FoundDirection, ...]
    chance: float
    passes: int
    search_seconds: float
    seconds: float
    sae: str = ""

    def __repr__(self) -> str:
        real = sum(not one.random for one in self.found)
        return f"Discovery({real} by {self.method}, {self.source} to {self.target}, norm {self.norm:.3g})"


def discover(
    engine: Engine,
    prompts: Sequence[Prompt],
    source: Site,
    target: Site,
    *,
    method: str = "jacobian",
    n: int = 8,
    norm: float | None = None,
    steps: int = 60,
    last: int | None = 3,
    energy: float | None = None,
    random: int = 3,
    named: Sequence[Direction] = (),
    sae: Sae | None = None,
    max_new_tokens: int = 32,
    seed: int = 0,
    tick: Tick | None = None,
) -> Discovery:
    """The directions at `source` that change `target` most on these prompts, with what each makes the model write.

    Args:
        method: "jacobian", "melbo" or "dct".
        norm: the length of the directions; None calibrates it by the linear range of random ones.
        energy: search only in the span that holds this share of the prompts' activations; None searches everywhere.
        random: random directions of the same length beside them.
        named: directions at the source to compare with.
        sae: its features are compared with, if they write at the source.
        tick: called with what is done, the total and a note; may raise to cancel.

    Raises:
        ValueError: an unknown method; what the searches refuse.
    """
    if method not in METHODS:
        raise ValueError(f"Directions are found by {', '.join(METHODS)}; got {method!r}.")
    start, lm = time.perf_counter(), engine.model
    steps_of = _Steps(tick)
    steps_of(0.0, "How long may a vector be")
    if norm is None:
        found_range = linear_range(
            lm, None, prompts, target, source=source, share=NONLINEAR, count=RANGE_DIRECTIONS, seed=seed
        )
        # A saturating response may never get there; half of the activations' own length is then the bound.
        norm = min(found_range.norm, 0.5 * Response(lm, prompts, source, target).scale)
    span = manifold(lm, [*prompts, *neutral_texts(lm.name)[:16]], source, energy=0.9)
    within = None if energy is None else manifold(lm, prompts, source, energy=energy).basis
    began = time.perf_counter()
    found, passes = _search(lm, prompts, source, target, method, n, norm, steps, last, within, seed, steps_of)
    searched = time.perf_counter() - began
    controls = _random(lm, prompts, source, target, random, last, seed)
    steps_of(0.7, "What each does to the target and to the next token")
    everything = [*_described(lm, prompts, source, target, [*found, *controls], norm, last, span, named, len(found))]
    sae = sae if sae is not None and (sae.writes or sae.site) == source else None
    if sae is not None:
        near = nearest_features(sae, torch.stack([one.direction.vector for one in everything]))
        everything = [replace(one, features=features) for one, features in zip(everything, near, strict=True)]
    steps_of(0.8, "Writing texts")
    variants: list[tuple[Intervention, ...]] = [()]
    variants += [(made("add", direction=one.direction, alpha=sign * norm),) for one in everything for sign in (1, -1)]
    texts = [row.text for row in engine.generate(prompts[0], variants, max_new_tokens=max_new_tokens)]
    steps_of(1.0, "Done")
    complete = tuple(replace(one, texts=(texts[1 + 2 * k], texts[2 + 2 * k])) for k, one in enumerate(everything))
    typical = Response(lm, prompts, source, target).scale
    return Discovery(
        method, source, target, norm, typical, texts[0], complete, len(span.basis) / lm.d_model, passes, searched,
        time.perf_counter() - start, "" if sae is None else sae.name,
    )  # fmt: skip


class _Steps:
    """Progress of the parts as one share of the whole, in thousandths."""

    def __init__(self, tick: Tick | None) -> None:
        self._tick = tick

    def __call__(self, share: float, note: str) -> None:
        if self._tick is not None:
            self._tick(round(1000 * share), 1000, note)

    def part(self, low: float, high: float) -> Tick:
        """A progress callback for the part from `low` to `high` of the whole."""
        return lambda done, total, note: self(low + (high - low) * done / max(total, 1), note)


def _search(
    lm: Model, prompts: Sequence[Prompt], source: Site, target: Site, method: str, n: int, norm: float, steps: int,
    last: int | None, within: torch.Tensor | None, seed: int, steps_of: _Steps,
) -> tuple[list[tuple[Direction, float]], int]:  # fmt: skip
    """Unit directions with their values, and the passes it took."""
    tick = steps_of.part(0.1, 0.7)
    if method == "jacobian":
        one = jacobian_directions(
            lm, prompts, source, target, k=n, last=last, within=within, tolerance=1e-2, seed=seed, tick=tick
        )
        return [(v, float(value)) for v, value in zip(one, one.values, strict=True)], one.passes
    if method == "melbo":
        two = melbo(
            lm, prompts, source, target, n=n, norm=norm, steps=steps, last=last, within=within, seed=seed, tick=tick
        )
        units = [replace(v.unit(), name=v.name, provenance=v.provenance) for v in two]
        return [(v, float(value)) for v, value in zip(units, two.objective, strict=True)], two.passes
    if within is not None:
        raise ValueError("Transcoding has no restriction to a manifold; use Jacobian vectors or MELBO.")
    three = exponential_dct(lm, prompts, source, target, n=n, norm=norm, last=last, seed=seed, tick=tick)
    return [(v, float(value)) for v, value in zip(three, three.weights, strict=True)], three.passes


def _random(
    lm: Model, prompts: Sequence[Prompt], source: Site, target: Site, count: int, last: int | None, seed: int
) -> list[tuple[Direction, float]]:
    """Random unit directions, each with |J v|."""
    if not count:
        return []
    rows = random_units(count, lm.width(source), seed + 1_000_003)
    moved = Response(lm, prompts, source, target, last).jvp(rows.to(lm.device)).norm(dim=-1)
    about = {"model": lm.identity, "method": "random"}
    return [
        (Direction(row, source, None, f"random {k + 1}", {**about, "seed": seed, "number": k}), float(value))
        for k, (row, value) in enumerate(zip(rows, moved, strict=True))
    ]


def _described(
    lm: Model, prompts: Sequence[Prompt], source: Site, target: Site, units: Sequence[tuple[Direction, float]],
    norm: float, last: int | None, span: Manifold, named: Sequence[Direction], real: int,
) -> list[FoundDirection]:  # fmt: skip
    theta = torch.stack([v.vector for v, _ in units]).to(lm.device) * norm
    both = torch.cat([theta, -theta])
    moved = Response(lm, prompts, source, target, last, "mean")(both).cpu()
    logits = Response(lm, prompts[:1], source, "logits", 1, "mean")(both).cpu()
    groups = _groups(moved[: len(units)])
    top = logits.topk(5, dim=-1).indices
    words = [tuple(lm.token_texts(row.tolist())) for row in top]
    others = [(d.name, torch.nn.functional.normalize(d.decoded(), dim=-1)) for d in named]
    described = []
    for k, (v, value) in enumerate(units):
        cosines = sorted(((name, float(w @ v.vector)) for name, w in others), key=lambda pair: -abs(pair[1]))
        described.append(
            FoundDirection(
                v,
                value,
                span.share(v.vector),
                (float(moved[k].norm()), float(moved[k + len(units)].norm())),
                (words[k], words[k + len(units)]),
                group=groups[k],
                similar=tuple(cosines[:3]),
                random=k >= real,
            )
        )
    return described


def nearest_features(sae: Sae, units: torch.Tensor, k: int = 2) -> list[tuple[tuple[int, float], ...]]:
    """The k features whose writing is most along each unit vector (either way), with their cosines."""
    rows = torch.nn.functional.normalize(sae.written.detach().float().cpu(), dim=-1)
    cosines = units.float().cpu() @ rows.T
    top = cosines.abs().topk(min(k, len(rows)), dim=-1).indices
    return [tuple((int(j), float(row[j])) for j in places) for row, places in zip(cosines, top.tolist(), strict=True)]


def _groups(moved: torch.Tensor) -> list[int]:
    """Numbers from 1 on that responses of like direction (up to sign) share, in the order of their first member."""
    if len(moved) < 2:
        return [1] * len(moved)
    rows = torch.nn.functional.normalize(moved.double(), dim=-1)
    distance = (1 - (rows @ rows.T).abs()).clamp(min=0).numpy()
    np.fill_diagonal(distance, 0.0)
    labels = fcluster(linkage(squareform(distance, checks=False), "average"), 1 - ALIKE, "distance")
    order: dict[int, int] = {}
    return [order.setdefault(int(label), len(order) + 1) for label in labels]
