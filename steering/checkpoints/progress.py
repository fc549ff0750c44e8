"""Progress of reading a model's weights: transformers draws a bar while it reads them; here it is told by a function.

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


class _Told:
    """What transformers takes for its bar: the items of a sequence, each told before it is handed out."""

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
    return _Told(items, tick)


@contextmanager
def told(tick: Tick | None) -> Iterator[None]:
    """Tells `tick` of the weights that this thread reads within a `with` block; others keep their bars."""
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
