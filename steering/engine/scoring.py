"""Score given continuations by teacher forcing, in passes of bounded time and memory.

Logits are computed for the scored tokens only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..models.caching.beginnings import CACHE_BYTES, Group, split
from ..models.caching.cache import RowCache, can_continue
from ..models.checks.overflow import check_finite
from ..models.model import Model, Prompt
from ..models.passages import in_context
from ..models.rope import turning_point
from .beginnings import AfterRows, beginning, edited, may_share
from .passes import run_sequences
from .receipts import check
from .requests import Request, Variant
from .rows import Row

Scored = tuple[Prompt, str | Sequence[int], Variant]  # a prompt, what is scored after it, and how it is steered

# The most memory that the logits of one pass take; the scores computed from them are small.
LOGIT_BYTES = 2**28


def rows_of(model: Model, items: Sequence[Scored], *, steer_bos: bool = False) -> list[Row]:
    """Rows that score each item's continuation.

    Raises:
        ValueError: an empty continuation, or one that does not fit into the context after its prompt.
    """
    rows = []
    for prompt, continuation, variant in items:
        if isinstance(continuation, str) and continuation:
            prompt, continuation = in_context(model, prompt, continuation)
        row = Request(prompt, variant, steer_bos=steer_bos).row(model)
        if not continuation:
            raise ValueError(f"A continuation holds at least one token; got {continuation!r}.")
        if len(row.prompt) + len(continuation) > model.n_ctx:
            raise ValueError(
                f"Prompt and continuation together are at most {model.n_ctx} tokens; "
                f"got {len(row.prompt)} and {len(continuation)}."
            )
        row.targets = tuple(int(token) for token in continuation)
        rows.append(row)
    return rows


def score(rows: Sequence[Row], max_rows: int = 64, between: Callable[[], None] | None = None) -> list[list[float]]:
    """Log-probabilities of the rows' `targets` after their prompts, by teacher forcing, under their interventions.

    Also fills in the rows' receipts and projections. An intervention with `where="generated"` touches the targets.
    `between` is called after each pass, and may raise to stop.

    Raises:
        ValueError: the model's numbers overflow, so that a log-probability is no number.
    """
    wanted: list[tuple[int, ...]] = [row.targets for row in rows]
    found: list[list[float]] = [[] for _ in rows]
    for number, logits in target_logits(rows, max_rows):
        first = len(found[number])
        targets = torch.tensor(wanted[number][first : first + len(logits)], device=logits.device)
        logprobs = logits.float().log_softmax(-1).gather(1, targets[:, None]).squeeze(1)
        found[number] += check_finite(rows[number].model, logprobs).tolist()
        if between is not None:
            between()
    return found


def next_logits(
    model: Model, items: Sequence[tuple[Prompt, Variant]], max_rows: int = 64, *, steer_bos: bool = False
) -> Float[Tensor, "items vocab"]:
    """Logits of the token after each prompt under a variant, float32 on the CPU, in the order given.

    Raises:
        ValueError: the model's numbers overflow, or an edit did not arrive in the model.
    """
    rows = [Request(prompt, variant, steer_bos=steer_bos).row(model) for prompt, variant in items]
    found: dict[int, Tensor] = {}
    for part in batches(rows, max_rows):
        logits, _ = run_sequences(model, [rows[number] for number in part])
        check_finite(model, logits[:, -1].float().logsumexp(-1))
        found |= zip(part, logits[:, -1].float().cpu(), strict=True)
    for row in rows:
        check(row.receipts())
    return torch.stack([found[number] for number in range(len(rows))])


@torch.inference_mode()
def target_logits(rows: Sequence[Row], max_rows: int = 64) -> Iterator[tuple[int, Float[Tensor, "targets vocab"]]]:
    """The logits that predict each row's targets, as (number of the row, logits), in any order of rows.

    What rows have in common at the front is read once (see beginnings.py). A row whose logits alone take more than
    `LOGIT_BYTES` comes in several parts, in the order of its targets.
    """
    if any(not row.targets for row in rows):
        raise ValueError("Scoring needs at least one target token in every row; got a row with none.")
    sharing = _shareable(rows)
    yield from _read_all({number: row for number, row in enumerate(rows) if number not in sharing}, max_rows)
    yield from _descend({0: {number: rows[number] for number in sorted(sharing)}}, None, max_rows)


def _descend(
    rows: Mapping[int, Mapping[int, Row]], after: AfterRows | None, max_rows: int
) -> Iterator[tuple[int, Float[Tensor, "targets vocab"]]]:
    """The logits of rows that go on from what was read; `rows` has them by number, and those by whom they go on from.

    Where some of them go on in the same way, that is read first.
    """
    beginnings: list[tuple[Row, int, dict[int, Row]]] = []
    alone: dict[int, Row] = {}
    owners: dict[int, int] = {}
    for owner, mine in rows.items():
        texts = {number: row.sequence for number, row in mine.items()}
        # The last token of a prompt predicts the first target: its logits are wanted.
        most = {number: len(row.prompt) - 1 for number, row in mine.items()}
        groups, rest = split(texts, most, 0 if after is None else len(after.rows[owner].sequence))
        alone |= {number: mine[number] for number in rest}
        owners |= dict.fromkeys(rest, owner)
        beginnings += [
            (start, owner, {number: mine[number] for number in numbers}) for start, numbers in _starts(mine, groups)
        ]
    yield from _read_all(alone, max_rows, after, owners)
    read = [start for start, _, _ in beginnings]
    whose = [owner for _, owner, _ in beginnings]
    for part in batches(read, max_rows, after, dict(enumerate(whose))):
        cache, some = RowCache(), [read[place] for place in part]
        run_sequences(some[0].model, some, cache, after=after and after.of([whose[place] for place in part]))
        yield from _descend({n: beginnings[place][2] for n, place in enumerate(part)}, AfterRows(some, cache), max_rows)


def _shareable(rows: Sequence[Row]) -> set[int]:
    """The numbers of the rows whose beginning may be read apart from the rest; none in models that cannot go on so."""
    if not rows or not can_continue(rows[0].model) or turning_point(rows[0].model.hf) is not None:
        return set()
    return {number for number, row in enumerate(rows) if may_share(row)}


def _starts(rows: Mapping[int, Row], groups: Sequence[Group]) -> list[tuple[Row, list[int]]]:
    """The rows that read the groups' beginnings, one for each way in which they are steered, and whose they are."""
    found: dict[tuple, tuple[Row, list[int]]] = {}
    prints: dict[int, str] = {}
    for place, group in enumerate(groups):
        for number in group.numbers:
            row = rows[number]
            key = (place, edited(row, group.length, prints))
            if key not in found:
                found[key] = beginning(row, group.length, steered=bool(key[1])), []
            found[key][1].append(number)
    return list(found.values())


