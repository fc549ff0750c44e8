"""Caches hold a stated number of bytes, whatever they keep."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import torch

from steering.jobs.kept import Kept, bytes_of


@dataclass(frozen=True)
class Pair:
    left: np.ndarray
    texts: tuple[str, ...]


def test_the_least_recently_used_goes_above_the_limit() -> None:
    kept = Kept(10_000)
    for name in "abcdefgh":
        kept.get(name, lambda: np.zeros(250))  # 2,000 bytes and a little
        kept.get("a", list)
    assert kept.size <= 10_000
    assert kept.find("a") is not None and kept.find("b") is None and kept.find("h") is not None


def test_sizes_are_those_of_arrays_and_texts_wherever_they_are() -> None:
    array = np.zeros(1000, dtype=np.float32)
    assert bytes_of(array) >= 4000 and bytes_of(torch.zeros(1000)) >= 4000
    assert bytes_of([{"key": Pair(array, ("x" * 500,))}]) >= 4500
    assert bytes_of(Pair(array, ()), lambda one: 7 if isinstance(one, Pair) else None) == 7


def test_a_value_whose_making_asks_for_its_own_key_is_made_and_counted_once() -> None:
    kept = Kept(1000)
    assert kept.get("a", lambda: kept.get("a", lambda: "x" * 50)) == "x" * 50
    assert kept.size == 100


def test_what_is_kept_is_bounded_and_made_once() -> None:
    kept, made = Kept(1000), []
    for number in range(10):
        kept.get(number, lambda number=number: made.append(number) or torch.zeros(50))
    assert kept.size <= 1000 and len(kept._values) == 3
    began, threads = threading.Barrier(4), []

    def ask() -> None:
        began.wait()
        kept.get("x", lambda: made.append("x"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert made.count("x") == 1 and not kept._making
