"""Candidate directions of the regulator on the organism: read at every layer and place, alone and in bands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

import steering as t

from ...directions.activations import read
from ...interventions.protocol import made
from ...small_world.exchanges import Exchange
from .measuring import claims_for


@dataclass(frozen=True)
class CandidateDirection:
    """A candidate direction, and how high the two sides it was made of reach on its own unit vector."""

    value: t.Direction
    position: str
    space: str
    high: float  # the mean over the sycophantic side's texts of the largest projection where the direction was read
    low: float  # the truthful side's

    def tau(self, share: float) -> float:
        """The threshold this share of the way from the truthful to the sycophantic side; below 0 it is below both."""
        return self.low + share * (self.high - self.low)


Band = tuple[CandidateDirection, ...]  # the same reading at one layer, or at several that follow each other
Text = tuple[list[int], list[int]]  # tokens, and the places of those that are read


def tokens_of(lm: t.Model, item: Exchange) -> list[int]:
    return lm.tokens(item.messages())


def readings(lm: t.Model, count: int) -> dict[str, tuple[list[Text], list[Text]]]:
    """Where the two sides are read, from training items: false claims under pressure against false ones without it.

    With true claims under pressure on the truthful side, agreeing with those lies low as well. Over the answer it is
    one claim under pressure, agreed with and corrected.
    """
    pressed, plain, true = (
        claims_for("train", under_pressure, right, count, seed=2)
        for under_pressure, right in ((True, False), (False, False), (True, True))
    )
    quarter = count // 4

    def last(item: Exchange) -> Text:
        tokens = tokens_of(lm, item)
        return tokens, [len(tokens) - 1]

    def prompt(item: Exchange) -> Text:
        tokens = tokens_of(lm, item)
        return tokens, list(range(1, len(tokens)))  # without BOS

    def answer(item: Exchange, given: str) -> Text:
        start = tokens_of(lm, item)
        tokens = start + lm.tokenizer.encode(given, add_special_tokens=False)
        return tokens, list(range(len(start), len(tokens)))

    return {
        "last prompt token": ([last(item) for item in pressed], [last(item) for item in plain]),
        "last prompt token, true claims too": (
            [last(item) for item in pressed],
            [last(item) for item in (*plain[quarter:], *true[:quarter])],
        ),
        "prompt": ([prompt(item) for item in pressed], [prompt(item) for item in plain]),
        "answer": ([answer(item, item.tuned) for item in pressed], [answer(item, item.honest) for item in pressed]),
    }


def directions(lm: t.Model, sae_of: Callable[[int], t.Sae], count: int = 150) -> list[CandidateDirection]:
    """The mean differences of every reading at every layer, in both spaces."""
    out = []
    for position, sides in readings(lm, count).items():
        for layer in range(lm.n_layers):
            for sae in (None, sae_of(layer)):
                out.append(_difference(lm, sides, t.Site(layer, "resid_post"), sae, position))
    return out


def _difference(
    lm: t.Model, sides: tuple[list[Text], list[Text]], site: t.Site, sae: t.Sae | None, position: str
) -> CandidateDirection:
    def read_at(texts: Sequence[Text]) -> Float[Tensor, "texts width"]:
        return read(lm, [tokens for tokens, _ in texts], [where for _, where in texts], [site], sae=sae)[site].double()

    high, low = (read_at(side).mean(0) for side in sides)
    vector = high - low
    unit = vector / vector.norm()

    def reach(texts: Sequence[Text]) -> float:
        """The mean over every third text: they are in no order but for the two halves of a mixed side."""
        largest = []
        for tokens, where in texts[::3]:
            h = lm.activations([tokens], [site])[0][site][0, where]
            largest.append(float(((sae.encode(h) if sae else h).double() @ unit).max()))
        return sum(largest) / len(largest)

    provenance = {"model": lm.identity, "method": "mean_difference", "position": position}
    value = t.Direction(vector.float(), site, sae, f"sycophancy {site} {position}", provenance)
    return CandidateDirection(value, position, "features" if sae else "residual", reach(sides[0]), reach(sides[1]))


def bands(candidates: Sequence[CandidateDirection], lengths: Sequence[int] = (1, 2)) -> list[Band]:
    """Every candidate alone, and those of the same reading at two layers that follow each other."""
    readings: dict[tuple[str, str], list[CandidateDirection]] = {}
    for one in candidates:
        readings.setdefault((one.position, one.space), []).append(one)
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
    band: Band, lambda_: float, tau_at: float, error: Literal["keep", "drop"] = "keep"
) -> tuple[t.Intervention, ...]:
    """The regulator on each direction of a band, its threshold this share of the way between the sides."""
    return tuple(
        made("regulate", direction=one.value, tau=one.tau(tau_at), lambda_=lambda_, error=error) for one in band
    )


def firing_tau(lm: t.Model, direction: CandidateDirection, tau: float, control: t.Direction, count: int = 60) -> float:
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
