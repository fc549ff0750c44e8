"""Progress of long computations: code that reads texts reports it, and the caller may watch.

A watcher belongs to the thread that computes, so two visitors' progress does not mix. Without one, nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watcher = Callable[[int, int], None]  # how many are done, how many in all; may raise to end the reading

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Within a `with` block, call `watcher` with the progress that this thread reports."""
    before = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(before)


def progressed(done: int, total: int) -> None:
    """Report progress to this thread's watcher, if there is one; called between two passes of a model."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(done, total)
