"""Clocks: interleaved repeats, so that whatever else the machine does falls on all contestants alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Timing:
    """Wall and process CPU seconds of one contestant, a number a repeat, and what its last run returned."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    result: Any = None

    @property
    def seconds(self) -> float:
        return statistics.median(self.wall)

    @property
    def cpu_seconds(self) -> float:
        return statistics.median(self.cpu)

    def over(self, other: Timing) -> float:
        """How many times longer than another contestant: the median over rounds of the ratio within the round."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.wall, other.wall, strict=True))


def interleaved(contestants: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, Timing]:
    """Timings of the contestants, each run once a round, in an order that turns from round to round."""
    timings = {name: Timing() for name in contestants}
    names = list(contestants)
    for repeat in range(repeats):
        for name in names if repeat % 2 == 0 else names[::-1]:
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            timings[name].result = contestants[name]()
            timings[name].wall.append(time.perf_counter() - wall)
            timings[name].cpu.append(time.process_time() - cpu)
    return timings
