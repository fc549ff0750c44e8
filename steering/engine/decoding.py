"""The decode loop: rows join the batch, take steps together, and leave. No threads, no queue, no Streamlit.

Every row has its own interventions, seed, temperature, length and stop texts, and gets the tokens that it would get
alone: positions are absolute, padding is masked and never steered, and random numbers belong to the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..models.caching.beginnings import After
from ..models.caching.cache import RowCache
from ..models.model import Model
from ..models.rope import turning_point
from .plan import Plan
from .rows import Row
from .sampling import choose

# Families that keep rows and heads in one axis, so that a row cannot be split into several half-way through a pass.
WHOLE_ROWS = ("BloomForCausalLM", "GPTBigCodeForCausalLM")


@dataclass(frozen=True, eq=False)
class AfterRows:
    """Rows that were read, with their keys and values, and which of them each row of another pass goes on from."""

    rows: Sequence[Row]
    cache: RowCache
    owners: Sequence[int] = ()

    def of(self, owners: Sequence[int]) -> AfterRows:
        return replace(self, owners=owners)

    def begin(self, cache: RowCache, rows: Sequence[Row], unique: Sequence[int], block: int) -> int:
        """Fills a cache with what the rows go on from, and their ledgers; returns its columns.

        Args:
            unique: the rows that stand for all of the same sequence in the layers below `block`.
        """
        after = After([len(row.sequence) for row in self.rows], self.cache, self.owners)
        lengths = [len(row.sequence) for row in rows]
        for row, k, n in zip(rows, self.owners, after.kept(lengths)[1], strict=True):
            # An intervention that leaves the beginning alone may be missing there.
            for mine, theirs in zip(row.ledgers, self.rows[k].ledgers, strict=False):
                mine.inherit(theirs, n)
        return after.begin(cache, lengths, unique, block)


@torch.inference_mode()
def run_sequences(
    model: Model,
    rows: Sequence[Row],
    cache: RowCache | None = None,
    *,
    keep: int | Tensor = 1,
    after: AfterRows | None = None,
) -> tuple[Float[Tensor, "rows pos vocab"], Bool[Tensor, "rows pos"]]:
    """Logits of one steered pass over the rows' whole sequences, padded on the left, and the mask of real tokens.

    `keep` says which positions' logits are computed: the last so many (0: all), or those columns. Rows of the same
    sequence run as one row up to the first block in which one of them is steered, and are split there. With `after`
    only the columns that are not in its cache yet are computed.
    """
    sequences = [row.sequence for row in rows]
    parts = type(model.hf).__name__ not in WHOLE_ROWS
    unique = list(dict.fromkeys(sequences)) if parts else sequences
    place = {sequence: index for index, sequence in enumerate(unique)}
    owner = torch.tensor([place[s] if parts else n for n, s in enumerate(sequences)], device=model.device)
    tokens, real, positions = model.pad(unique)
    padded = len({len(sequence) for sequence in unique}) > 1
    plan = Plan(model, rows)
    first = plan.first_edit()
    shared = len(unique) < len(rows)
    block = model.n_layers if first is None else first.layer + (first.stream == "resid_post")
    whole, kept = real.long(), cache is not None
    if after is not None:
        cache = RowCache() if cache is None else cache
        firsts = [sequences.index(one) for one in unique] if parts else range(len(rows))
        columns = after.begin(cache, rows, firsts, block)
        tokens, real, positions = tokens[:, columns:], real[:, columns:], positions[:, columns:]
    with ExitStack() as stack:
        stack.enter_context(model.lock)
        if shared:
            # Found out by a pass of their own, which the parting would split: then nothing would be read downstream.
            model.arrivals  # noqa: B018
            stack.enter_context(_parting(model, block, owner, len(unique)))
        logits = model.forward(
            tokens,
            attention_mask=whole if padded else None,
            positions=positions if padded else None,
            cache=cache,
            hooks=plan.prompt_hooks(positions[owner], real[owner], owner if shared else None, first),
            readers=plan.readers,
            keep=keep,
        )
    if shared:
        if cache is not None and kept:
            cache.take(owner, layers=block)
        if logits.shape[0] != len(rows):
            logits = logits.index_select(0, owner)
    plan.flush(real[owner])
    return logits, real[owner]


@contextmanager
def _parting(model: Model, block: int, owner: Int[Tensor, "rows"], prompts: int) -> Iterator[None]:
    """Within a `with` block, split prompts into rows from this block on: activations, masks, rotary tables."""

    def part(value: Any) -> Any:
        if isinstance(value, Tensor):
            per_prompt = value.ndim >= 2 and value.shape[0] == prompts
            return value.index_select(0, owner.to(value.device)) if per_prompt else value
        if isinstance(value, tuple):
            return tuple(part(item) for item in value)
        return value

    def hook(module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return part(args), {name: part(value) for name, value in kwargs.items()}

    handles = []
    try:
        for module in list(model.blocks)[block:]:
            handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


class Decoder:
    """The rows that are being decoded. `add` runs prompts, `step` gives each row one token, `drop` removes rows.

    Args:
        max_batch: rows that run their prompts in one pass.
    """

    def __init__(self, model: Model, max_batch: int = 64) -> None:
        self.model, self.max_batch = model, max_batch
        self.rows: list[Row] = []
        self._uncached: list[Row] = []
        self._cache = RowCache()
        self._pads: list[int] = []  # padded columns on the left of each cached row
        self._plan: Plan | None = None
        self._turning = turning_point(model.hf)

    def __len__(self) -> int:
        return len(self.rows) + len(self._uncached)

    @torch.inference_mode()
    def add(self, rows: Sequence[Row]) -> None:
        """Run the rows' prompts and choose their first tokens; a row may be finished after that.

        A row that already has tokens continues after them.
        """
        self._uncached += [row for row in rows if not row.cached]
        for row in [row for row in rows if not row.cached]:
            self._step_uncached(row)
        cached = [row for row in rows if row.cached]
        for start in range(0, len(cached), self.max_batch):
            self._join(cached[start : start + self.max_batch])
        self._leave()

    def _join(self, rows: list[Row]) -> None:
        cache = RowCache()
        logits, _ = run_sequences(self.model, rows, cache)
        width = cache.length
        pads = [width - len(row.sequence) for row in rows]
        self._flush()
        if self.rows:
            mine = self._cache.length
            self._cache.join(cache)
            self._pads = [pad + max(0, width - mine) for pad in self._pads]
            pads = [pad + max(0, mine - width) for pad in pads]
        else:
            self._cache = cache
        self.rows, self._pads = self.rows + rows, self._pads + pads
        self._emit(rows, logits[:, -1])

    @torch.inference_mode()
    def step(self) -> None:
        """Choose one token for every row; remove the finished rows."""
        turned = self._turned()
        if self.rows:
            self._step_cached()
        if turned:
            self._join(turned)
        for row in self._uncached:
            self._step_uncached(row)
        self._leave()

    def _turned(self) -> list[Row]:
        """Remove and return the rows whose rotary frequencies change with this token, which makes their cache invalid.

        They are read again from the start; where frequencies change with every token, they continue without a cache.
        """
        if self._turning is None:
            return []
        limit, stretches = self._turning
        lengths = [len(row.sequence) for row in self.rows]
        stay = [index for index, n in enumerate(lengths) if (n <= limit if stretches else n != limit + 1)]
        turned = [row for index, row in enumerate(self.rows) if index not in stay]
        if turned:
            self._stay(stay)
        for row in turned:
            row.forget()
        if stretches:
            self._uncached += turned
            return []
        return turned

    def _step_cached(self) -> None:
        device = self.model.device
        tokens = torch.tensor([[row.generated[-1]] for row in self.rows], device=device)
        positions = torch.tensor([[row.position] for row in self.rows], device=device)
        if self._plan is None:
            self._plan = Plan(self.model, self.rows)
        logits = self.model.forward(
            tokens,
            attention_mask=self._mask(),
            positions=positions,
            cache=self._cache,
            hooks=self._plan.decode_hooks(positions),
            readers=self._plan.readers,
            keep=1,
        )
        self._emit(self.rows, logits[:, -1])

    def _mask(self) -> Int[Tensor, "rows columns"] | None:
        """Which columns of the cache (and the new one) are real; None when there is no padding to hide."""
        if not any(self._pads):
            return None
        columns = torch.arange(self._cache.length + 1, device=self.model.device)
        return (columns >= torch.tensor(self._pads, device=self.model.device)[:, None]).long()

    def _step_uncached(self, row: Row) -> None:
        row.forget()
        logits, _ = run_sequences(self.model, [row])
        self._emit([row], logits[:, -1])

    def _emit(self, rows: Sequence[Row], logits: Float[Tensor, "rows vocab"]) -> None:
        logits = logits.float()
        chosen = choose(
            logits, [row.sampling for row in rows], [row.stream for row in rows], [len(row.generated) for row in rows]
        )
        for r, row in enumerate(rows):
            if len(row.generated) < len(row.given):
                chosen[r] = row.given[len(row.generated)]
        spread = logits.log_softmax(-1)
        logprobs = spread.gather(1, chosen[:, None]).squeeze(1).tolist()
        wanted = min(max(row.top_alternatives for row in rows), spread.shape[-1])
        best, index = (part.tolist() for part in spread.topk(wanted, dim=-1)) if wanted else ([[]] * len(rows),) * 2
        for r, (row, token) in enumerate(zip(rows, chosen.tolist(), strict=True)):
            row.accept(token, logprobs[r], list(zip(index[r], best[r], strict=True))[: row.top_alternatives])

    def drop(self, rows: Sequence[Row], reason: str = "cancelled") -> None:
        """Remove rows before they are finished; the other rows do not change."""
        for row in rows:
            row.finish_reason = row.finish_reason or reason
        self._leave()

    def clear(self) -> None:
        """Remove all rows and their cache, after a pass that failed half-way."""
        self._flush()  # a row that was finished before the failure keeps its receipt
        self.rows, self._uncached, self._pads, self._plan, self._cache = [], [], [], None, RowCache()

    def discard(self, row: Row) -> None:
        """Remove one row that could not be added."""
        self._uncached = [other for other in self._uncached if other is not row]

    def _leave(self) -> None:
        self._uncached = [row for row in self._uncached if row.finish_reason is None]
        stay = [index for index, row in enumerate(self.rows) if row.finish_reason is None]
        if len(stay) < len(self.rows):
            self._stay(stay)

    def _stay(self, stay: list[int]) -> None:
        """Keep these rows of the cached batch."""
        self._flush()
        self.rows, self._pads = [self.rows[index] for index in stay], [self._pads[index] for index in stay]
        if not stay:
            self._cache = RowCache()
            return
        spare = min(self._pads)
        self._cache.take(torch.tensor(stay, device=self.model.device), drop_left=spare)
        self._pads = [pad - spare for pad in self._pads]

    def _flush(self) -> None:
        """Give receipts and projections so far to their rows; the next step makes a new plan."""
        if self._plan is not None:
            self._plan.flush()
            self._plan = None


def generate(rows: Sequence[Row], max_batch: int = 64) -> None:
    """Decode rows of one model to their ends, in place."""
    if rows:
        decoder = Decoder(rows[0].model, max_batch)
        decoder.add(rows)
        while len(decoder):
            decoder.step()
