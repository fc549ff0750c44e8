"""The machine: what it is, how fast it reads memory, and how busy it is made."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def processor() -> str:
    """The processor's name, if the system reports it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def load() -> str:
    """How many processes wanted to run in the last minute, on average."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def read_bandwidth(megabytes: int = 512, repeats: int = 7) -> float:
    """Bytes a second at which memory is read: the sum of a tensor far larger than any cache."""
    big = torch.ones(megabytes * 2**20 // 4)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        big.sum()
        seconds.append(time.perf_counter() - start)
    return big.numel() * 4 / statistics.median(seconds)


@contextmanager
def busy_process() -> Iterator[None]:
    """One other process that keeps a core busy for the length of a `with` block."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        yield
    finally:
        other.kill()
        other.wait()
