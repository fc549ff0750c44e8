"""The engine: one thread that owns a model, a queue of requests, and handles that stream what becomes of them.

Requests from any thread are decoded together in one batch; they join it while others are under way. A row that was
decoded before (same model, prompt, recipe, sampling) is remembered, so moving one slider decodes one row.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..directions.direction import Direction
from ..interventions.protocol import Intervention, fingerprint
from ..models.model import Model, Prompt
from ..models.passages import in_context
from ..showing.one_line import one_line, quoted
from ..sites import Site
from .completion import CacheCheck, Completion
from .decoding import Decoder, score
from .receipts import Receipt, check
from .requests import Request, Variant, recorded, variants_of
from .rows import Row

T = TypeVar("T")
Scored = tuple[Prompt, str | Sequence[int], Variant]  # what a score is asked of


class Engine:
    """Owns a model: decodes every request that is submitted, from any thread, in one batch.

    `close` it, or use it in a `with` block; one that is dropped ends its thread by itself.

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
        self._decoder = Decoder(model, max_rows)
        self._thread = threading.Thread(target=_serve, args=(self._inbox,), name=f"engine:{model.name}", daemon=True)
        self._thread.start()
        # Once nobody holds the engine, or at exit: a daemon thread that is inside torch when the interpreter goes
        # aborts the process.
        self._end = weakref.finalize(self, _end, self._inbox, self._thread)

    # From any thread ------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> Completion:
        """The handle of a request; bad requests raise a ValueError here, not in the thread."""
        return self.submit_all([request])[0]

    def submit_all(self, requests: Sequence[Request]) -> list[Completion]:
        """The handles of requests that belong together: they start in one batch and share what they have in common."""
        if self._closed:
            raise ValueError("This engine is closed; make a new one.")
        handles = [Completion(request, request.row(self.model)) for request in requests]
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
        variants: Sequence[Variant | Intervention] | Intervention = ((),),
        *,
        record: Sequence[Site | Direction] = (),
        samples: int = 1,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        sample: int = 0,
        stop: Sequence[str] = (),
        steer_bos: bool = False,
        ignore_eos: bool = False,
        top_alternatives: int = 5,
        cached: bool = True,
    ) -> list[Completion]:
        """Finished completions of one prompt under several variants, decoded as one batch; () is the baseline.

        Args:
            variants: sequences of interventions; an intervention by itself is a variant of one step.
            record: directions whose projections are wanted, or sites, for every direction that a variant uses there.
            samples: how often every variant is drawn, variants first; the samples have numbers from `sample` on.
            max_new_tokens, temperature, top_p, seed, stop, steer_bos, ignore_eos, top_alternatives, cached: see
                `Request`.
        """
        variants = variants_of(variants)
        found = recorded(self.model, record, variants)
        base = Request(
            prompt,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            sample=sample,
            stop=stop,
            record=found,
            steer_bos=steer_bos,
            ignore_eos=ignore_eos,
            top_alternatives=top_alternatives,
            cached=cached,
        )
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
        variants: Sequence[Variant | Intervention] | Intervention = ((),),
        *,
        steer_bos: bool = False,
    ) -> list[list[float]]:
        """Log-probabilities of a continuation's tokens under each variant, by teacher forcing, in one pass."""
        return self.score_all(
            [(prompt, continuation, variant) for variant in variants_of(variants)], steer_bos=steer_bos
        )

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
        """Queue an item, under the lock: nobody would ever answer one that came after the mark to end the thread."""
        with self._lock:
            if self._closed:
                raise ValueError("This engine is closed; make a new one.")
            self._inbox.put((self, item))  # with the engine: it lives as long as there is work for it

    @property
    def busy(self) -> tuple[int, int]:
        """Rows that are being decoded, and rows that wait."""
        return len(self._active), len(self._waiting)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Ends the thread; what is under way is cancelled."""
        with self._lock:
            self._closed = True
        self._end()

    def __repr__(self) -> str:
        active, waiting = self.busy
        state = "closed" if self._closed else f"{active} decoding, {waiting} waiting"
        return one_line(self, quoted(self.model.name, 80), state, f"{self.decoded_rows} decoded")

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

    def _work(self, item: Any) -> bool:
        """Take an item and decode until nothing is under way; False once the engine is closed."""
        self._take(item)
        while self._receive():
            self._drop_cancelled()
            self._admit()
            if self._active:
                self._guarded(self._decoder.step)
                self._report()
            elif not self._waiting:
                return True
        for handle in [*self._active, *self._waiting]:
            handle._row.finish_reason = "cancelled"
            handle._finish()
        return False

    def _receive(self) -> bool:
        """Take what has arrived; False when the engine is to end."""
        with contextlib.suppress(queue.Empty):
            while True:
                arrived = self._inbox.get_nowait()
                if arrived is None:
                    return False
                self._take(arrived[1])
        return True

    def _take(self, item: Any) -> None:
        """Put requests into the line; do a piece of work at once."""
        if isinstance(item, list):
            self._waiting += item
            return
        work, answer = item
        try:
            answer.put((True, work()))
        except Exception as error:  # belongs to the caller, in whose thread it is raised
            answer.put((False, error))

    def _drop_cancelled(self) -> None:
        for handle in [handle for handle in self._waiting if handle._cancelled]:
            self._waiting.remove(handle)
            handle._row.finish_reason = "cancelled"
            handle._finish()
        cancelled = [handle for handle in self._active if handle._cancelled]
        if cancelled:
            self._decoder.drop([handle._row for handle in cancelled])
            self._report()

    def _admit(self) -> None:
        room = self.max_rows - len(self._active)
        new, self._waiting = self._waiting[:room], self._waiting[room:]
        if new:
            self._active += new
            self._guarded(lambda: self._decoder.add([handle._row for handle in new]))
            self._report()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Does the work; if it fails, every row goes on alone, so that only the one that fails is lost."""
        try:
            work()
            return
        except Exception:
            self._decoder.clear()
        for handle in list(self._active):
            if handle._row.finish_reason is not None:
                continue
            handle._row.forget()
            try:
                self._decoder.add([handle._row])
            except Exception as error:
                self._decoder.discard(handle._row)
                self._active.remove(handle)
                handle._finish(error)

    def _report(self) -> None:
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


def _serve(inbox: queue.SimpleQueue[Any]) -> None:
    """The thread of an engine. While it waits it holds the queue only, so an engine that nobody uses is collected."""
    while (arrived := inbox.get()) is not None:
        engine, item = arrived
        if not engine._work(item):
            return
        del engine, item, arrived


def _end(inbox: queue.SimpleQueue[Any], thread: threading.Thread) -> None:
    inbox.put(None)
    if threading.current_thread() is not thread:
        thread.join(timeout=30)
