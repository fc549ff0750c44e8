"""A lock for a model's passes that goes to the most urgent waiting thread, and never to jobs twice in a row.

Only one pass runs at a time, because hooks are state on the modules. Long work is done in many short passes, between
which a more urgent thread gets a turn. While a visitor watches text being generated, jobs get at most half of the time.
"""

from __future__ import annotations

import itertools
import threading
import time
from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager

from ..jobs.jobs import check_stop, current_job

# Text that a visitor watches, anything else that a visitor waits for, and background jobs.
STREAM, VISITOR, JOB = 0, 1, 2
_WATCHED = 0.5  # seconds after its last step for which a stream is taken to go on
_LOOK = 0.1  # seconds between two checks whether a waiting job was cancelled


def piece_tokens(n_parameters: int, *, on_cpu: bool) -> int:
    """How many tokens one pass over several sequences may hold: usually some tenths of a second of work.

    It depends on the model's size and the kind of device, not on timing: batches must be the same each time, or scores
    and directions would not be reproducible to the last bit.
    """
    operations = 5e9 if on_cpu else 1e13
    return int(min(4096, max(128, operations / (2 * n_parameters))))


class Turns:
    """A reentrant lock that goes to the most urgent waiting thread.

    A thread inside a job has a job's urgency; once its job was cancelled, it gets `Cancelled` instead of the lock, so
    that its work stops at the next pass.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._queue: list[tuple[int, int]] = []
        self._numbers = itertools.count()
        self._owner: int | None = None
        self._depth = 0
        self._urgency = VISITOR
        self._since = 0.0
        self._streamed = -1e9  # when a stream had its last turn
        self._jobs_from = 0.0  # before that no job has another one while a stream goes on

    def acquire(self, blocking: bool = True, urgency: int | None = None) -> bool:
        """Take the lock, waiting for it if `blocking`; return whether it was taken.

        Raises:
            Cancelled: asked inside a job that was cancelled.
        """
        me = threading.get_ident()
        with self._changed:
            if self._owner == me:
                self._depth += 1
                return True
            if urgency is None:
                urgency = VISITOR if current_job() is None else JOB
            if not blocking and (self._owner is not None or self._queue):
                return False
            if blocking:
                check_stop()
            if self._owner is not None or self._queue or urgency == JOB:
                self._wait(urgency)
            self._owner, self._depth, self._urgency, self._since = me, 1, urgency, time.monotonic()
        return True

    def _wait(self, urgency: int) -> None:
        ticket = (urgency, next(self._numbers))
        insort(self._queue, ticket)
        try:
            while self._owner is not None or self._queue[0] != ticket or self._held_back(urgency):
                self._changed.wait(self._pause(urgency))
                check_stop()
        finally:
            self._queue.remove(ticket)
            self._changed.notify_all()

    def _pause(self, urgency: int) -> float | None:
        """How long to wait before checking again; None if only a release can change anything."""
        if urgency != JOB:
            return None
        return min(_LOOK, max(0.001, self._jobs_from - time.monotonic())) if self._owner is None else _LOOK

    def _held_back(self, urgency: int) -> bool:
        now = time.monotonic()
        return urgency == JOB and now < self._jobs_from and now - self._streamed < _WATCHED

    def release(self) -> None:
        """Release the lock."""
        with self._changed:
            self._depth -= 1
            if self._depth:
                return
            now = time.monotonic()
            if self._urgency == STREAM:
                self._streamed = now
            elif self._urgency == JOB:
                self._jobs_from = now + (now - self._since)
            self._owner = None
            if self._queue:
                self._changed.notify_all()

    @contextmanager
    def taken(self, urgency: int) -> Iterator[None]:
        """Hold the lock with that urgency for the length of a `with` block."""
        self.acquire(urgency=urgency)
        try:
            yield
        finally:
            self.release()

    def __enter__(self) -> Turns:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
