"""The engine: one thread that decodes, a queue of requests, and a handle for each that streams its text.

Requests from any thread are decoded together in one batch, which they join at any step, a person's before a job's.
Finished rows are remembered (by model, prompt, recipe and sampling), so moving one slider decodes one row. An engine
to which no reference is left ends by itself and frees its model.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import queue
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..directions.direction import Direction
from ..interventions.protocol import Intervention, fingerprint
from ..jobs.jobs import check_stop, current_job
from ..models.model import Model, Prompt
from ..models.turns import JOB, STREAM
from ..showing.one_line import one_line, quoted
from ..sites import Site
from .completion import CacheCheck, Completion, Finished
from .decoding import Decoder
from .receipts import Receipt, check
from .requests import Request, Variant, recorded, variants_of
from .rows import Row
from .scoring import Scored, rows_of, score, tolerance

T = TypeVar("T")
# Seconds for which people's new prompts are read before the rows that are under way take their next step.
BEGINNING = 0.4
CLOSED = "This engine is closed; make a new one."
_open: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close every engine, because a daemon thread inside torch aborts the process when the interpreter exits."""
    for engine in list(_open):
        engine.close()


class Engine:
    """Decodes every request that is submitted, from any thread, in one batch.

    `close` it, or use it in a `with` block; its thread also ends when the last reference to it is dropped.

    Args:
        max_rows: rows decoded at once; further ones wait.
        remember: how many finished rows are kept.
    """

    def __init__(self, model: Model, *, max_rows: int = 64, remember: int = 512) -> None:
        self._model: Model | None = model
        self.max_rows = max_rows
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._waiting: list[Completion] = []
        self._active: list[Completion] = []
        self._decoder = Decoder(model, max_rows)
        self._memory: OrderedDict[str, Finished] = OrderedDict()
        self._asked: weakref.WeakKeyDictionary[Completion, Request] = weakref.WeakKeyDictionary()
        self._remember = remember
        self._lock = threading.Lock()
        self._closed = False
        self.decoded_rows = 0
        self._thread = threading.Thread(
            target=_serve, args=(weakref.ref(self), self._inbox), name=f"engine:{model.name}", daemon=True
        )
        weakref.finalize(self, self._inbox.put, None).atexit = False
        _open.add(self)
        self._thread.start()

    @property
    def model(self) -> Model:
        """The model that the engine runs; a closed engine no longer holds it."""
        model = self._model
        if model is None:
            raise ValueError(CLOSED)
        return model

    # From any thread ------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> Completion:
        """The handle of a request; bad requests raise a ValueError here, not in the thread."""
        return self.submit_all([request])[0]

    def submit_all(self, requests: Sequence[Request]) -> list[Completion]:
        """The handles of requests that start together in one batch, so that equal prompts are run once."""
        self._check_open()
        handles, in_job = [], current_job() is not None
        for request in requests:
            row = request.row(self.model)
            known = self._recall(row)
            handle = Completion(
                row if known is None else known, self.model, in_job=in_job, remembered=known is not None
            )
            handles.append(handle)
            with self._lock:
                self._asked[handle] = request
        fresh = [handle for handle in handles if not handle.done]
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
        given: Sequence[int] = (),
    ) -> list[Completion]:
        """Finished completions of one prompt under several variants, decoded as one batch; () is the baseline.

        Args:
            variants: sequences of interventions; an intervention by itself is a variant of one step.
            record: directions whose projections are wanted, or sites, for every direction that a variant uses there.
            samples: how often every variant is drawn, variants first; the samples have numbers from `sample` on.
            max_new_tokens, temperature, top_p, seed, stop, steer_bos, ignore_eos, top_alternatives, cached, given:
                see `Request`.
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
            given=given,
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
        """`score` for any number of (prompt, continuation, variant), in passes short enough to let others in between.

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
        self._check_open()
        rows = rows_of(self.model, items, steer_bos=steer_bos)
        logprobs = score(rows, self.max_rows, between=self._check_open)
        return [(values, row.receipts()) for values, row in zip(logprobs, rows, strict=True)]

    def check(self, completion: Completion, tolerated: float | None = None) -> CacheCheck:
        """A completion's log-probabilities against one pass over the same tokens without a cache.

        Args:
            tolerated: how far log-probabilities may be apart; by default what rounding in the model's dtype explains.

        Raises:
            ValueError: a completion of another engine, or one of an SAE that was unloaded.
        """
        with self._lock:
            request = self._asked.get(completion)
        if request is None:
            raise ValueError("This engine does not know that completion any more; generate it again to check it.")
        row = request.row(self.model)
        row.targets = tuple(completion.tokens)
        (uncached,) = score([row]) if row.targets else ([],)
        pairs = list(zip(uncached, completion.logprobs, strict=True))
        allowed = [tolerance(self.model.rounds_to, a) if tolerated is None else tolerated for a, _ in pairs]
        agrees = all(abs(a - b) <= most for (a, b), most in zip(pairs, allowed, strict=True))
        return CacheCheck(max((abs(a - b) for a, b in pairs), default=0.0), agrees, max(allowed, default=0.0))

    def forget(self) -> None:
        """Drop references to earlier requests, whose interventions keep SAEs alive; remembered rows stay."""
        with self._lock:
            self._asked.clear()

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` on the engine's thread between two steps and return its result."""
        if threading.current_thread() is self._thread:
            return work()
        answer: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        self._put((work, answer))
        good, value = self._answer(answer)
        if not good:
            raise value
        return value

    @staticmethod
    def _answer(answer: queue.SimpleQueue[T]) -> T:
        while True:  # so that a cancelled job stops waiting
            with contextlib.suppress(queue.Empty):
                return answer.get(timeout=None if current_job() is None else 0.1)
            check_stop()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(CLOSED)

    def _put(self, item: Any) -> None:
        """Queue an item. Under the lock: an item queued after the one that ends the thread would never be served."""
        with self._lock:
            self._check_open()
            # The item holds the engine, so that it lives until the item is done.
            self._inbox.put((self, item))

    @property
    def busy(self) -> tuple[int, int]:
        """Rows that are being decoded, and rows that wait."""
        return len(self._active), len(self._waiting)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End the thread; requests that are not finished are cancelled."""
        with self._lock:
            self._closed = True
            self._inbox.put(None)
        _open.discard(self)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=30)

    def __repr__(self) -> str:
        active, waiting = self.busy
        state = "closed" if self._closed else f"{active} decoding, {waiting} waiting"
        return one_line(
            self, quoted(self._thread.name.removeprefix("engine:"), 80), state, f"{self.decoded_rows} decoded"
        )

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Memory ---------------------------------------------------------------------------------------------------------

    def _key(self, row: Row) -> str:
        parts = (self.model.fingerprint, row.prompt, row.interventions, row.sampling, row.max_new_tokens, row.stop)
        return fingerprint(
            [*parts, row.record, row.steer_bos, row.ignore_eos, row.top_alternatives, row.cached, row.given]
        )

    def _recall(self, row: Row) -> Finished | None:
        with self._lock:
            key = self._key(row)
            if key in self._memory:
                self._memory.move_to_end(key)
            return self._memory.get(key)

    def _keep(self, row: Row, left: Finished) -> None:
        with self._lock:
            self._memory[self._key(row)] = left
            while len(self._memory) > self._remember:
                self._memory.popitem(last=False)

    # The thread -----------------------------------------------------------------------------------------------------

    def _serve(self, item: Any) -> bool:
        """Serve an item and all that arrive meanwhile, until none is left; return False if the engine is to end."""
        self._take(item)
        stepped = time.monotonic()
        while self._receive():
            self._drop_cancelled()
            self._admit()
            if self._people_wait() and time.monotonic() - stepped < BEGINNING:
                continue  # whoever waits sees a first word before the others see their next one
            stepped = time.monotonic()
            if self._active:
                self._guarded(self._active, self._decoder.step)
                self._report()
            if not self._active and not self._waiting:
                return True
        self._end()
        return False

    def _people_wait(self) -> bool:
        """Whether a person's row waits for which there is room; a job's waits for the next step."""
        room = self.max_rows - sum(not handle.in_job for handle in self._active)
        return room > 0 and any(not handle.in_job for handle in self._waiting)

    def _end(self) -> None:
        for handle in [*self._active, *self._waiting]:
            handle._row.finish_reason = "cancelled"  # type: ignore[misc]
            handle._finish()
        self._active, self._waiting = [], []
        del self._decoder
        self._model = None
        with self._lock:
            self._memory.clear()
            self._asked.clear()

    def _receive(self) -> bool:
        """Take the items that have arrived; return False if the engine is to end."""
        with contextlib.suppress(queue.Empty):
            while True:
                message = self._inbox.get(block=False)
                if message is None:
                    return False
                self._take(message[1])
        return True

    def _take(self, item: Any) -> None:
        if isinstance(item, list):
            self._waiting += item
            return
        work, answer = item
        try:
            answer.put((True, work()))
        except Exception as error:  # raised again in the caller's thread
            answer.put((False, error))

    def _drop_cancelled(self) -> None:
        for handle in [handle for handle in self._waiting if handle._cancelled]:
            self._waiting.remove(handle)
            handle._row.finish_reason = "cancelled"  # type: ignore[misc]
            handle._finish()
        cancelled = [handle._row for handle in self._active if handle._cancelled]
        if cancelled:
            self._decoder.drop(cancelled)  # type: ignore[arg-type]
            self._report()

    def _admit(self) -> None:
        """Admit waiting rows to the batch: a person's before a job's, rows of one prompt together, up to one pass."""
        for in_job in (False, True):
            asked = [handle for handle in self._waiting if handle.in_job is in_job]
            room = self.max_rows - sum(in_job or not handle.in_job for handle in self._active)
            new: list[Completion] = []
            tokens = 0
            for prompt, group in itertools.groupby(asked, key=lambda handle: handle._row.prompt):
                some = list(group)[: max(0, room - len(new))]
                tokens += self._decoder.unread(prompt) * len(some)
                if new and tokens > self.model.piece_tokens:
                    break
                new += some
            if new:
                self._waiting = [handle for handle in self._waiting if handle not in new]
                self._active += new
                self._guarded(new, lambda new=new: self._decoder.add([handle._row for handle in new]))  # type: ignore[misc]
                self._report()
                return

    def _guarded(self, whose: Sequence[Completion], work: Callable[[], None]) -> None:
        """Do the work in a turn; if it fails, repeat it row by row, so that only the row with the error is lost."""
        with self.model.lock.taken(JOB if all(handle.in_job for handle in whose) else STREAM):
            try:
                work()
                return
            except Exception:
                self._decoder.clear()
            for handle in list(self._active):
                row = handle._row
                if row.finish_reason is not None or not isinstance(row, Row):
                    continue
                row.forget()
                try:
                    self._decoder.add([row])
                except Exception as error:
                    self._decoder.discard(row)
                    self._active.remove(handle)
                    handle._finish(error)

    def _report(self) -> None:
        for handle in list(self._active):
            row = handle._row
            if row.finish_reason is None or not isinstance(row, Row):
                handle._notify()
                continue
            self._active.remove(handle)
            self.decoded_rows += 1
            left = handle._finish()
            # A row whose steering did not arrive in the model is not remembered.
            if row.finish_reason != "cancelled" and all(receipt.agrees for receipt in left.receipts):
                self._keep(row, left)


def _serve(engine: weakref.ref[Engine], inbox: queue.SimpleQueue[Any]) -> None:
    """The engine's thread. While it waits it holds no reference to the engine, so a dropped engine is collected."""
    while True:
        message = inbox.get()
        if message is None:
            alive = engine()
            if alive is not None:
                alive._end()
            return
        if not message[0]._serve(message[1]):
            return
        del message
