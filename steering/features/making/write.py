"""Write a finished index: arrays in one safetensors file, texts and examples in one SQLite file with full-text search.

The two are replaced one after the other, so each carries the same stamp and a half-replaced pair is noticed.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch.nn.functional import normalize

from ...models.lens import promoted_tokens
from .neurons import alignment
from .passes import Passes, Places, window_of
from .tally import Table, Tally

ARRAYS, BASE = "features.safetensors", "features.sqlite"
_CHUNK = 1024
Spans = tuple[np.ndarray, np.ndarray | None]

_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE features (id INTEGER PRIMARY KEY, promoted TEXT, context TEXT, examples BLOB);
CREATE TABLE neurons (id INTEGER PRIMARY KEY, examples BLOB);
CREATE TABLE dictionary (bytes BLOB);
CREATE TABLE vocab (id INTEGER PRIMARY KEY, text TEXT);
CREATE VIRTUAL TABLE words USING fts5(promoted, contexts, content='', detail=column);
"""


def write(
    passes: Passes,
    tally: Tally,
    about: dict[str, Any],
    places: tuple[Places, Places | None],
    spans: Spans,
    tick: Callable[[float], None],
) -> None:
    """Write both files of the index into the folder of the passes."""
    arrays = {
        "density": (tally.count / tally.tokens).astype(np.float32),
        "mean": (tally.total / np.maximum(tally.count, 1)).astype(np.float32),
        "maximum": tally.maximum,
        "quarters": _quarters(tally),
        **_histogram(tally),
        **_from_weights(passes, lambda share: tick(share / 2)),
        **_coactive(tally, passes.settings.neighbors),
    }
    stamp = hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()[:16]
    (passes.folder / ARRAYS).write_bytes(save(arrays, {"stamp": stamp}))
    _write_base(passes, {**about, "stamp": stamp}, arrays, places, spans, lambda share: tick((1 + share) / 2))


# Arrays -------------------------------------------------------------------------------------------------------------


def _quarters(tally: Tally) -> np.ndarray:
    """Activations at 0, 25, 50, 75 and 100% of the places where each feature fires, [d_sae 5]; NaN for a dead one."""
    values = np.where(tally.sample.filled, tally.sample.table["value"], np.nan)
    some = tally.sample.filled.any(1)
    out = np.full((len(values), 5), np.nan, np.float32)
    out[some] = np.nanquantile(values[some], [0, 0.25, 0.5, 0.75, 1], axis=1).T
    out[some, 4] = tally.maximum[some]
    return out


def _histogram(tally: Tally) -> Table:
    """The counts without the bins that no feature reaches, and the number of the first bin kept."""
    used = np.flatnonzero(tally.histogram.any(0))
    first, last = (int(used[0]), int(used[-1])) if len(used) else (0, 0)
    return {"histogram": tally.histogram[:, first : last + 1].copy(), "first_bin": np.array([first], np.int64)}


def _from_weights(passes: Passes, tick: Callable[[float], None]) -> Table:
    """What the decoder rows promote and suppress, resemble, and which neurons they lie along."""
    settings, rows = passes.settings, passes.sae.written
    unit = normalize(rows, dim=-1)
    k = min(settings.neighbors, len(rows) - 1)
    found: dict[str, list[np.ndarray]] = {}

    def keep(name: str, values: torch.Tensor, ids: torch.Tensor) -> None:
        found.setdefault(f"{name}_ids", []).append(ids.cpu().numpy())
        found.setdefault(f"{name}_values", []).append(values.float().cpu().numpy())

    for first in range(0, len(rows), _CHUNK):
        tick(first / len(rows))
        chunk = rows[first : first + _CHUNK]
        for name, suppressed in (("promoted", False), ("suppressed", True)):
            ids, values = promoted_tokens(passes.lm, chunk, settings.promoted, suppressed=suppressed)
            keep(name, values, ids)
        cosines = unit[first : first + _CHUNK] @ unit.T
        cosines[torch.arange(len(chunk)), torch.arange(first, first + len(chunk))] = -2
        keep("cosine", *cosines.topk(k, dim=-1))
        if passes.neurons is not None:
            aligned = alignment(chunk, passes.neurons)
            ids = aligned.abs().topk(min(settings.aligned, passes.d_mlp), dim=-1).indices
            keep("neuron", aligned.gather(-1, ids), ids)
    return {
        name: _small(np.concatenate(parts)) if name.endswith("_ids") else np.concatenate(parts).astype(np.float16)
        for name, parts in found.items()
    }


def _coactive(tally: Tally, k: int) -> Table:
    """The features that fire on the same tokens: n_ij / sqrt(n_i n_j), the cosine of the two on-off patterns."""
    d_sae = len(tally.count)
    ids, values = np.full((d_sae, k), -1, np.int32), np.zeros((d_sae, k), np.float16)
    together = tally.pairs.tocsr()
    length = np.sqrt(np.maximum(together.diagonal(), 1))
    for feature in range(d_sae):
        start, end = together.indptr[feature : feature + 2]
        others = together.indices[start:end]
        cosine = together.data[start:end] / (length[feature] * length[others])
        cosine[others == feature] = 0
        order = np.lexsort((others, -cosine))[:k]
        order = order[cosine[order] > 0]
        ids[feature, : len(order)], values[feature, : len(order)] = others[order], cosine[order]
    return {"coactive_ids": _small(ids), "coactive_values": values}


def _small(ids: np.ndarray) -> np.ndarray:
    """The ids as 16-bit integers if they fit, else as 32-bit ones."""
    return ids.astype(np.int16 if ids.max(initial=0) < 2**15 else np.int32)


# Texts --------------------------------------------------------------------------------------------------------------


