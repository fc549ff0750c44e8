"""Side effects of an arm that need no judge: KL on neutral prompts, cross-entropy on three kinds of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from ..engine.engine import Engine
from ..engine.requests import Request, Variant
from ..engine.scoring import next_logits
from ..measurements.numbers import kl_divergence
from ..models.model import Prompt
from .arms import Arm


@dataclass(frozen=True)
class SideEffects:
    """An arm's side effects on texts that it should not change.

    Attributes:
        kl: KL(baseline || arm) of the next token, in nats, a neutral prompt each.
        cross_entropy: for each kind of text, mean -log p a token under the arm, a text each.
    """

    arm: str
    kl: tuple[float, ...]
    cross_entropy: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def last_logits(engine: Engine, items: Sequence[tuple[Prompt, Variant]]) -> Float[Tensor, "items vocab"]:
    """Logits of the token after each prompt under a variant."""
    return next_logits(engine.model, items, engine.max_rows)


def cross_entropy(engine: Engine, texts: Sequence[tuple[Prompt, Sequence[int]]], variant: Variant) -> list[float]:
    """Mean -log p a token of each (prompt, continuation tokens) under a variant."""
    found = engine.score_all([(prompt, continuation, variant) for prompt, continuation in texts])
    return [-sum(one) / len(one) for one in found]


def whole_texts(engine: Engine, texts: Sequence[str]) -> list[tuple[list[int], list[int]]]:
    """Texts as (first token, the rest), so that teacher forcing scores all of a text but its first token."""
    tokens = [engine.model.tokens(text)[: engine.model.n_ctx - 1] for text in texts]
    return [(one[:1], one[1:]) for one in tokens if len(one) > 1]


def answers_of(
    engine: Engine, prompts: Sequence[Prompt], max_new_tokens: int = 48
) -> list[tuple[list[int], list[int]]]:
    """The model's own unsteered answers (greedy) as (prompt, answer): the text that steering should cost least on."""
    handles = engine.submit_all([Request(p, max_new_tokens=max_new_tokens, top_alternatives=0) for p in prompts])
    rows = [handle.result() for handle in handles]
    return [(row.prompt_tokens, row.tokens) for row in rows if row.tokens]


def side_effects(
    engine: Engine,
    arms: Sequence[Arm],
    neutral: Sequence[Prompt],
    texts: Mapping[str, Sequence[tuple[Prompt, Sequence[int]]]],
    tick: Callable[[int, int, str], None] | None = None,
) -> list[SideEffects]:
    """The side effects of every arm on the same prompts and texts; the baseline's KL is zero."""
    found = []
    base = last_logits(engine, [(prompt, ()) for prompt in neutral]) if neutral else None
    for number, arm in enumerate(arms):
        if tick is not None:
            tick(number, len(arms), "side effects")
        moved = []
        if base is not None:
            moved = kl_divergence(base, last_logits(engine, [(p, arm.interventions) for p in neutral])).tolist()
        costs = {kind: tuple(cross_entropy(engine, some, arm.interventions)) for kind, some in texts.items() if some}
        found.append(SideEffects(arm.name, tuple(moved), costs))
    return found
