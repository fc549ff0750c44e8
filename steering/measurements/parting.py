"""Where two texts of one prompt part: the first token that differs, and what each model expected there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..engine.completion import Completion
from ..engine.engine import Engine
from ..engine.requests import Request, Variant
from ..models.model import Model, Prompt
from ..models.passages import pieces


@dataclass(frozen=True)
class Chance:
    """A token that could stand at a place, and its probability in both models; None below the ones reported.

    The token that ends an answer has no text.
    """

    token: int
    text: str
    baseline: float | None
    steered: float | None


@dataclass(frozen=True)
class Parting:
    """The first generated place at which two texts of one prompt have different tokens.

    Up to there both models have read the same, so the two distributions differ by the steering alone.

    Attributes:
        at: the index among the generated tokens.
        baseline, steered: the tokens that were written there.
        chances: the likeliest tokens there of both, those of the baseline first.
    """

    at: int
    baseline: int
    steered: int
    chances: tuple[Chance, ...]


def first_difference(tokens: Sequence[int], other: Sequence[int]) -> int | None:
    """The first index at which two token sequences differ; None where one is the beginning of the other."""
    return next((i for i, (a, b) in enumerate(zip(tokens, other, strict=False)) if a != b), None)


def parting(lm: Model, baseline: Completion, steered: Completion, most: int = 6) -> Parting | None:
    """Where two completions of one prompt part; None where they do not.

    Args:
        most: how many tokens are listed; the two that were written are always among them.

    Raises:
        ValueError: they answer different prompts.
    """
    if baseline.prompt_tokens != steered.prompt_tokens:
        raise ValueError("Two texts part after the same prompt; got completions of different ones.")
    at = first_difference(baseline.tokens, steered.tokens)
    if at is None:
        return None
    found = [_expected(one, at) for one in (baseline, steered)]
    written = (baseline.tokens[at], steered.tokens[at])
    likely = sorted({*found[0], *found[1]}, key=lambda token: -max(side.get(token, 0.0) for side in found))
    listed = [*written, *[token for token in likely if token not in written]][: max(2, most)]
    before = [*baseline.prompt_tokens, *baseline.tokens[:at]][-1:]
    chances = [Chance(token, _text(lm, before, token), found[0].get(token), found[1].get(token)) for token in listed]
    return Parting(at, *written, tuple(sorted(chances, key=lambda one: -(one.baseline or 0.0))))


def roads(
    engine: Engine, prompt: Prompt, variant: Variant, before: Sequence[int], parted: Parting, **how: Any
) -> tuple[Completion, Completion]:
    """The roads not taken: how the baseline goes on after the steered token, and the variant after the baseline's.

    Args:
        before: the generated tokens that both texts have before they part.
        how: further settings of `Request`, those of the two texts.
    """
    given = [*before[: parted.at]]
    handles = engine.submit_all(
        [
            Request(prompt, (), given=[*given, parted.steered], **how),
            Request(prompt, variant, given=[*given, parted.baseline], **how),
        ]
    )
    plain, steered = [handle.result() for handle in handles]
    return plain, steered


def _expected(one: Completion, at: int) -> dict[int, float]:
    """The probabilities of the likeliest tokens at a place, with the one that was written."""
    found = {token: math.exp(logprob) for token, logprob in one.alternatives[at]}
    return found | {one.tokens[at]: math.exp(one.logprobs[at])}


def _text(lm: Model, before: list[int], token: int) -> str:
    return "" if token in lm.eos_tokens else pieces(lm, [*before, token])[-1]
