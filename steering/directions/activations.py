"""Activations of texts at sites, at the position that matters, in the residual stream or an SAE's feature space.

Texts are batched by length, padded on the left, and a pass stops at the last site asked for; what texts have in common
at the front is read once. Padding and BOS never enter a mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..jobs.watching import progressed
from ..models.caching.reading import pieces
from ..models.checks.overflow import check_finite
from ..models.model import Model
from ..models.passages import Passage, passage
from ..saes.sae import Sae
from ..sites import Site
from .pairs import PairSet

T = TypeVar("T")
Position = Literal["completion_mean", "prompt_mean", "prompt_last", "last", "differing"] | int
POSITIONS = ("completion_mean", "prompt_mean", "prompt_last", "last", "differing")

# Tokens in one pass, padding included, and tokens encoded at once: 512 x 24,576 features are 50 MB.
BATCH_TOKENS = 4096
ENCODE_TOKENS = 512


def picked(item: Passage, position: Position, other: Passage | None = None) -> list[int]:
    """The indices of the tokens that a position means in a passage; `other` is the other side of the pair.

    Raises:
        ValueError: an unknown position, an index outside the text, no prompt where it is to be read, or sides that do
            not differ in exactly one token.
    """
    n = len(item.tokens)
    if position == "last":
        return [n - 1]
    if position == "completion_mean":
        return list(range(item.start, item.end))
    if position in ("prompt_mean", "prompt_last"):
        if item.start <= item.first:
            raise ValueError(
                f'position="{position}" reads the tokens before the completion; this text has none. Give it a prompt.'
            )
        prompt = list(range(item.first, item.start))
        return prompt if position == "prompt_mean" else prompt[-1:]
    if position == "differing":
        if other is None:
            raise ValueError('position="differing" compares the two sides of a pair; a single text has no other side.')
        differing = [i for i, (a, b) in enumerate(zip(item.tokens, other.tokens, strict=False)) if a != b]
        if len(item.tokens) != len(other.tokens) or len(differing) != 1:
            raise ValueError(
                'position="differing" needs sides that differ in exactly one token, such as an answer letter; these '
                f'have {n} and {len(other.tokens)} tokens and differ in {len(differing)}. Use "completion_mean".'
            )
        return differing
    if isinstance(position, bool) or not isinstance(position, int):
        raise ValueError(f"A position is one of {', '.join(POSITIONS)}, or an index; got {position!r}.")
    if not -n <= position < n:
        raise ValueError(f"Position {position} is outside a text of {n} tokens (0 to {n - 1}, or -1 back to {-n}).")
    return [position % n]


def of_pairs(
    lm: Model,
    pairs: PairSet,
    sites: Sequence[Site],
    *,
    position: Position = "completion_mean",
    sae: Sae | None = None,
    chat: bool | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[Site, tuple[Float[Tensor, "pairs width"], Float[Tensor, "pairs width"]]]:
    """Activations of the positive and of the negative side of every pair, at sites.

    Raises:
        ValueError: a text that cannot be read there, by the number of its pair.
    """
    tokens, where = located(lm, pairs, position, chat)
    found = read(lm, tokens, where, sites, sae=sae, progress=progress)
    return {site: (h[: len(pairs)], h[len(pairs) :]) for site, h in found.items()}


def located(
    lm: Model, pairs: PairSet, position: Position = "completion_mean", chat: bool | None = None
) -> tuple[list[tuple[int, ...]], list[list[int]]]:
    """The tokens of all positive and then all negative texts of a pair set, and the indices that a position means.

    Raises:
        ValueError: a text that cannot be read there, by the number of its pair.
    """
    sides: tuple[list[Passage], list[Passage]] = ([], [])
    where: tuple[list[list[int]], list[list[int]]] = ([], [])
    for number, pair in enumerate(pairs):
        both = [_numbered("Pair", number, lambda side=side: passage(lm, *side, chat=chat)) for side in pair.sides]
        for i in (0, 1):
            sides[i].append(both[i])
            where[i].append(_numbered("Pair", number, lambda i=i, both=both: picked(both[i], position, both[1 - i])))
    return [item.tokens for side in sides for item in side], where[0] + where[1]


def read(
    lm: Model,
    sequences: Sequence[Sequence[int]],
    where: Sequence[Sequence[int]],
    sites: Sequence[Site],
    *,
    sae: Sae | None = None,
    batch_tokens: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[Site, Float[Tensor, "rows width"]]:
    """The mean activation over the chosen tokens of each sequence, in the order given, float32 on the CPU.

    Args:
        where: for each sequence the indices of its tokens that count, one or more.
        batch_tokens: tokens in one pass; by default so few that others soon get a turn.
        sae: gives features instead; each token is encoded, then the mean is taken.

    Raises:
        ValueError: the SAE is not at the only site asked for.
    """
    sites = [lm.check_site(Site.parse(site)) for site in sites]
    if sae is not None and sites != [sae.site]:
        raise ValueError(f"{sae.name} reads {sae.site}; asked for {', '.join(map(str, sites))}.")
    found = {site: torch.empty(len(sequences), sae.d_sae if sae else lm.width(site)) for site in sites}
    done, texts = 0, [tuple(sequence) for sequence in sequences]
    for piece in pieces(lm, texts, sites, [min(some) for some in where], batch_tokens or lm.piece_tokens):
        progressed(done, len(texts))
        n = piece.real.shape[1]
        rows = torch.tensor([k for k, row in enumerate(piece.numbers) for _ in where[row]])
        # Texts end at the same column, so token i of a text is at i + (columns - length).
        columns = torch.tensor([n - len(texts[row]) + i for row in piece.numbers for i in where[row]])
        counts = torch.tensor([len(where[row]) for row in piece.numbers])
        for site, h in piece.activations.items():
            means = _means(h[rows.to(h.device), columns.to(h.device)], rows, counts, sae)
            found[site][piece.numbers] = check_finite(lm, means)
        done += len(piece.numbers)
        if progress is not None:
            progress(done / len(texts))
    return found


def _means(
    h: Float[Tensor, "tokens d_model"], rows: Int[Tensor, "tokens"], counts: Int[Tensor, "rows"], sae: Sae | None
) -> Float[Tensor, "rows width"]:
    """The mean over each row's tokens, summed in float64: late tokens must not drown in a long sum."""
    total: Tensor | None = None
    for start in range(0, len(h), ENCODE_TOKENS):
        part = h[start : start + ENCODE_TOKENS]
        part = (sae.encode(part) if sae else part).to("cpu", torch.float64)
        if total is None:
            total = torch.zeros(len(counts), part.shape[-1], dtype=torch.float64)
        total = total.index_add(0, rows[start : start + ENCODE_TOKENS], part)
    assert total is not None
    return (total / counts[:, None]).float()


