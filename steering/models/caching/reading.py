"""Activations of many texts at sites, with what they have in common at the front read once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...sites import Site
from ..hooks import Enough, Hook
from ..model import Model
from ..rope import turning_point
from .beginnings import CACHE_BYTES, After, Tokens, split
from .cache import RowCache, can_continue


@dataclass(frozen=True, eq=False)
class ReadTexts:
    """Activations of some texts at sites, from a column on; texts are padded on the left and end at the same column.

    Attributes:
        numbers: which texts.
        activations: of the last columns; what stands before them was read with other texts.
        real: which of these columns are tokens.
    """

    numbers: list[int]
    activations: dict[Site, Float[Tensor, "rows pos width"]]
    real: Bool[Tensor, "rows pos"]


@torch.no_grad()
def pieces(
    lm: Model, texts: Sequence[Tokens], sites: Sequence[Site], most: Sequence[int], batch_tokens: int
) -> Iterator[ReadTexts]:
    """The activations of texts at sites, piece by piece, in any order.

    Args:
        most: how many tokens at the front of each text nobody asks for; these may be read with those of other texts.
        batch_tokens: tokens of one pass, unless one text alone has more.
    """
    wanted = sorted({lm.check_site(site) for site in sites})
    if not can_continue(lm) or turning_point(lm.hf) is not None:
        most = [0] * len(texts)
    everything = dict(enumerate(map(tuple, texts)))
    # Two tokens at least are a text's own: for one alone a fused step would want keys and values of every layer.
    ends = {number: max(0, min(most[number], len(text) - 2)) for number, text in everything.items()}
    yield from _descend(lm, {0: everything}, ends, wanted, None, batch_tokens)


def _descend(
    lm: Model,
    texts: Mapping[int, Mapping[int, Tokens]],
    most: Mapping[int, int],
    sites: Sequence[Site],
    after: After | None,
    batch_tokens: int,
) -> Iterator[ReadTexts]:
    """The pieces of texts that go on from what was read; `texts` has them by whom they go on from, and by number."""
    begun: list[tuple[Tokens, int, dict[int, Tokens]]] = []
    alone: list[tuple[int, Tokens, int]] = []
    for owner, mine in texts.items():
        groups, rest = split(mine, most, 0 if after is None else after.lengths[owner])
        alone += [(number, mine[number], owner) for number in rest]
        for group in groups:
            some = {number: mine[number] for number in group.numbers}
            begun.append((mine[group.numbers[0]][: group.length], owner, some))
    for part in _batches([(text, owner) for _, text, owner in alone], after, batch_tokens):
        some = [alone[place] for place in part]
        found, real = _pass(lm, [text for _, text, _ in some], sites, after, [owner for *_, owner in some])
        yield ReadTexts([number for number, *_ in some], found, real)
    for part in _batches([(text, owner) for text, owner, _ in begun], after, batch_tokens):
        starts, cache = [begun[place] for place in part], RowCache()
        _pass(lm, [text for text, *_ in starts], sites[-1:], after, [owner for _, owner, _ in starts], cache)
        read = After([len(text) for text, *_ in starts], cache)
        children = {place: some for place, (*_, some) in enumerate(starts)}
        yield from _descend(lm, children, most, sites, read, batch_tokens)


def _batches(texts: Sequence[tuple[Tokens, int]], after: After | None, batch_tokens: int) -> Iterator[list[int]]:
    """Places of texts for one pass each: of about the same length that is left to read."""
    left = [len(text) - (0 if after is None else after.lengths[owner]) for text, owner in texts]
    column = 0 if after is None else after.cache.column_bytes
    batch: list[int] = []
    longest = 0
    for place in sorted(range(len(texts)), key=lambda place: (left[place], place)):
        n, longest = len(batch) + 1, max(longest, len(texts[place][0]))
        if batch and (n * left[place] > batch_tokens or n * longest * column > CACHE_BYTES):
            yield batch
            batch, longest = [], len(texts[place][0])
        batch.append(place)
    if batch:
        yield batch


def _pass(
    lm: Model,
    texts: Sequence[Tokens],
    sites: Sequence[Site],
    after: After | None,
    owners: Sequence[int],
    cache: RowCache | None = None,
) -> tuple[dict[Site, Tensor], Tensor]:
    """Activations of the columns that are read now, and which of them are tokens. It ends at the last site."""
    tokens, real, positions = lm.pad(texts)
    padded, whole, columns = not bool(real.all()), real.long(), 0
    if after is not None:
        cache = RowCache() if cache is None else cache
        columns = after.of(owners).begin(cache, [len(text) for text in texts])
    found: dict[Site, Tensor] = {}

    def reader(site: Site) -> Hook:
        def read(h: Tensor) -> None:
            found[site] = h.detach().clone()
            if len(found) == len(sites):
                raise Enough

        return read

    with suppress(Enough):
        lm.forward(
            tokens[:, columns:],
            attention_mask=whole if padded else None,
            positions=positions[:, columns:] if padded else None,
            cache=cache,
            hooks={site: reader(site) for site in sites},
            keep=1,
        )
    return found, real[:, columns:]
