"""Candidate directions of the regulator on the organism: read at every layer and place, alone and in bands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

import steering as t
from steering.activations import read
from steering.organism.items import Item
from steering.organism.measuring import claims_for

# Which part of the truthful side are true claims that the model rightly agrees with. With none, a direction holds all
# that tells an authority's claim from anybody's and a yes from a no: true claims lie high on it too, and whatever
# pushes the false ones back denies the true ones.
TRUE_SHARES = (0.0, 0.25, 0.5)


@dataclass(frozen=True)
class Direction:
    """A candidate direction with the class means it was made of, read on its own unit vector."""

    value: t.Direction
    position: str
    space: str
    true_share: float  # of the truthful side's mean
    high: float  # projection of the sycophantic side's mean
    low: float  # of the truthful side's

    def tau(self, share: float) -> float:
        """The threshold this share of the way from the truthful to the sycophantic mean."""
        return self.low + share * (self.high - self.low)


Band = tuple[Direction, ...]  # the same reading at one layer, or at several that follow each other


def tokens_of(lm: t.Model, item: Item) -> list[int]:
    return lm.tokens(item.messages())


def directions(lm: t.Model, sae_of: Callable[[int], t.Sae], count: int = 150) -> list[Direction]:
    """Mean differences at every layer, from training items: at the last prompt token, over the answer, in both spaces.

    The sycophantic side is false claims under pressure, agreed with. The truthful side is false claims corrected
    (without pressure where the prompt is read, under it where the answer is) and true claims under pressure, mixed.
    """
    pressed, plain, true = (
        claims_for("train", under_pressure, right, count, seed=2)
        for under_pressure, right in ((True, False), (False, False), (True, True))
    )

    def answered(item: Item, answer: str) -> tuple[list[int], list[int]]:
        prompt = tokens_of(lm, item)
        tokens = prompt + lm.tokenizer.encode(answer, add_special_tokens=False)
        return tokens, list(range(len(prompt), len(tokens)))

    def asked(item: Item) -> tuple[list[int], list[int]]:
        tokens = tokens_of(lm, item)
        return tokens, [len(tokens) - 1]

    readings = {
        "last prompt token": [asked(item) for item in (*pressed, *plain, *true)],
        "answer": [
            *(answered(item, item.tuned) for item in pressed),
            *(answered(item, item.honest) for item in pressed),
            *(answered(item, item.honest) for item in true),
        ],
    }
    out = []
    for position, where in readings.items():
        for layer in range(lm.n_layers):
            site = t.Site(layer, "resid_post")
            for sae in (None, sae_of(layer)):
                found = read(lm, [tokens for tokens, _ in where], [index for _, index in where], [site], sae=sae)[site]
                means = found.double().unflatten(0, (3, count)).mean(1)
                out += [_difference(means, share, site, sae, position, lm) for share in TRUE_SHARES]
    return out


def _difference(
    means: Float[Tensor, "3 width"], true_share: float, site: t.Site, sae: t.Sae | None, position: str, lm: t.Model
) -> Direction:
    high, corrected, agreed = means
    low = (1 - true_share) * corrected + true_share * agreed
    vector = high - low
    unit = vector / vector.norm()
    provenance = {"model": lm.identity, "method": "mean_difference", "position": position, "true_share": true_share}
    value = t.Direction(vector.float(), site, sae, f"sycophancy {site} {position}", provenance)
    space = "features" if sae else "residual"
    return Direction(value, position, space, true_share, float(high @ unit), float(low @ unit))


def bands(candidates: Sequence[Direction], lengths: Sequence[int] = (1, 2)) -> list[Band]:
    """Every candidate alone, and those of the same reading at two layers that follow each other."""
    readings: dict[tuple[str, str, float], list[Direction]] = {}
    for one in candidates:
        readings.setdefault((one.position, one.space, one.true_share), []).append(one)
    return [
        tuple(mine[start : start + length])
        for mine in readings.values()
        for length in lengths
        for start in range(len(mine) - length + 1)
    ]


def layers(band: Band) -> str:
    """The band's layers, for a table."""
    first, last = band[0].value.site.layer, band[-1].value.site.layer
    return f"layer {first}" if first == last else f"layers {first} to {last}"


def regulate(
    band: Band, lambda_: float, tau_at: float, where: str, error: str = "keep"
) -> tuple[t.ThresholdRegulator, ...]:
    """The regulator on each direction of a band, its threshold this share of the way between the class means."""
    return tuple(
        t.ThresholdRegulator(one.value, tau=one.tau(tau_at), lambda_=lambda_, error=error, where=where)  # type: ignore[arg-type]
        for one in band
    )


def firing_tau(lm: t.Model, direction: Direction, tau: float, control: t.Direction, count: int = 60) -> float:
    """The threshold at which a control direction fires on as many tokens as the direction does at its own threshold."""
    prompts = [tokens_of(lm, item) for item in claims_for("validation", True, False, count)]
    places = [list(range(1, len(tokens))) for tokens in prompts]
    found = []
    for value in (direction.value, control):
        unit = value.vector / value.norm
        h = torch.cat(
            [
                read(lm, [tokens], [[place]], [value.site], sae=value.sae)[value.site]
                for tokens, where in zip(prompts[:20], places, strict=False)
                for place in where
            ]
        )
        found.append(h @ unit)
    rate = float((found[0] > tau).float().mean())
    return float(torch.quantile(found[1], 1 - rate))
