"""What is counted while texts stream by, in memory that does not grow with them.

Everything here is independent of the order of the texts: sums, maxima, histograms, and for the examples "the k best
under a fixed order" with ties broken by a hash of the content. Two things bend that: float sums round, and
co-activation counts of very wide dictionaries drop their rarest pairs (`exact` says so).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from .windows import mixed

# Activations are counted in half octaves from 2^-12 to 2^20; what lies outside falls into the first or last bin.
BINS, LOWEST = 64, -24
# A token on which more features fire takes part in co-activation with its strongest ones only.
MAX_ACTIVE = 128
MAX_PAIRS = 8_000_000

Table = dict[str, np.ndarray]
# What an entry holds: the key it is ranked by, the identity of its occurrence (the hash of the prefix), the hash of its
# whole window, its activation, and where it stands.
_FIELDS = {
    "key": np.float64,
    "tie": np.uint64,
    "whole": np.uint64,
    "value": np.float32,
    "window": np.int64,
    "pos": np.int32,
}


def edges(first: int, n: int) -> Float[np.ndarray, " edges"]:
    """The edges of n half-octave bins, the first of which is bin `first`."""
    return 2.0 ** ((np.arange(first, first + n + 1) + LOWEST) / 2)


@dataclass
class Best:
    """For each of n groups the `size` entries with the largest key; no two of them the same occurrence."""

    table: Table

    @classmethod
    def empty(cls, n: int, size: int) -> Best:
        """An empty keeper."""
        table = {name: np.zeros((n, size), dtype) for name, dtype in _FIELDS.items()}
        table["key"] -= np.inf
        return cls(table)

    @property
    def filled(self) -> np.ndarray:
        """Mask [n size] of the entries that are filled."""
        return np.isfinite(self.table["key"])

    def offer(self, group: np.ndarray, **entries: np.ndarray) -> None:
        """Keep those entries (one array per field, and the group of each) that are among the best of their group."""
        live = entries["key"] >= self.table["key"][group, -1]
        if not live.any():
            return
        fresh, group = {name: entries[name][live] for name in _FIELDS}, group[live]
        touched = np.unique(group)
        old = self.filled[touched]
        where = np.concatenate([np.repeat(touched, old.sum(1)), group])
        both = {name: np.concatenate([self.table[name][touched][old], fresh[name]]) for name in _FIELDS}
        # One entry per occurrence: of texts that begin the same way, the one whose whole window hashes lowest.
        order = np.lexsort((both["window"], both["whole"], both["tie"], where))
        same = (where[order][1:] == where[order][:-1]) & (both["tie"][order][1:] == both["tie"][order][:-1])
        order = order[np.concatenate([[True], ~same])]
        order = order[np.lexsort((both["tie"][order], -both["key"][order], where[order]))]
        groups, first, counts = np.unique(where[order], return_index=True, return_counts=True)
        rank = np.arange(len(order)) - np.repeat(first, counts)
        kept = order[rank < self.table["key"].shape[1]]
        rank = rank[rank < self.table["key"].shape[1]]
        self.table["key"][groups] = -np.inf
        for name in _FIELDS:
            self.table[name][where[kept], rank] = both[name][kept]


@dataclass
class Tally:
    """Counts of an SAE's features (and of the neurons before it) over the tokens seen so far."""

    count: Int[np.ndarray, " d_sae"]
    total: Float[np.ndarray, " d_sae"]
    maximum: Float[np.ndarray, " d_sae"]
    histogram: Int[np.ndarray, "d_sae bins"]
    top: Best
    sample: Best
    neurons: Best | None
    pairs: Any = field(repr=False)
    tokens: int = 0
    exact: bool = True

    @classmethod
    def empty(cls, d_sae: int, d_mlp: int, examples: int, sample: int) -> Tally:
        """An empty tally that will keep `examples` strongest places and `sample` uniformly drawn ones per feature."""
        return cls(
            count=np.zeros(d_sae, np.int64),
            total=np.zeros(d_sae, np.float64),
            maximum=np.zeros(d_sae, np.float32),
            histogram=np.zeros((d_sae, BINS), np.int32),
            top=Best.empty(d_sae, examples),
            sample=Best.empty(d_sae, sample),
            neurons=Best.empty(d_mlp, examples) if d_mlp else None,
            pairs=sparse.csr_matrix((d_sae, d_sae), dtype=np.int32),
        )

    def add(self, features: Float[Tensor, "tokens d_sae"], window: np.ndarray, pos: np.ndarray, hashes: Table) -> None:
        """Count the features of some tokens; `hashes` holds `tie` (of the prefix) and `whole` (of the window)."""
        self.tokens += len(features)
        token, feature = (index.numpy() for index in (features > 0).nonzero(as_tuple=True))
        value = features[features > 0].numpy()
        self.count += np.bincount(feature, minlength=len(self.count))
        self.total += np.bincount(feature, weights=value, minlength=len(self.count))
        np.maximum.at(self.maximum, feature, value)
        bins = np.clip(np.floor(2 * np.log2(value)).astype(np.int64) - LOWEST, 0, BINS - 1)
        np.add.at(self.histogram.reshape(-1), feature * BINS + bins, 1)
        self._count_pairs(token, feature, value, len(features))

        entries = {"value": value, "window": window[token], "pos": pos[token], "whole": hashes["whole"][token]}
        tie = hashes["tie"][token]
        # A uniform sample of the places where a feature fires: those whose hash is smallest.
        with np.errstate(over="ignore"):
            lottery = mixed(tie + mixed(feature.astype(np.uint64) + np.uint64(1)))
        self.sample.offer(feature, key=-lottery.astype(np.float64), tie=tie, **entries)
        best = _one_per_window(feature, entries["window"], value.astype(np.float64), tie)
        self.top.offer(feature[best], key=value[best].astype(np.float64), tie=tie[best], **_at(entries, best))

    def add_neurons(
        self, neurons: Float[Tensor, "rows width d_mlp"], window: np.ndarray, hashes: list[np.ndarray]
    ) -> None:
        """Offer each neuron's strongest token (by magnitude) of each window as an example."""
        if self.neurons is None:
            return
        width = neurons.shape[1]
        largest = neurons.abs().max(dim=1)
        size, column = largest.values.numpy().astype(np.float64), largest.indices.numpy()
        row, neuron = np.nonzero((size > 0) & (size >= self.neurons.table["key"][:, -1]))
        column, size = column[row, neuron], size[row, neuron]
        pos = column - (width - np.array([len(h) for h in hashes]))[row]
        self.neurons.offer(
            neuron,
            key=size,
            tie=np.array([hashes[r][p] for r, p in zip(row, pos, strict=True)], dtype=np.uint64),
            whole=np.array([hashes[r][-1] for r in row], dtype=np.uint64),
            value=neurons.numpy()[row, column, neuron],
            window=window[row],
            pos=pos,
        )

    def _count_pairs(self, token: np.ndarray, feature: np.ndarray, value: np.ndarray, n: int) -> None:
        """Count how often two features fire on the same token, keeping at most MAX_PAIRS pairs."""
        order = np.lexsort((feature, -value, token))
        first = np.searchsorted(token[order], np.arange(n))
        keep = order[np.arange(len(order)) - first[token[order]] < MAX_ACTIVE]
        self.exact &= len(keep) == len(token)
        shape = (n, len(self.count))
        fires = sparse.csr_matrix((np.ones(len(keep), np.int32), (token[keep], feature[keep])), shape=shape)
        self.pairs = self.pairs + fires.T @ fires
        if self.pairs.nnz > MAX_PAIRS:
            self.exact = False
            threshold = np.partition(self.pairs.data, self.pairs.nnz // 2)[self.pairs.nnz // 2]
            self.pairs.data[self.pairs.data <= threshold] = 0
            self.pairs.eliminate_zeros()

    # As tensors, for a checkpoint ------------------------------------------------------------------------------------

    def state(self) -> Table:
        """Everything counted, as arrays for a checkpoint."""
        plain = {name: getattr(self, name) for name in ("count", "total", "maximum", "histogram")}
        pairs = {f"pairs.{name}": getattr(self.pairs, name) for name in ("data", "indices", "indptr")}
        kept = {
            f"{name}.{part}": table for name in self._keepers() for part, table in getattr(self, name).table.items()
        }
        return {**plain, **pairs, **kept, "seen": np.array([self.tokens, int(self.exact)], np.int64)}

    def load(self, state: Table) -> None:
        """Restore what `state` returned."""
        for name in ("count", "total", "maximum", "histogram"):
            setattr(self, name, state[name])
        self.pairs = sparse.csr_matrix(
            tuple(state[f"pairs.{name}"] for name in ("data", "indices", "indptr")), shape=self.pairs.shape
        )
        for name in self._keepers():
            setattr(self, name, Best({part: state[f"{name}.{part}"] for part in _FIELDS}))
        self.tokens, self.exact = int(state["seen"][0]), bool(state["seen"][1])

    def _keepers(self) -> list[str]:
        return ["top", "sample", *(["neurons"] if self.neurons is not None else [])]


def _one_per_window(feature: np.ndarray, window: np.ndarray, value: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """The strongest place of each feature in each window, so that one text does not fill a feature's examples."""
    order = np.lexsort((tie, -value, window, feature))
    same = (feature[order][1:] == feature[order][:-1]) & (window[order][1:] == window[order][:-1])
    return order[np.concatenate([[True], ~same])] if len(order) else order


def _at(entries: Table, index: np.ndarray) -> Table:
    return {name: values[index] for name, values in entries.items()}
