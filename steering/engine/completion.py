"""Completions: the handle of a request, and the plain data of a finished row.

A finished completion holds neither model nor interventions, so that keeping one keeps no weights alive.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ..jobs.jobs import check_stop, current_job
from ..models.model import Model
from ..showing.html import caption, tinted_tokens
from ..showing.one_line import one_line, quoted
from .receipts import Receipt
from .rows import Row, Trace

_LOOK = 0.1  # seconds between two checks whether a waiting job was cancelled


class CacheCheck(NamedTuple):
    """Log-probabilities of a completion's tokens, decoded with the cache against one pass without it.

    `tolerance` is what rounding in the model's dtype explains.
    """

    max_difference: float
    agrees: bool
    tolerance: float


@dataclass(frozen=True)
class Finished:
    """A finished row as plain data."""

    prompt: tuple[int, ...]
    generated: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    alternatives: list[list[tuple[int, float]]] = field(default_factory=list)
    traces: dict[str, Trace] = field(default_factory=dict)
    visible: str = ""
    finish_reason: str | None = None
    receipts: tuple[Receipt, ...] = ()

    @classmethod
    def of(cls, row: Row, *, receipts: bool = True) -> Finished:
        """The plain data of a row; without receipts if it failed."""
        return cls(
            row.prompt, row.generated, row.logprobs, row.alternatives, row.traces, row.visible, row.finish_reason,
            row.receipts() if receipts else (),
        )  # fmt: skip


class Completion:
    """The handle of a request: streams text, carries the result or the error, and cancels.

    Iterating gives pieces of text as they come and ends when the row is finished. All properties can be read at any
    time; receipts and projections are complete once `done`.
    """

    def __init__(self, row: Row | Finished, model: Model, *, in_job: bool = False, remembered: bool = False) -> None:
        self._row: Row | Finished = row
        self._model = weakref.ref(model)
        self._changed = threading.Condition()
        # A thread that waits for the end is not woken at every token: waking takes the interpreter's lock.
        self._finished = threading.Event()
        self._watching = 0
        self._cancelled = False
        self.in_job = in_job
        self.error: Exception | None = None
        self.remembered = remembered
        if isinstance(row, Finished):
            self._finished.set()

    @property
    def prompt_tokens(self) -> list[int]:
        return list(self._row.prompt)

    @property
    def tokens(self) -> list[int]:
        """The generated tokens."""
        return list(self._row.generated)

    @property
    def text(self) -> str:
        return self._row.visible

    @property
    def logprobs(self) -> list[float]:
        """Log-probability of each generated token under the steered model, at temperature 1."""
        return list(self._row.logprobs)

    @property
    def alternatives(self) -> list[list[tuple[int, float]]]:
        """For each generated token the most probable ones, with their log-probabilities."""
        return list(self._row.alternatives)

    @property
    def projections(self) -> dict[str, Trace]:
        """Projections on each recorded direction along prompt and text (but the last token, which is never read)."""
        return dict(self._row.traces)

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """What each intervention really did; see `Receipt`. None before the row is finished."""
        return self._row.receipts if isinstance(self._row, Finished) else ()

    @property
    def finish_reason(self) -> str | None:
        """Why it ended: eos, stop, length, context, diverged, cancelled or error; None while under way."""
        return self._row.finish_reason

    @property
    def done(self) -> bool:
        return self._finished.is_set()

    def cancel(self) -> None:
        """Stop the row within one step; its tokens so far are kept."""
        self._cancelled = True

    def result(self, timeout: float | None = None) -> Completion:
        """Itself, once finished. Inside a job that is cancelled meanwhile, the row is cancelled too.

        Raises:
            TimeoutError: not finished in time.
            Cancelled: asked inside a job that was cancelled.
            Exception: the row's error.
        """
        if not self._wait(timeout):
            raise TimeoutError(f"The completion was not finished after {timeout:g} s.")
        if self.error is not None:
            raise self.error
        return self

    def _wait(self, timeout: float | None) -> bool:
        if current_job() is None:
            return self._finished.wait(timeout)
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while not self._finished.wait(_LOOK if end is None else min(_LOOK, max(0.0, end - time.monotonic()))):
                check_stop()
                if end is not None and time.monotonic() >= end:
                    return False
        except BaseException:
            self.cancel()
            raise
        return True

    def wait(self, seen: int, timeout: float | None = None) -> bool:
        """Whether there is more text than `seen` characters, or the row is finished; waits at most `timeout`."""
        with self._changed:
            self._watching += 1  # before the text is compared: text that arrives later notifies this thread
            try:
                return self._changed.wait_for(lambda: self.done or len(self.text) > seen, timeout)
            finally:
                self._watching -= 1

    def __iter__(self) -> Iterator[str]:
        seen = 0
        while True:
            self.wait(seen)
            done, text = self.done, self.text
            if len(text) > seen:
                yield text[seen:]
                seen = len(text)
            elif done:
                if self.error is not None:
                    raise self.error
                return

    def __repr__(self) -> str:
        return one_line(self, quoted(self.text, 140), self.finish_reason or "under way")

    def _repr_html_(self) -> str:
        """The text for a notebook, each token tinted by its projection where one was recorded, else by its surprise."""
        model, what = self._model(), "surprise"
        texts = [str(token) for token in self.tokens] if model is None else model.token_texts(self.tokens)
        values = [-logprob for logprob in self.logprobs]
        if traces := self.projections:
            label, trace = next(iter(traces.items()))
            after, what = trace.after[len(self.prompt_tokens) :], f"projection on {label}"
            values = [*after, *[0.0] * (len(texts) - len(after))]  # the last token is never read, so it has none
        receipts = "".join(caption(str(receipt)) for receipt in self.receipts)
        return (
            tinted_tokens(texts, values, what)
            + caption(f"{self.finish_reason or 'under way'}; tint: {what}")
            + receipts
        )

    def _notify(self) -> None:
        if self._watching:
            with self._changed:
                self._changed.notify_all()

    def _finish(self, error: Exception | None = None) -> Finished:
        """End the completion and return its row's plain data."""
        assert isinstance(self._row, Row)
        self.error = error
        if error is not None:
            self._row.finish_reason = "error"
        left = self._row = Finished.of(self._row, receipts=error is None)
        self._finished.set()
        self._notify()
        return left
