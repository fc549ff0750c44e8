"""The two passes over token windows that an index takes, each with its checkpoint in a folder of its own.

Pass one counts (tally.py) and keeps, per feature, where its examples stand. Pass two reads those windows again for the
activations around each example. Windows are spooled to disk in between, so memory does not grow with the texts.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ...models.model import Model
from ...saes.neurons import Neurons, neurons_before
from ...saes.sae import Sae
from .spool import Spool
from .tally import Tally
from .windows import Reading, by_length, prefix_hashes, read, starts_with_bos, windows

FORMAT = 1
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class IndexSettings:
    """How an index is built; a checkpoint of other settings is not continued."""

    context: int = 128  # tokens a window holds at most, BOS included
    examples: int = 6  # strongest examples per feature, and contexts per neuron
    per_band: int = 2  # examples in each quarter of the activations below
    sample: int = 64  # places drawn uniformly from all where a feature fires: the quarters come from them
    before: int = 14  # tokens of an example before its peak
    after: int = 7  # and after it
    neighbors: int = 10  # nearest features kept, by decoder cosine and by co-activation
    promoted: int = 10  # promoted and suppressed tokens kept
    aligned: int = 5  # neurons kept per feature

    @property
    def width(self) -> int:
        """Tokens of an example."""
        return self.before + 1 + self.after


@dataclass(frozen=True)
class Places:
    """Examples, in the order of their owner (a feature or a neuron), band and strength: where each peak stands."""

    owner: np.ndarray
    band: np.ndarray
    value: np.ndarray
    window: np.ndarray
    pos: np.ndarray

    def __len__(self) -> int:
        return len(self.owner)


class Counted:
    """Texts passed through, and how many were taken so far."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts, self.done = texts, 0

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            self.done += 1
            yield text


