"""Texts for the index of a trained dictionary: what the training held out, and the model's own answers to prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ...models.model import Model
from ...saes.making.plan import HELD_OUT, TrainingPlan, chats_of, prompts_of
from ...saes.making.tokens import template_opening
from ...saes.texts import texts_of


def held_out_texts(
    plan: TrainingPlan, lm: Model, folder: Path, texts: int, chats: int, tick: Callable[[int, int], None]
) -> list[str]:
    """`texts` held-out texts of a plan, evenly spread over its sources, and `chats` held-out chats as they are written.

    The answers are kept in `folder`, so that the same call gives the same texts again.
    A chat's system message, which every chat of the template begins with, stands in the first only.

    Raises:
        ValueError: a source cannot be read.
    """
    sources = plan.held_out or plan.texts
    whole = bool(plan.held_out)
    found = []
    for source in sources:
        items = (text for n, text in enumerate(texts_of(source, limit=plan.limit)) if whole or n % HELD_OUT == 0)
        found += _spread(items, texts // len(sources))
    few = held_out_chats(plan, lm, folder, chats, tick) if plan.prompts and chats else []
    return [*found, *few]


def _spread(items: Iterable[str], most: int) -> list[str]:
    """At most `most` items, evenly from the whole."""
    every = list(items)
    return [every[place * len(every) // most] for place in range(most)] if len(every) > most else every


def held_out_chats(
    plan: TrainingPlan, lm: Model, folder: Path, chats: int, tick: Callable[[int, int], None]
) -> list[str]:
    """Held-out chats, rendered, without what the template puts in front of every one but the first."""
    chosen = _spread(prompts_of(plan)[::HELD_OUT], chats)
    made = chats_of(plan, lm, chosen, folder, lambda what, done, total, shown: tick(done, total))
    front = template_opening(lm)
    texts = [lm.rendered(chat, continue_final=True) for chat in made]
    return [text if number == 0 else text.removeprefix(front) for number, text in enumerate(texts)]