def _read_all(
    rows: Mapping[int, Row], max_rows: int, after: AfterRows | None = None, owners: Mapping[int, int] | None = None
) -> Iterator[tuple[int, Float[Tensor, "targets vocab"]]]:
    """The logits of rows by number, in batches."""
    numbers, owners = list(rows), owners or {}
    turning = turning_point(rows[numbers[0]].model.hf) if rows else None
    whose = {place: owners[number] for place, number in enumerate(numbers) if number in owners}
    for part in batches(list(rows.values()), max_rows, after, whose):
        batch = [numbers[place] for place in part]
        _ask_conditions([rows[number] for number in batch if rows[number].needs_prompt_pass])
        apart = [number for number in batch if len(batch) == 1 or _turns(rows[number], turning)]
        for number in apart:
            for logits in _in_parts(rows[number], turning, after and after.of([owners[number]])):
                yield number, logits
        together = [number for number in batch if number not in apart]
        if together:
            some = [rows[number] for number in together]
            going_on = after and after.of([owners[number] for number in together])
            keep = max(len(row.targets) for row in some) + 1
            logits, _ = run_sequences(some[0].model, some, keep=keep, after=going_on)
            for number, row, one in zip(together, some, logits, strict=True):
                # The token at position t is predicted at t - 1; rows end at the same column.
                yield number, one[-len(row.targets) - 1 : -1]


