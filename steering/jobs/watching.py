"""Progress of long readings: the code that reads texts says how far it is, and whoever waits for it watches.

A watcher belongs to the thread that reads, so two visitors' readings do not mix. Where nobody watches, nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watcher = Callable[[int, int], None]  # how many are done, how many in all; may raise to end the reading

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Calls `watcher` with the progress of what this thread reads within a `with` block."""
    before = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(before)


def progressed(done: int, total: int) -> None:
    """Reports progress to whoever watches; called by the code that reads, between two passes of a model."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(done, total)
