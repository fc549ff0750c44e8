"""The decode loop: rows join the batch, take steps together, and leave. No threads, no queue, no Streamlit.

Every row has its own interventions, seed, temperature, length and stop texts, and gets the tokens that it would get
alone: positions are absolute, padding is masked and never steered, and random numbers belong to the row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..models.caching.cache import RowCache
from ..models.model import Model
from ..models.rope import turning_point
from .beginnings import AfterRows
from .openings import Openings
from .passes import run_sequences
from .plan import Plan
from .rows import Row
from .sampling import choose


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
        self._openings = Openings(model)

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

    def unread(self, prompt: Sequence[int]) -> int:
        """How many tokens of a prompt a pass would read, if it goes on from what was read for others."""
        return len(prompt) - self._openings.known(prompt)

    def _join(self, rows: list[Row]) -> None:
        for some, after in self._openings.parted(rows):
            self._read(some, after)

    def _read(self, rows: list[Row], after: AfterRows | None) -> None:
        cache = RowCache()
        logits, _ = run_sequences(self.model, rows, cache, after=after)
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
        self._openings.clear()

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
            self._openings.clear()
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