def batches(
    rows: Sequence[Row], max_rows: int = 64, after: AfterRows | None = None, owners: Mapping[int, int] | None = None
) -> Iterator[list[int]]:
    """Numbers of rows for one pass each, equal sequences together: bounded in rows, tokens, and bytes.

    Batches depend on the rows and the model alone, not on timing, so that scores are reproducible.

    Args:
        after: what they go on from, each from the row that `owners` names, so that only the rest of them is read.
    """
    sequences = [row.sequence for row in rows]
    left = [len(sequence) for sequence in sequences]
    if after is not None and owners:
        left = [n - len(after.rows[owners[number]].sequence) for number, n in enumerate(left)]
    column = 0 if after is None else after.cache.column_bytes
    batch: list[int] = []
    targets = longest = 0
    for number in sorted(range(len(rows)), key=lambda n: (left[n], sequences[n])):
        model, n = rows[number].model, len(batch) + 1
        targets, longest = max(targets, len(rows[number].targets)), max(longest, len(sequences[number]))
        full = n * left[number] > model.piece_tokens or n > max_rows or n * longest * column > CACHE_BYTES
        if batch and (full or 4 * n * (targets + 1) * model.d_vocab > LOGIT_BYTES):
            yield batch
            batch, targets, longest = [], len(rows[number].targets), len(sequences[number])
        batch.append(number)
    if batch:
        yield batch


def _turns(row: Row, turning: tuple[float, bool] | None) -> bool:
    """Whether the row's rotary frequencies change between its first target and its last."""
    if turning is None or len(row.sequence) <= turning[0]:
        return False
    return turning[1] or len(row.prompt) <= turning[0]


def _in_parts(
    row: Row, turning: tuple[float, bool] | None, after: AfterRows | None = None
) -> Iterator[Float[Tensor, "targets vocab"]]:
    """The logits of one row's targets, in as many passes as it takes to hold `LOGIT_BYTES` at a time.

    Each target is predicted from the tokens before it, so where the length changes the model's rotary frequencies,
    targets on either side need separate passes.
    """
    targets, most = row.targets, max(1, LOGIT_BYTES // (4 * row.model.d_vocab) - 1)
    if len(targets) <= most and not _turns(row, turning):
        yield run_sequences(row.model, [row], keep=len(targets) + 1, after=after)[0][0, :-1]
        return
    cuts = {*range(0, len(targets), most), len(targets)}
    if turning is not None and _turns(row, turning):
        border = max(0, int(turning[0]) - len(row.prompt) + 1)
        cuts |= set(range(border, len(targets))) if turning[1] else {border}
    try:
        for start, end in itertools.pairwise(sorted(cut for cut in cuts if cut <= len(targets))):
            row.forget()
            row.targets = targets[: end - 1]
            yield run_sequences(row.model, [row], keep=end - start, after=after)[0][0]
    finally:
        row.targets = targets


def _ask_conditions(rows: Sequence[Row]) -> None:
    """Run the prompts alone: a condition above the edits that it gates must be known before the targets are read."""
    if rows:
        targets = [row.targets for row in rows]
        for row in rows:
            row.targets = ()
        run_sequences(rows[0].model, rows)
        for row, kept in zip(rows, targets, strict=True):
            row.targets = kept
            row.forget()


def tolerance(dtype: torch.dtype, logprob: float) -> float:
    """How far two ways to compute a log-probability may be apart in a dtype.

    Logits are rounded to eps / 2 of their size in every layer, and improbable tokens accumulate more of it.
    """
    return max(1e-3, torch.finfo(dtype).eps * (48 + 8 * abs(logprob)))
