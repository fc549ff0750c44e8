"""The engine: one thread that owns a model, a queue of requests, and handles that stream what becomes of them.

Requests from any thread are decoded together in one batch; they join it while others are under way. A row that was
decoded before (same model, prompt, recipe, sampling) is remembered, so moving one slider decodes one row.
"""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from ..directions.direction import Direction
from ..interventions.protocol import fingerprint
from ..models.model import Model, Prompt
from ..models.passages import in_context
from ..sites import Site
from .decoding import Decoder, score
from .receipts import Receipt, check
from .requests import Request, Variant, recorded
from .rows import Row, Trace

T = TypeVar("T")
Scored = tuple[Prompt, str | Sequence[int], Variant]  # what a score is asked of


class CacheCheck(NamedTuple):
    """Log-probabilities of a completion's tokens, decoded with the cache against one pass without it."""

    max_difference: float
    agrees: bool


class Completion:
    """The handle of a request: streams text, carries the result or the error, and cancels.

    Iterating gives pieces of text as they come and ends when the row is finished. All properties can be read at any
    time; receipts and projections are complete once `done`.
    """

    def __init__(self, request: Request, row: Row, owner: Engine) -> None:
        self.request, self._row, self._owner = request, row, owner
        self._changed = threading.Condition()
        # Whoever wants the end only is not woken at every token: a thread that wakes takes the interpreter's lock.
        self._finished = threading.Event()
        self._watching = 0
        self._cancelled = False
        self._receipts: tuple[Receipt, ...] = ()
        self.error: Exception | None = None
        self.remembered = False

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
        """What each intervention really did; see `Receipt`."""
        return self._receipts

    @property
    def finish_reason(self) -> str | None:
        """Why it ended: eos, stop, length, context, diverged, cancelled or error; None while under way."""
        return self._row.finish_reason

    @property
    def done(self) -> bool:
        return self._finished.is_set()

    def cancel(self) -> None:
        """Stops the row within one step; what it has so far stays."""
        self._cancelled = True

    def result(self, timeout: float | None = None) -> Completion:
        """Itself, once finished.

        Raises:
            TimeoutError: not finished in time.
            Exception: what went wrong in the row.
        """
        if not self._finished.wait(timeout):
            raise TimeoutError(f"The completion was not finished after {timeout:g} s.")
        if self.error is not None:
            raise self.error
        return self

    def wait(self, seen: int, timeout: float | None = None) -> bool:
        """Whether there is more text than `seen` characters, or the row is finished; waits at most `timeout`."""
        with self._changed:
            self._watching += 1  # before the text is looked at: what comes after that look is notified
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
        return f"Completion({self.text!r}, {self.finish_reason or 'under way'})"

    def _notify(self) -> None:
        if self._watching:
            with self._changed:
                self._changed.notify_all()

    def _finish(self, error: Exception | None = None) -> None:
        self.error = error
        if error is not None:
            self._row.finish_reason = "error"
        self._receipts = self._row.receipts() if error is None else ()
        self._finished.set()
        self._notify()