def batches(lengths: Sequence[int], batch_tokens: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Indices of texts of about the same length, so that rows x longest stays within `batch_tokens` (or is one row)."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[index] > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


@dataclass(frozen=True)
class Chunk:
    """Activations of consecutive tokens of a stream of texts, and the text and position of each token."""

    activations: Float[Tensor, "tokens width"]
    tokens: Int[Tensor, "tokens"]
    text: Int[Tensor, "tokens"]
    position: Int[Tensor, "tokens"]


def stream(
    lm: Model,
    texts: Iterable[str | Sequence[int]],
    site: Site,
    *,
    sae: Sae | None = None,
    context: int | None = None,
    bos: bool = False,
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[Chunk]:
    """Activations of every token of many texts, in chunks of at most `batch_tokens` (for SAE training and indexes).

    Texts are read lazily, 64 at a time, cut to `context` tokens, and come in their order up to sorting within those
    64. BOS is left out unless asked for: its activation is many times longer than any other.

    Raises:
        ValueError: a text that cannot be read, or an SAE at another site.
    """
    site = lm.check_site(Site.parse(site))
    if sae is not None and sae.site != site:
        raise ValueError(f"{sae.name} reads {sae.site}; asked for {site}.")
    limit = min(context or lm.n_ctx - 1, lm.n_ctx - 1)
    # One text longer than the chunk would break the promise of its size.
    limit = min(limit, batch_tokens)
    waiting: list[tuple[int, list[int]]] = []

    def flush() -> Iterator[Chunk]:
        for batch in batches([len(tokens) for _, tokens in waiting], min(batch_tokens, lm.piece_tokens)):
            found, mask = lm.activations([waiting[k][1] for k in batch], [site])
            ids = torch.tensor([token for k in batch for token in waiting[k][1]])
            text = torch.tensor([waiting[k][0] for k in batch for _ in waiting[k][1]])
            position = torch.tensor([i for k in batch for i in range(len(waiting[k][1]))])
            skipped = [0 if bos else lm.leading(waiting[k][1]) for k in batch]
            keep = position >= torch.tensor([n for n, k in zip(skipped, batch, strict=True) for _ in waiting[k][1]])
            h = found[site][mask][keep.to(mask.device)]  # row after row, padding left out
            check_finite(lm, h)
            yield Chunk(sae.encode(h) if sae else h, ids[keep], text[keep], position[keep])

    for number, text in enumerate(texts):
        ids = lm.encode(text)[:limit] if isinstance(text, str) else list(text)[:limit]
        if ids:
            waiting.append((number, _numbered("Text", number, lambda ids=ids: lm.tokens(ids))))
        if len(waiting) == 64:
            yield from flush()
            waiting.clear()
    yield from flush()


def _numbered(what: str, index: int, make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"{what} {index + 1}: {error}") from error
