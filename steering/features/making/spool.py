"""Token windows on disk: appended in chunks, read back at random, cut back to what a checkpoint counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np


class Spool:
    """Two files of 32-bit numbers in a folder: the tokens of all windows, and the length of each window."""

    def __init__(self, folder: Path) -> None:
        self.tokens, self.lengths = folder / "tokens.u32", folder / "lengths.u32"
        self.tokens.touch()
        self.lengths.touch()

    def cut(self, n: int) -> None:
        """Cut the files to the first n windows, dropping what a kill left after the last checkpoint."""
        kept = np.fromfile(self.lengths, np.uint32)[:n]
        os.truncate(self.lengths, 4 * len(kept))
        os.truncate(self.tokens, 4 * int(kept.sum()))

    def append(self, rows: Sequence[Sequence[int]]) -> None:
        """Append windows."""
        with self.tokens.open("ab") as tokens, self.lengths.open("ab") as lengths:
            tokens.write(np.concatenate([np.array(row, np.uint32) for row in rows]).tobytes())
            lengths.write(np.array([len(row) for row in rows], np.uint32).tobytes())

    def sync(self) -> None:
        """Flush everything to the disk."""
        for file in (self.tokens, self.lengths):
            with file.open("ab") as handle:
                os.fsync(handle.fileno())

    def reader(self) -> Callable[[int], list[int]]:
        """A function that returns the tokens of a window, given its number."""
        ends = np.cumsum(np.fromfile(self.lengths, np.uint32), dtype=np.int64)
        if not len(ends):
            return lambda n: []
        tokens = np.memmap(self.tokens, np.uint32, "r")
        return lambda n: tokens[(ends[n - 1] if n else 0) : ends[n]].tolist()