class Engine:
    """Owns a model: decodes every request that is submitted, from any thread, in one batch.

    Args:
        max_rows: rows decoded at once; further ones wait.
        remember: how many finished rows are kept.
    """

    def __init__(self, model: Model, *, max_rows: int = 64, remember: int = 512) -> None:
        self.model, self.max_rows = model, max_rows
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._waiting: list[Completion] = []
        self._active: list[Completion] = []
        self._memory: OrderedDict[str, Row] = OrderedDict()
        self._remember = remember
        self._lock = threading.Lock()
        self._closed = False
        self.decoded_rows = 0
        self._thread = threading.Thread(target=self._run, name=f"engine:{model.name}", daemon=True)
        self._thread.start()
        # A daemon thread inside torch when the interpreter goes ends the process with an abort.
        atexit.register(self.close)

    # From any thread ------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> Completion:
        """The handle of a request; bad requests raise a ValueError here, not in the thread."""
        return self.submit_all([request])[0]

    def submit_all(self, requests: Sequence[Request]) -> list[Completion]:
        """The handles of requests that belong together: they start in one batch and share what they have in common."""
        if self._closed:
            raise ValueError("This engine is closed; make a new one.")
        handles = [Completion(request, request.row(self.model), self) for request in requests]
        fresh = []
        for handle in handles:
            known = self._recall(handle._row)
            if known is None:
                fresh.append(handle)
            else:
                handle._row, handle.remembered = known, True
                handle._finish()
        if fresh:
            self._put(fresh)
        return handles

    def generate(
        self,
        prompt: Prompt,
        variants: Sequence[Variant] = ((),),
        *,
        record: Sequence[Site | Direction] = (),
        samples: int = 1,
        **options: Any,
    ) -> list[Completion]:
        """Finished completions of one prompt under several variants, decoded as one batch; () is the baseline.

        With `samples` above 1 every variant is drawn that often, variants first. Every variant records the directions
        of all of them. Options are those of `Request`.
        """
        found = recorded(self.model, record, variants)
        base = Request(prompt, record=found, **options)
        requests = [
            replace(base, interventions=variant, sample=base.sample + sample)
            for sample in range(samples)
            for variant in variants
        ]
        return [handle.result() for handle in self.submit_all(requests)]

    def score(
        self,
        prompt: Prompt,
        continuation: str | Sequence[int],
        variants: Sequence[Variant] = ((),),
        *,
        steer_bos: bool = False,
    ) -> list[list[float]]:
        """Log-probabilities of a continuation's tokens under each variant, by teacher forcing, in one pass."""
        return self.score_all([(prompt, continuation, variant) for variant in variants], steer_bos=steer_bos)

    def score_all(self, items: Sequence[Scored], *, steer_bos: bool = False) -> list[list[float]]:
        """`score` for any number of (prompt, continuation, variant), in full batches.

        Raises:
            ValueError: an empty continuation, one that does not fit into the context after its prompt, or an edit that
                did not arrive in the model (see `Receipt`).
        """
        found = self.score_with_receipts(items, steer_bos=steer_bos)
        for _, receipts in found:
            check(receipts)
        return [logprobs for logprobs, _ in found]

    def score_with_receipts(
        self, items: Sequence[Scored], *, steer_bos: bool = False
    ) -> list[tuple[list[float], tuple[Receipt, ...]]]:
        """As `score_all`, with the receipts of each item's edits, whether they agree or not."""
        rows = []
        for prompt, continuation, variant in items:
            if isinstance(continuation, str) and continuation:
                prompt, continuation = in_context(self.model, prompt, continuation)
            base, targets = Request(prompt, variant, steer_bos=steer_bos).row(self.model), continuation
            if not targets:
                raise ValueError(f"A continuation holds at least one token; got {continuation!r}.")
            if len(base.prompt) + len(targets) > self.model.n_ctx:
                raise ValueError(
                    f"Prompt and continuation together are at most {self.model.n_ctx} tokens; "
                    f"got {len(base.prompt)} and {len(targets)}."
                )
            base.targets = tuple(int(token) for token in targets)
            rows.append(base)
        logprobs = self.call(lambda: score(rows, self.max_rows))
        return [(values, row.receipts()) for values, row in zip(logprobs, rows, strict=True)]

    def check(self, completion: Completion, tolerance: float = 1e-3) -> CacheCheck:
        """The receipt's cross-check: were the cached steps what one pass without a cache gives for the same tokens?"""
        row = completion.request.row(self.model)
        row.targets = tuple(completion.tokens)
        (uncached,) = self.call(lambda: score([row]))
        difference = max(abs(a - b) for a, b in zip(uncached, completion.logprobs, strict=True))
        return CacheCheck(difference, difference <= tolerance)

    def call(self, work: Callable[[], T]) -> T:
        """What `work` returns, run on the engine's thread between two steps."""
        if threading.current_thread() is self._thread:
            return work()
        answer: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        self._put((work, answer))
        good, value = answer.get()
        if not good:
            raise value
        return value

    def _put(self, item: Any) -> None:
        """Under the lock: nothing may come behind the item that ends the thread, or its caller waits for ever."""
        with self._lock:
            if self._closed:
                raise ValueError("This engine is closed; make a new one.")
            self._inbox.put(item)

    @property
    def busy(self) -> tuple[int, int]:
        """Rows that are being decoded, and rows that wait."""
        return len(self._active), len(self._waiting)

    def close(self) -> None:
        """Ends the thread; what is under way is cancelled."""
        with self._lock:
            self._closed = True
            self._inbox.put(None)
        atexit.unregister(self.close)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=30)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Memory ---------------------------------------------------------------------------------------------------------

    def _key(self, row: Row) -> str:
        parts = (self.model.fingerprint, row.prompt, row.interventions, row.sampling, row.max_new_tokens, row.stop)
        return fingerprint([*parts, row.record, row.steer_bos, row.ignore_eos, row.top_alternatives, row.cached])

    def _recall(self, row: Row) -> Row | None:
        with self._lock:
            key = self._key(row)
            if key in self._memory:
                self._memory.move_to_end(key)
            return self._memory.get(key)

    def _keep(self, row: Row) -> None:
        with self._lock:
            self._memory[self._key(row)] = row
            while len(self._memory) > self._remember:
                self._memory.popitem(last=False)

    # The thread -----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        decoder = Decoder(self.model, self.max_rows)
        while self._receive(block=not (self._active or self._waiting)):
            self._drop_cancelled(decoder)
            self._admit(decoder)
            if self._active:
                self._guarded(decoder, decoder.step)
                self._report(decoder)
        for handle in [*self._active, *self._waiting]:
            handle._row.finish_reason = "cancelled"
            handle._finish()

    def _receive(self, block: bool) -> bool:
        """Takes what has arrived; False when the engine is to end."""
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._inbox.get(block=block)
                block = False
                if item is None:
                    return False
                if isinstance(item, list):
                    self._waiting += item
                    continue
                work, answer = item
                try:
                    answer.put((True, work()))
                except Exception as error:  # belongs to the caller, in whose thread it is raised
                    answer.put((False, error))
        return True

    def _drop_cancelled(self, decoder: Decoder) -> None:
        for handle in [handle for handle in self._waiting if handle._cancelled]:
            self._waiting.remove(handle)
            handle._row.finish_reason = "cancelled"
            handle._finish()
        cancelled = [handle for handle in self._active if handle._cancelled]
        if cancelled:
            decoder.drop([handle._row for handle in cancelled])
            self._report(decoder)

    def _admit(self, decoder: Decoder) -> None:
        room = self.max_rows - len(self._active)
        new, self._waiting = self._waiting[:room], self._waiting[room:]
        if new:
            self._active += new
            self._guarded(decoder, lambda: decoder.add([handle._row for handle in new]))
            self._report(decoder)

    def _guarded(self, decoder: Decoder, work: Callable[[], None]) -> None:
        """Does the work; if it fails, every row goes on alone, so that only the one that fails is lost."""
        try:
            work()
            return
        except Exception:
            decoder.clear()
        for handle in list(self._active):
            if handle._row.finish_reason is not None:
                continue
            handle._row.forget()
            try:
                decoder.add([handle._row])
            except Exception as error:
                decoder.discard(handle._row)
                self._active.remove(handle)
                handle._finish(error)

    def _report(self, decoder: Decoder) -> None:
        for handle in list(self._active):
            row = handle._row
            if row.finish_reason is None:
                handle._notify()
                continue
            self._active.remove(handle)
            self.decoded_rows += 1
            handle._finish()
            # A row whose steering did not arrive is decoded again when it is asked for again.
            if row.finish_reason != "cancelled" and all(receipt.agrees for receipt in handle.receipts):
                self._keep(row)