def _write_base(
    passes: Passes,
    about: dict[str, Any],
    arrays: Table,
    places: tuple[Places, Places | None],
    spans: Spans,
    tick: Callable[[float], None],
) -> None:
    file = passes.folder / BASE
    file.unlink(missing_ok=True)
    vocab = _Vocab(passes)
    with closing(sqlite3.connect(file)) as base, base:
        base.execute("PRAGMA journal_mode=OFF")
        base.executescript(_SCHEMA)
        base.executemany("INSERT INTO about VALUES (?, ?)", ((key, json.dumps(about[key])) for key in sorted(about)))
        examples = _packed(passes, places[0], spans[0], arrays["maximum"])
        pack = Packer.of(examples(feature)[0] for feature in np.linspace(0, passes.sae.d_sae - 1, 48).astype(int))
        base.execute("INSERT INTO dictionary VALUES (?)", (pack.dictionary,))
        for feature in range(passes.sae.d_sae):
            if feature % _CHUNK == 0:
                tick(feature / passes.sae.d_sae)
            packed, contexts = examples(feature)
            texts = [passes.lm.text(tokens) for tokens in contexts]
            promoted = [vocab.text(token) for token in arrays["promoted_ids"][feature]]
            for token in arrays["suppressed_ids"][feature]:
                vocab.text(token)
            row = (feature, "\x1f".join(promoted[:6]), _context(packed, vocab), pack(packed))
            base.execute("INSERT INTO features VALUES (?, ?, ?, ?)", row)
            words = (feature, " ".join(word.strip() for word in promoted), "\n".join(dict.fromkeys(texts)))
            base.execute("INSERT INTO words (rowid, promoted, contexts) VALUES (?, ?, ?)", words)
        if places[1] is not None and spans[1] is not None:
            peaks = np.zeros(passes.d_mlp, np.float32)
            np.maximum.at(peaks, places[1].owner, np.abs(places[1].value))
            contexts = _packed(passes, places[1], spans[1], peaks)
            shown = np.unique(arrays["neuron_ids"])
            base.executemany("INSERT INTO neurons VALUES (?, ?)", ((int(n), pack(contexts(n)[0])) for n in shown))
        for token in sorted(set(_tokens(base, pack))):
            vocab.text(token)
        base.executemany("INSERT INTO vocab VALUES (?, ?)", sorted(vocab.known.items()))
        base.execute("INSERT INTO words(words) VALUES ('optimize')")
    with closing(sqlite3.connect(file)) as base:
        base.execute("VACUUM")


def _packed(
    passes: Passes, places: Places, spans: np.ndarray, maximum: np.ndarray
) -> Callable[[int], tuple[list, list[list[int]]]]:
    """A function from an owner to its examples, ready for JSON, and the tokens around its strongest peaks.

    Examples: [band, [column of the peak, activation, tokens, activations in 1/99 of the owner's maximum], ...].
    """
    settings, window = passes.settings, passes.spool.reader()
    ends = np.searchsorted(places.owner, np.arange(len(maximum)), side="right")

    def of(owner: int) -> tuple[list, list[list[int]]]:
        bands: dict[int, list] = {}
        contexts = []
        for item in range(ends[owner - 1] if owner else 0, ends[owner]):
            pos, tokens = int(places.pos[item]), window(int(places.window[item]))
            low, high, column = window_of(pos, len(tokens), settings)
            acts = spans[item, column : column + high - low] / max(float(maximum[owner]), 1e-12)
            levels = np.round(99 * acts).astype(int).tolist()
            shown = [pos - low, round(float(places.value[item]), 4), tokens[low:high], levels]
            bands.setdefault(int(places.band[item]), []).append(shown)
            if places.band[item] == 0:
                contexts.append(tokens[max(low, pos - 8) : pos + 3])
        return [[band, shown] for band, shown in sorted(bands.items())], contexts

    return of


def _tokens(base: sqlite3.Connection, pack: Packer) -> Iterator[int]:
    """The ids of all tokens that examples show."""
    for table in ("features", "neurons"):
        for (blob,) in base.execute(f"SELECT examples FROM {table}"):
            for _, examples in pack.open(blob):
                for _, _, tokens, _ in examples:
                    yield from tokens


@dataclass(frozen=True)
class Packer:
    """JSON to small blobs and back. They share a dictionary: a blob of a few hundred bytes compresses badly alone."""

    dictionary: bytes

    @classmethod
    def of(cls, values: Iterable[Any]) -> Packer:
        """A packer for values like these."""
        return cls(b"".join(_compact(value) for value in values)[-32768:])

    def __call__(self, value: Any) -> bytes:
        squeeze = zlib.compressobj(9, zdict=self.dictionary)
        return squeeze.compress(_compact(value)) + squeeze.flush()

    def open(self, blob: bytes) -> Any:
        """The value of a blob."""
        return json.loads(zlib.decompressobj(zdict=self.dictionary).decompress(blob))


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _context(packed: list, vocab: _Vocab) -> str:
    """The strongest example in short: the text before the peak, the peak and the text after, with \\x1f between."""
    if not packed:
        return ""
    peak, _, tokens, _ = packed[0][1][0]
    parts = (tokens[max(0, peak - 8) : peak], tokens[peak : peak + 1], tokens[peak + 1 : peak + 5])
    return "\x1f".join("".join(vocab.text(token) for token in part) for part in parts)


class _Vocab:
    """Texts of the tokens that the index shows, so that it can be read without the model."""

    def __init__(self, passes: Passes) -> None:
        self.lm = passes.lm
        self.known: dict[int, str] = {}

    def text(self, token: int) -> str:
        token = int(token)
        if token not in self.known:
            self.known[token] = self.lm.token_texts([token])[0]
        return self.known[token]
