"""A cache under a budget of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


class Kept:
    """Values by key, each computed once even if several threads ask; the least recently used go above a limit.

    Args:
        limit: bytes that are kept. One value larger than it is kept alone, until the next one comes.
        own: the bytes of a value (or of a part of one) where that is known better than by looking; None where not.
    """

    def __init__(self, limit: int, own: Callable[[Any], int | None] = lambda _: None) -> None:
        self.limit, self.size, self._own = limit, 0, own
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        # Reentrant: making a value may ask for its own key again, and must not wait for itself.
        self._making: dict[Hashable, threading.RLock] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made now if it is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
            own = self._making.setdefault(key, threading.RLock())
        with own:
            with self._lock:
                if key in self._values:
                    return self._values[key][0]
            try:
                value = make()
                self._keep(key, value)
                return value
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def find(self, key: Hashable) -> Any | None:
        """The value of a key, or None if it is not kept."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def _keep(self, key: Hashable, value: Any) -> None:
        size = bytes_of(value, self._own)
        with self._lock:
            _, before = self._values.pop(key, (None, 0))
            self._values[key] = (value, size)
            self.size += size - before
            while self.size > self.limit and len(self._values) > 1:
                _, (_, gone) = self._values.popitem(last=False)
                self.size -= gone


def bytes_of(value: Any, own: Callable[[Any], int | None] = lambda _: None) -> int:
    """About how many bytes a value takes: arrays, texts, and what collections and dataclasses hold of them."""
    if (known := own(value)) is not None:
        return known
    if isinstance(size := getattr(value, "nbytes", None), int):  # tensors and arrays
        return size + 100
    if isinstance(value, str | bytes):
        return len(value) + 50
    if isinstance(value, Mapping):
        return sum(bytes_of(key, own) + bytes_of(one, own) for key, one in value.items()) + 100
    if isinstance(value, list | tuple):
        return sum(bytes_of(one, own) for one in value) + 60
    if is_dataclass(value) and not isinstance(value, type):
        return sum(bytes_of(getattr(value, field.name), own) for field in fields(value)) + 100
    return 40
