"""Look up the features of an SAE: search, details of one feature, its neighbors. No model is needed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from safetensors import safe_open
from safetensors.numpy import load_file

from .making.passes import FORMAT
from .making.tally import Table, edges
from .making.write import ARRAYS, BASE, Packer
from .names import GivenName, read_names
from .notes import Notes
from .relevance import relevance
from .words import match, parts

if TYPE_CHECKING:
    from ..models.model import Model
    from ..saes.sae import Sae

SORTS = ("density", "maximum", "mean")
MATCH = "match"
MOST_RANKED = 1_500  # matches that are ranked by how well they match; the strongest of more
BANDS = ("Strongest", "75 to 100%", "50 to 75%", "25 to 50%", "0 to 25%")


@dataclass(frozen=True)
class TokenScore:
    """A token and how much the logit lens moves its logit per unit of the feature."""

    token: int
    text: str
    score: float


@dataclass(frozen=True)
class Example:
    """Tokens around a place where something fires, their activations, and which of them is the peak."""

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    peak: int

    @property
    def value(self) -> float:
        """The activation at the peak."""
        return self.activations[self.peak]

    @property
    def text(self) -> str:
        return "".join(self.tokens)


@dataclass(frozen=True)
class Band:
    """Examples of one strength: the strongest, or a quarter of all places where the feature fires."""

    name: str
    low: float
    high: float
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Neighbor:
    """Another feature and how near it is (a cosine)."""

    index: int
    value: float


@dataclass(frozen=True)
class Neuron:
    """An MLP neuron that writes along a feature: the cosine, and what else fires it."""

    index: int
    layer: int
    cosine: float
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Feature:
    """Everything an index knows about one feature.

    `density` is the share of tokens on which it fires; `mean` its mean activation there; `histogram` the counts between
    `edges` (half octaves).
    """

    index: int
    density: float
    maximum: float
    mean: float
    edges: tuple[float, ...]
    histogram: tuple[int, ...]
    bands: tuple[Band, ...]
    promoted: tuple[TokenScore, ...]
    suppressed: tuple[TokenScore, ...]
    by_cosine: tuple[Neighbor, ...]
    by_coactivation: tuple[Neighbor, ...]
    neurons: tuple[Neuron, ...]
    note: str = ""

    @property
    def dead(self) -> bool:
        """Whether the feature never fired on the texts of the index."""
        return self.density == 0


@dataclass(frozen=True)
class FeatureRow:
    """A feature in a list: numbers, the tokens it promotes, and its strongest example as (before, peak, after)."""

    index: int
    density: float
    maximum: float
    score: float | None
    promoted: tuple[str, ...]
    context: tuple[str, str, str]
    note: str = ""
    name: str = ""


@dataclass(eq=False)
class FeatureIndex:
    """An open feature index: arrays in memory, texts read from SQLite when they are asked for.

    Each call opens its own connection, so one object serves every thread.
    """

    folder: Path
    about: dict[str, Any]
    arrays: Table = field(repr=False)
    notes: Notes | None = None
    made: dict[int, str] = field(default_factory=dict, repr=False)
    given: dict[int, GivenName] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: str | Path, notes: Notes | None = None) -> FeatureIndex:
        """Open the index in a folder.

        Raises:
            ValueError: there is none, or it is damaged or of another version.
        """
        folder = Path(folder)
        if not (folder / BASE).is_file() or not (folder / ARRAYS).is_file():
            raise ValueError(f"A feature index holds {BASE} and {ARRAYS}; {str(folder)!r} does not. Build it first.")
        try:
            about = _about(folder / BASE)
            with safe_open(folder / ARRAYS, "numpy") as opened:
                stamp = (opened.metadata() or {}).get("stamp")
            arrays = load_file(folder / ARRAYS)
        except Exception as error:  # sqlite3 and safetensors each have their own
            raise ValueError(f"The feature index in {str(folder)!r} is damaged ({error}). Build it again.") from error
        if about.get("format") != FORMAT or about.get("stamp") != stamp:
            raise ValueError(f"The feature index in {str(folder)!r} is of another version or torn. Build it again.")
        return cls(folder, about, arrays, notes, *read_names(folder))

    @property
    def n_features(self) -> int:
        return len(self.arrays["density"])

    @property
    def density(self) -> Float[np.ndarray, " d_sae"]:
        """The share of tokens on which each feature fires."""
        return self.arrays["density"]

    @property
    def maximum(self) -> Float[np.ndarray, " d_sae"]:
        """The largest activation of each feature on the texts of the index."""
        return self.arrays["maximum"]

    @property
    def sae_fingerprint(self) -> str:
        return str(self.about["sae"]["fingerprint"])

    def fits(self, lm: Model, sae: Sae) -> bool:
        """Whether the index was made from this SAE on this model."""
        return self.sae_fingerprint == sae.fingerprint and self.about["model"]["fingerprint"] == lm.fingerprint

    def name(self, index: int) -> str:
        """A feature's name: the one that a person gave it, or the one made from what it fires on, or ""."""
        given = self.given.get(index)
        return given.name if given is not None else self.made.get(index, "")

    # Search ---------------------------------------------------------------------------------------------------------

    def search(
        self,
        query: str = "",
        *,
        sort: str | Float[np.ndarray, " d_sae"] = "density",
        descending: bool = True,
        limit: int = 100,
        dead: bool = False,
        among: Bool[np.ndarray, " d_sae"] | None = None,
    ) -> tuple[list[FeatureRow], int]:
        """The first `limit` features that match, and how many match in all.

        Args:
            query: words that the top contexts, the promoted tokens or the note must hold (each may be the beginning of
                a word), or the number of a feature ("17" or "#17"), which then comes first; empty for all.
            sort: "match" (how well a feature matches; without a query, named ones first, then by maximum), "density",
                "maximum", "mean", or one number per feature (a separation, an activation on some text).
            dead: whether features that never fired are listed.
            among: the features that may be listed; None for all.

        Raises:
            ValueError: the sort is unknown, or its numbers are not one per feature.
        """
        found = self._matching(query)
        keys, score = self._keys("maximum" if isinstance(sort, str) and sort == MATCH else sort)
        if isinstance(sort, str) and sort == MATCH:
            keys = self._ranked(found, query) if found else self._named_first(keys)
        listed = np.zeros(self.n_features, bool)
        listed[found if found is not None else slice(None)] = True
        listed &= dead | (self.density > 0)
        listed &= True if among is None else among
        number = query.strip().lstrip("#")
        first = int(number) if number.isascii() and number.isdigit() and int(number) < self.n_features else None
        ids = np.flatnonzero(listed)
        order = ids[np.lexsort((ids, -keys[ids] if descending else keys[ids]))]
        if first is not None:
            order = np.concatenate([[first], order[order != first]])
        return self._rows(order[:limit].tolist(), score), len(order)

    def _keys(self, sort: str | np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        if isinstance(sort, str):
            if sort not in SORTS:
                raise ValueError(f"Features are sorted by {', '.join(SORTS)} or by given numbers; got {sort!r}.")
            return self.arrays[sort], None
        score = np.asarray(sort)
        if score.shape != (self.n_features,):
            raise ValueError(f"A sort has one number per feature ({self.n_features}); got shape {score.shape}.")
        return score, score

    def _matching(self, query: str) -> list[int] | None:
        """The indices of the features that match a query; None for all features."""
        if not query.strip():
            return None
        words = match(query)
        if not words:
            return []
        with self._base() as base:
            found = [row[0] for row in base.execute("SELECT rowid FROM words WHERE words MATCH ?", (words,))]
        if self.notes is not None:
            found += [n for n in self.notes.search(self.sae_fingerprint, query) if 0 <= n < self.n_features]
        wanted = [word.strip('"*').lower() for word in words.split()]
        for number in {*self.made, *self.given}:
            name = self.name(number).lower()
            if all(any(part.startswith(word) for part in parts(name)) for word in wanted):
                found.append(number)
        return list(dict.fromkeys(found))

    def _named_first(self, keys: np.ndarray) -> np.ndarray:
        """Keys by which features that a person named come before all others."""
        named = np.zeros(self.n_features)
        named[[number for number in self.given if number < self.n_features]] = 1.0
        return keys + named * (1.0 + float(np.abs(keys).max(initial=0)))

    def _ranked(self, found: Sequence[int], query: str) -> np.ndarray:
        """Keys by which what matches best comes first, and among equals what fires most strongly."""
        strongest = sorted(found, key=lambda number: -self.maximum[number])[:MOST_RANKED]
        notes = self.notes.search(self.sae_fingerprint, "") if self.notes is not None else {}
        with self._base() as base:
            score = relevance(base, strongest, query, _packer(base).open, {n: self.name(n) for n in strongest}, notes)
        keys = np.full(self.n_features, -1.0)
        for number, value in score.items():
            keys[number] = value
        return keys + 1e-6 * self.maximum / max(float(self.maximum.max(initial=0)), 1e-9)

    def _rows(self, ids: Sequence[int], score: np.ndarray | None) -> list[FeatureRow]:
        notes = self.notes.search(self.sae_fingerprint, "") if self.notes is not None else {}
        rows = []
        with self._base() as base:
            for number in ids:
                promoted, context = base.execute(
                    "SELECT promoted, context FROM features WHERE id = ?", (int(number),)
                ).fetchone()
                before, peak, after = context.split("\x1f") if context else ("", "", "")
                value = None if score is None else float(score[number])
                numbers = (float(self.density[number]), float(self.maximum[number]), value)
                rows.append(
                    FeatureRow(
                        int(number),
                        *numbers,
                        tuple(promoted.split("\x1f")),
                        (before, peak, after),
                        notes.get(number, ""),
                        self.name(int(number)),
                    )
                )
        return rows

    # One feature ----------------------------------------------------------------------------------------------------

    def feature(self, index: int) -> Feature:
        """Everything the index knows about a feature.

        Raises:
            ValueError: there is no such feature.
        """
        self._check(index)
        arrays = self.arrays
        with self._base() as base:
            blob = base.execute("SELECT examples FROM features WHERE id = ?", (index,)).fetchone()[0]
            quarters = arrays["quarters"][index]
            bands = tuple(
                Band(BANDS[band], *_range(quarters, band), _examples(base, packed, float(arrays["maximum"][index])))
                for band, packed in _packer(base).open(blob)
            )
            promoted, suppressed = (
                _token_scores(base, arrays[f"{name}_ids"][index], arrays[f"{name}_values"][index])
                for name in ("promoted", "suppressed")
            )
            neurons = tuple(self._neurons(base, index))
        counts = arrays["histogram"][index]
        return Feature(
            index=index,
            density=float(arrays["density"][index]),
            maximum=float(arrays["maximum"][index]),
            mean=float(arrays["mean"][index]),
            edges=tuple(edges(int(arrays["first_bin"][0]), len(counts)).tolist()),
            histogram=tuple(counts.tolist()),
            bands=bands,
            promoted=promoted,
            suppressed=suppressed,
            by_cosine=self.neighbors(index),
            by_coactivation=self.neighbors(index, "coactivation"),
            neurons=neurons,
            note=self.notes.read(self.sae_fingerprint, index) if self.notes is not None else "",
        )

    def neighbors(self, index: int, by: str = "cosine") -> tuple[Neighbor, ...]:
        """The nearest features, by "cosine" of the decoder rows or by "coactivation".

        Raises:
            ValueError: there is no such feature, or no such nearness.
        """
        self._check(index)
        if by not in ("cosine", "coactivation"):
            raise ValueError(f"Features are near by cosine or by coactivation; got {by!r}.")
        name = "cosine" if by == "cosine" else "coactive"
        ids, values = self.arrays[f"{name}_ids"][index], self.arrays[f"{name}_values"][index]
        return tuple(
            Neighbor(int(number), float(value)) for number, value in zip(ids, values, strict=True) if number >= 0
        )

    def features_of_neuron(self, neuron: int) -> tuple[Neighbor, ...]:
        """The features that have a neuron among their most aligned ones, the most aligned first."""
        if "neuron_ids" not in self.arrays:
            return ()
        row, column = np.nonzero(self.arrays["neuron_ids"] == neuron)
        cosine = self.arrays["neuron_values"][row, column].astype(float)
        order = np.lexsort((row, -np.abs(cosine)))
        return tuple(Neighbor(int(row[i]), float(cosine[i])) for i in order)

    def write_note(self, index: int, text: str) -> None:
        """Save a note on a feature; an empty text deletes it.

        Raises:
            ValueError: there is no such feature, nowhere to keep notes, or the note is too long.
        """
        self._check(index)
        if self.notes is None:
            raise ValueError("Notes need a file to live in; open the index with notes=Notes(path).")
        self.notes.write(self.sae_fingerprint, index, text)

    def _neurons(self, base: sqlite3.Connection, index: int) -> Iterator[Neuron]:
        if "neuron_ids" not in self.arrays:
            return
        unpack = _packer(base).open
        for number, cosine in zip(self.arrays["neuron_ids"][index], self.arrays["neuron_values"][index], strict=True):
            blob = base.execute("SELECT examples FROM neurons WHERE id = ?", (int(number),)).fetchone()
            packed = [example for _, examples in unpack(blob[0]) for example in examples]
            peak = max((abs(value) for _, value, _, _ in packed), default=0.0)
            yield Neuron(int(number), int(self.about["neurons_layer"]), float(cosine), _examples(base, packed, peak))

    def _check(self, index: int) -> None:
        if not 0 <= index < self.n_features:
            raise ValueError(f"Features of this index run from 0 to {self.n_features - 1}; got {index}.")

    @contextmanager
    def _base(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(f"{(self.folder / BASE).absolute().as_uri()}?mode=ro", uri=True)) as base:
            yield base


def locate(sae: Sae, lm: Model, home: Path) -> Path:
    """The folder of an SAE's index: beside its weights where one is, else in the data folder."""
    beside = None if sae.folder is None else sae.folder / "index"
    if beside is not None and (beside / BASE).is_file():
        return beside
    return home / "indexes" / f"{lm.fingerprint}-{sae.fingerprint}"


def _about(file: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as base:
        return {key: json.loads(value) for key, value in base.execute("SELECT key, value FROM about")}


def _packer(base: sqlite3.Connection) -> Packer:
    return Packer(base.execute("SELECT bytes FROM dictionary").fetchone()[0])


def _range(quarters: np.ndarray, band: int) -> tuple[float, float]:
    """The lowest and highest activation of a band; for the strongest examples, from the upper quarter up."""
    if band == 0:
        return float(quarters[3]), float(quarters[4])
    return float(quarters[4 - band]), float(quarters[5 - band])


def _texts(base: sqlite3.Connection, ids: Sequence[int]) -> list[str]:
    marks = ",".join("?" * len(set(ids)))
    known = dict(base.execute(f"SELECT id, text FROM vocab WHERE id IN ({marks})", tuple(set(ids))))
    return [known.get(token, "") for token in ids]


def _examples(base: sqlite3.Connection, packed: list, maximum: float) -> tuple[Example, ...]:
    """Stored examples with the texts of their tokens; the peak has its exact activation, others are rounded."""
    out = []
    for peak, value, tokens, levels in packed:
        activations = [maximum * level / 99 for level in levels]
        activations[peak] = value
        out.append(Example(tuple(_texts(base, tokens)), tuple(activations), peak))
    return tuple(out)


def _token_scores(base: sqlite3.Connection, ids: np.ndarray, values: np.ndarray) -> tuple[TokenScore, ...]:
    texts = _texts(base, ids.tolist())
    return tuple(
        TokenScore(int(token), text, float(v)) for token, text, v in zip(ids, texts, values.astype(float), strict=True)
    )