class Passes:
    """Both passes of one SAE's index, with their checkpoints in a folder."""

    def __init__(self, lm: Model, sae: Sae, settings: IndexSettings, folder: Path, save_every: float) -> None:
        self.lm, self.sae, self.settings, self.folder, self.save_every = lm, sae, settings, folder, save_every
        self.neurons: Neurons | None = neurons_before(lm, sae.site)
        self.bos = starts_with_bos(lm, sae)
        self.spool = Spool(folder)
        about = [lm.fingerprint, sae.fingerprint, str(sae.site), FORMAT, self.bos, asdict(settings)]
        self.key = hashlib.sha256(json.dumps(about).encode()).hexdigest()
        # About 64 MiB of activations at a time.
        self.budget = max(settings.context, min(2048, lm.piece_tokens, (1 << 24) // (sae.d_sae + self.d_mlp)))

    @property
    def d_mlp(self) -> int:
        return len(self.neurons) if self.neurons else 0

    def _read(self, rows: list[list[int]]) -> Reading:
        return read(self.lm, self.sae, rows, self.bos, self.neurons)

    # Pass one -------------------------------------------------------------------------------------------------------

    def collect(self, texts: Counted, tick: Callable[[], None]) -> Tally:
        """The counts over all texts (pass one).

        Raises:
            ValueError: an unfinished pass in the folder was begun with other texts.
        """
        tally = Tally.empty(self.sae.d_sae, self.d_mlp, self.settings.examples, self.settings.sample)
        done, saved = self._resume(tally), time.monotonic()
        stream = windows(self.lm, texts, self.settings.context, self.bos)
        self._pass_over(stream, done)
        while chunk := list(islice(stream, 64)):
            for batch in by_length(chunk, self.budget):
                tick()
                self._count(tally, [chunk[n] for n in batch], done + np.array(batch))
            self.spool.append(chunk)
            done += len(chunk)
            if time.monotonic() - saved >= self.save_every:
                self._save(tally, done)
                saved = time.monotonic()
        self._save(tally, done)
        return tally

    def _count(self, tally: Tally, rows: list[list[int]], numbers: np.ndarray) -> None:
        reading, hashes = self._read(rows), [prefix_hashes(row) for row in rows]
        prefix = np.array([hashes[r][p] for r, p in zip(reading.row, reading.pos, strict=True)], dtype=np.uint64)
        whole = np.array([h[-1] for h in hashes], dtype=np.uint64)[reading.row]
        tally.add(reading.features, numbers[reading.row], reading.pos, {"tie": prefix, "whole": whole})
        if reading.neurons is not None:
            tally.add_neurons(reading.neurons, numbers, hashes)

    def _save(self, tally: Tally, done: int) -> None:
        """Write the checkpoint atomically, after flushing the windows that it counts to the disk."""
        self.spool.sync()
        save_file(tally.state(), self.folder / "new", {"key": self.key, "windows": str(done)})
        (self.folder / "new").replace(self.folder / "tally.safetensors")

    def _resume(self, tally: Tally) -> int:
        """Load the checkpoint if there is one with these settings; return how many windows it has counted."""
        file, done = self.folder / "tally.safetensors", 0
        if file.is_file():
            with safe_open(file, "numpy") as opened:
                about = opened.metadata() or {}
            if about.get("key") == self.key:
                tally.load(load_file(file))
                done = int(about["windows"])
        self.spool.cut(done)
        return done

    def _pass_over(self, stream: Iterator[list[int]], done: int) -> None:
        """Skip the windows already counted; raise ValueError if they are not the same as then."""
        window = self.spool.reader()
        same = sum(window(number) == row for number, row in enumerate(islice(stream, done)))
        if same < done:
            raise ValueError(
                f"The unfinished index in {str(self.folder.parent)!r} was begun with other texts. Give the same texts "
                "to continue it, or restart it."
            )

    # Pass two -------------------------------------------------------------------------------------------------------

    def spans(
        self, examples: Places, contexts: Places | None, tick: Callable[[float], None]
    ) -> tuple[Float[np.ndarray, "examples width"], Float[np.ndarray, "contexts width"] | None]:
        """Activations around each example: of the feature, and of the neuron; column `before` is the peak.

        Kept in files, so that a kill loses little and wide dictionaries take no memory.
        """
        kinds = [("features", examples), *([("neurons", contexts)] if contexts is not None else [])]
        out = {name: self._matrix(name, len(places)) for name, places in kinds}
        wanted = {name: _by_window(places) for name, places in kinds}
        numbers = np.unique(np.concatenate([places.window for _, places in kinds]))
        marker, window, saved = self.folder / "spans.json", self.spool.reader(), time.monotonic()
        done = json.loads(marker.read_text())["done"] if marker.is_file() else 0
        for first in range(done, len(numbers), 64):
            chunk = numbers[first : first + 64]
            rows = [window(int(number)) for number in chunk]
            for batch in by_length(rows, self.budget):
                tick(first / len(numbers))
                self._fill(out, wanted, kinds, [rows[n] for n in batch], chunk[batch])
            if time.monotonic() - saved >= self.save_every:
                for matrix in out.values():
                    matrix.flush()
                (self.folder / "new").write_text(json.dumps({"done": first + len(chunk)}))
                (self.folder / "new").replace(marker)
                saved = time.monotonic()
        return out["features"], out.get("neurons")

    def _matrix(self, name: str, n: int) -> np.memmap:
        file, shape = self.folder / f"{name}.f32", (max(n, 1), self.settings.width)
        size = 4 * shape[0] * shape[1]
        if not file.is_file() or file.stat().st_size != size:
            file.write_bytes(b"")
            os.truncate(file, size)
            (self.folder / "spans.json").unlink(missing_ok=True)
        return np.memmap(file, np.float32, "r+", shape=shape)

    def _fill(self, out: dict, wanted: dict, kinds: list, rows: list[list[int]], numbers: np.ndarray) -> None:
        """Write the activations of one batch of windows into the rows of their examples."""
        reading = self._read(rows)
        first = np.searchsorted(reading.row, np.arange(len(rows)))
        start = int(self.bos)
        features = reading.features.numpy()
        for name, places in kinds:
            for row, number in enumerate(numbers):
                length = len(rows[row])
                for item in wanted[name].get(int(number), ()):
                    low, high, column = window_of(int(places.pos[item]), length, self.settings)
                    if name == "features":
                        low = max(low, start)  # BOS is not counted and stands in no row of `features`
                        found = features[first[row] + low - start : first[row] + high - start, places.owner[item]]
                    else:
                        assert reading.neurons is not None
                        shift = reading.neurons.shape[1] - length
                        found = reading.neurons[row, shift + low : shift + high, places.owner[item]].numpy()
                    at = column + low - max(0, int(places.pos[item]) - self.settings.before)
                    out[name][item, at : at + len(found)] = found


def window_of(pos: int, length: int, settings: IndexSettings) -> tuple[int, int, int]:
    """Where an example starts and ends in its window of `length` tokens, and the column its first token has."""
    low, high = max(0, pos - settings.before), min(length, pos + settings.after + 1)
    return low, high, settings.before - (pos - low)


def _by_window(places: Places) -> dict[int, np.ndarray]:
    """The indices of the examples in each window."""
    order = np.argsort(places.window, kind="stable")
    numbers, first = np.unique(places.window[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, first[1:]), strict=True))
