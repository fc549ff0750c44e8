"""Long work in the background: a `Job` to watch, cancel and take the result from, and the registry that runs jobs.

A job is a function that is given its own handle and calls `job.tick(done, total, note)` between steps; a cancelled job
stops at its next tick, at its next pass through a model, or while it waits for a completion, whichever comes first.
Jobs are threads; a page polls `job.state` to show progress.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["waiting", "running", "stopping", "done", "failed", "cancelled"]


class Cancelled(Exception):
    """Raised inside the work of a job that was cancelled."""


_CURRENT: ContextVar[Job | None] = ContextVar("job", default=None)


def current_job() -> Job | None:
    """The job whose work the calling thread is doing, or None: then a person waits for it."""
    return _CURRENT.get()


def check_stop() -> None:
    """Raise Cancelled if the calling thread does the work of a job that was cancelled."""
    job = _CURRENT.get()
    if job is not None:
        job.check()


@contextmanager
def for_a_visitor() -> Iterator[None]:
    """Within the block, what is asked of an engine counts as asked by somebody who waits for it, not by the job."""
    token = _CURRENT.set(None)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@dataclass(eq=False)
class Job:
    """A piece of work under way: how far it is, and its result or its error in the end.

    Attributes:
        owner: who started it, and alone may stop it; "" if it has no owner.
        state: "stopping" from the moment it is cancelled until its work has ended.
    """

    name: str
    owner: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    state: State = "waiting"
    done: int = 0
    total: int = 0
    note: str = ""
    value: Any = None
    error: Exception | None = None
    details: str = ""
    started: float | None = None
    ended: float | None = None
    partial: list[Any] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _over: threading.Event = field(default_factory=threading.Event, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def active(self) -> bool:
        """Whether the job still waits, runs, or is about to stop."""
        return self.state in ("waiting", "running", "stopping")

    @property
    def stopping(self) -> bool:
        """Whether the job was asked to stop but has not reached its next tick yet."""
        return self.active and self._stop.is_set()

    @property
    def fraction(self) -> float:
        """The share of the work that is done, from 0 to 1."""
        if self.state == "done":
            return 1.0
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def seconds(self) -> float:
        """Seconds that the job has run."""
        return 0.0 if self.started is None else (self.ended or time.monotonic()) - self.started

    def cancel(self) -> None:
        """Ask the job to stop: it is "stopping" at once, and cancelled within a step, or at once if it still waits."""
        with self._lock:
            self._stop.set()
            if self.state == "running":
                self.state = "stopping"
            elif self.state == "waiting":
                self.state, self.ended = "cancelled", time.monotonic()
                self._over.set()

    def may_stop(self, by: str) -> bool:
        """Whether `by` may stop the job: its owner, or anybody if it has none."""
        return self.owner in ("", by)

    def check(self) -> None:
        """Raise Cancelled if the job was cancelled."""
        if self._stop.is_set():
            raise Cancelled(self.name)

    def tick(self, done: int | None = None, total: int | None = None, note: str | None = None) -> None:
        """Report progress; the work calls this between its steps.

        Raises:
            Cancelled: the job was cancelled.
        """
        self.check()
        self.done = self.done if done is None else done
        self.total = self.total if total is None else total
        self.note = self.note if note is None else note

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the job and return its result.

        Raises:
            TimeoutError: not done in time.
            Cancelled: the job was cancelled.
            Exception: whatever the work raised.
        """
        if not self._over.wait(timeout):
            raise TimeoutError(f"The job {self.name!r} is not done after {timeout} seconds.")
        if self.error is not None:
            raise self.error
        if self.state == "cancelled":
            raise Cancelled(self.name)
        return self.value

    def run(self, work: Callable[[Job], Any]) -> None:
        """Do the work in the calling thread and keeps what comes of it."""
        with self._lock:
            if self._over.is_set():  # cancelled while it waited
                return
            self.state, self.started = "running", time.monotonic()
        token, state = _CURRENT.set(self), "done"
        try:
            self.value = work(self)
        except Cancelled:
            state = "cancelled"
        except Exception as error:  # kept, and raised again by `result`
            self.details, state = traceback.format_exc(), "failed"
            self.error = _without_frames(error)
        finally:
            _CURRENT.reset(token)
            with self._lock:
                self.ended, self.state = time.monotonic(), state
                self._over.set()


def _without_frames(error: Exception) -> Exception:
    """The error without its tracebacks, whose frames keep models and SAEs alive for as long as the job is kept."""
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error


class Jobs:
    """The jobs of a process: at most `workers` run at a time, the others wait in order of arrival."""

    def __init__(self, workers: int = 1, keep: int = 50) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="job")
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._keep = keep
        self._lock = threading.Lock()

    def start(self, name: str, work: Callable[[Job], Any], *, owner: str = "") -> Job:
        """Start `work` as soon as a worker is free and return its `Job`.

        A job of the same name and owner that is still under way is returned instead of being started twice.
        """
        with self._lock:
            for job in self._jobs.values():
                if job.active and (job.name, job.owner) == (name, owner):
                    return job
            job = Job(name, owner)
            self._jobs[job.id] = job
            finished = [other.id for other in self._jobs.values() if not other.active]
            for job_id in itertools.islice(finished, max(0, len(self._jobs) - self._keep)):
                del self._jobs[job_id]
            self._pool.submit(job.run, work)
        return job

    def cancel(self, job: Job, by: str = "") -> None:
        """Ask a job to stop, on behalf of `by`.

        Raises:
            ValueError: the job has another owner.
        """
        if not job.may_stop(by):
            raise ValueError(f"{job.name} was started by somebody else, and only they can stop it.")
        job.cancel()

    def get(self, job_id: str | None) -> Job | None:
        """The job of that id, or None."""
        return self._jobs.get(job_id or "")

    def all(self) -> list[Job]:
        """All remembered jobs, newest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def place(self, job: Job) -> int:
        """How many jobs are ahead of a waiting one."""
        with self._lock:
            before = list(self._jobs.values())
            return sum(other.active for other in before[: before.index(job)]) if job in before else 0

    def close(self) -> None:
        """Cancel all jobs and end the threads."""
        for job in self.all():
            job.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
