"""Progress of loading a model's weights: where transformers draws a bar, a function is called instead.

What the function raises ends the reading, so a model that loads can be cancelled between two tensors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils import logging

Tick = Callable[[int, int], None]  # tensors that are read, tensors in all; may raise to cancel

_here = threading.local()


class _ReportingBar:
    """A stand-in for transformers' progress bar that reports each item to a function."""

    def __init__(self, items: Any, tick: Tick) -> None:
        self._items, self._tick = items, tick

    def __iter__(self) -> Iterator[Any]:
        total = len(self._items)
        for done, item in enumerate(self._items):
            self._tick(done, total)
            yield item
        self._tick(total, total)


def _bar(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tick = getattr(_here, "tick", None)
    items = args[0] if args else kwargs.get("iterable")
    if tick is None or not hasattr(items, "__len__"):
        return factory(*args, **kwargs)
    return _ReportingBar(items, tick)


@contextmanager
def reported(tick: Tick | None) -> Iterator[None]:
    """Within a `with` block, report to `tick` the weights that this thread reads; other threads keep their bars."""
    if tick is None:
        yield
        return
    # The hook is transformers' own and global; it is set once and looks at the thread that reads.
    logging.set_tqdm_hook(_bar)
    _here.tick = tick
    try:
        yield
    finally:
        _here.tick = None
