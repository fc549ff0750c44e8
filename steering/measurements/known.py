"""What was read of a model once: norms, neutral text and pair sets at all layers, kept on disk and not read again.

One pass over a text gives the activations of every layer for the price of the deepest, so that is what is read; a
direction at another layer, with some pairs switched off, or after the next start, then costs no pass. Files lie by the
fingerprint of the weights, and what is in them is found by the tokens of each text. safetensors only.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..directions.activations import Position, located, read
from ..directions.pairs import PairSet
from ..jobs.files import home, write_atomically
from ..jobs.watching import watched
from ..models.hashing import weights_hash
from ..models.model import Model
from ..sites import Site
from .neutral import neutral_texts
from .numbers import NORM_TEXTS, typical_norms
from .rounding import Rounding, rounding

Sides = tuple[Float[Tensor, "pairs width"], Float[Tensor, "pairs width"]]
MOST_BYTES = 2 * 2**30  # of all models together; the files that were used longest ago go first
FORMAT = "1"  # of the files; others are not read


class Known:
    """The activations of one model that were read before, and those that are asked for now.

    It may be used from any thread. Of pairs, of neutral text and of numbers one thread reads at a time, and the others
    wait for what it finds; to look something up nobody waits.

    Args:
        folder: where files are kept; by default in Tiller's data folder.
    """

    def __init__(self, lm: Model, folder: Path | None = None) -> None:
        self.lm = lm
        self._root = folder
        self._lock = threading.RLock()  # of the books, for moments
        self._reading = {what: threading.RLock() for what in ("pairs", "neutral", "numbers")}
        self._version: int | None = None
        self._edited = False
        self._folder = Path()
        self._rows: dict[tuple[str, str], tuple[Path, int]] = {}  # (group of sites, text) -> its file and row
        self._unwritten: dict[Path, dict[str, Tensor]] = {}  # where the disk takes nothing
        self._said: dict[Path, dict[str, float]] = {}  # numbers by name

    # Pairs ----------------------------------------------------------------------------------------------------------

    def of_pairs(
        self,
        pairs: PairSet,
        sites: Sequence[Site],
        *,
        position: Position = "completion_mean",
        chat: bool | None = None,
    ) -> dict[Site, Sides]:
        """The activations of both sides of every pair at sites, as `activations.of_pairs` gives them.

        What is not known is read at all layers of the streams that are asked for, and kept.

        Raises:
            ValueError: a text that cannot be read there, or a site that the model does not have.
        """
        sites = [self.lm.check_site(site) for site in sites]
        tokens, where = located(self.lm, pairs, position, chat)
        names = [_name(text, places) for text, places in zip(tokens, where, strict=True)]
        found: dict[Site, Sides] = {}
        with self._reading["pairs"]:
            self._look()
            for group in dict.fromkeys(self._group(site) for site in sites):
                missing = [n for n, name in enumerate(names) if (group, name) not in self._rows]
                missing = list({names[n]: n for n in missing}.values())
                if missing:
                    some = read(self.lm, [tokens[n] for n in missing], [where[n] for n in missing], self._sites(group))
                    self._keep(group, [names[n] for n in missing], some, pairs.name)
            for site in sites:
                h = self._rows_at(site, names)
                found[site] = h[: len(pairs)], h[len(pairs) :]
        return found

    def knows(self, pairs: PairSet, stream: str = "resid_post", position: Position = "completion_mean") -> bool:
        """Whether a pair set's activations at a stream cost no pass."""
        tokens, where = located(self.lm, pairs, position)
        self._look()
        group = self._group(Site(0, stream))
        return all((group, _name(*text)) in self._rows for text in zip(tokens, where, strict=True))

    # Neutral text ---------------------------------------------------------------------------------------------------

    def norms(self) -> dict[Site, float]:
        """The typical norm at every stream of every layer (see `typical_norms`)."""
        self._look()
        path = self._folder / f"norms-{self._neutral_name()}.json"
        found = self._numbers(
            path, lambda: {str(s): n for s, n in typical_norms(self.lm, texts=self._neutral()).items()}
        )
        return {Site.parse(name): value for name, value in found.items()}

    def neutral(self, site: Site) -> Float[Tensor, "tokens width"]:
        """The activation of every token of neutral text at a site, but the first of each text.

        Raises:
            ValueError: a site that the model does not have.
        """
        site = self.lm.check_site(site)
        texts = [tuple(ids) for text in self._neutral() if len(ids := self._ids(text)) > 1]
        # Each token by itself: a text counts as often as it has tokens.
        each = [(text, [at]) for text in texts for at in range(1, len(text))]
        names = [_name(*one) for one in each]
        with self._reading["neutral"]:
            self._look()
            group = self._group(site)
            if any((group, name) not in self._rows for name in names):
                self._keep(group, names, self._read_tokens(texts, self._sites(group)), "neutral text")
            return self._rows_at(site, names)

    def _read_tokens(self, texts: Sequence[tuple[int, ...]], sites: Sequence[Site]) -> dict[Site, Tensor]:
        """Activations of all tokens but the first of each text, one text after another."""
        parts: dict[Site, list[Tensor]] = {site: [] for site in sites}
        for text in texts:
            found, _ = self.lm.activations([text], sites)
            for site, h in found.items():
                parts[site].append(h[0, 1:].to("cpu", torch.float32))
        return {site: torch.cat(some) for site, some in parts.items()}

    def _ids(self, text: str) -> list[int]:
        return self.lm.encode(text)[: self.lm.n_ctx - 1]

    def _neutral(self) -> list[str]:
        return neutral_texts(self.lm.name)[:NORM_TEXTS]

    def _neutral_name(self) -> str:
        return _hash(repr([self._ids(text) for text in self._neutral()]))

    def rounding(self, measured: bool = True) -> Rounding | None:
        """What the model's products in bfloat16 change against float32; None of a model that multiplies in float32.

        Args:
            measured: with False only what was measured before is given, and None otherwise.
        """
        if self.lm.products == "float32":
            return None
        self._look()
        path = self._folder / f"rounding-{self._neutral_name()}.json"
        if not measured and path not in self._said and not path.is_file():
            return None
        found = self._numbers(path, lambda: asdict(rounding(self.lm, self._neutral())))
        return Rounding(found["kl"], found["same"], int(found["tokens"]))

    # All at once ----------------------------------------------------------------------------------------------------

    def survey(self, sets: Sequence[PairSet], tick: Callable[[int, int, str], None] | None = None) -> list[str]:
        """Reads what pages will ask for: norms, neutral text, and these pair sets, at every layer of the stream.

        Returns what could not be read, a sentence for each pair set with a text that this model cannot take.

        Args:
            tick: called with what is done, the total, and what comes next; may raise to stop. What was read is kept.
        """
        problems = []
        tick = tick or (lambda done, total, note: None)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("the norms of all layers", self.norms),
            ("neutral text", lambda: self.neutral(Site(0, "resid_pre"))),
            *([("the rounding of products", self.rounding)] if self.lm.products != "float32" else []),
            *((f"the pairs of {pairs.name}", lambda pairs=pairs: self.of_pairs(pairs, [Site(0)])) for pairs in sets),
        ]
        total = 100 * len(steps)
        for begun, (note, work) in zip(range(0, total, 100), steps, strict=True):
            tick(begun, total, note)

            def further(done: int, of: int, begun: int = begun, note: str = note) -> None:
                tick(begun + 100 * done // max(1, of), total, note)

            try:
                with watched(further):
                    work()
            except ValueError as error:  # a text longer than the context, as a rule
                problems.append(f"Not read: {note}. {error}")
        tick(total, total, "")
        self._numbers(self._survey_file(sets), lambda: {"sets": len(sets), "not read": len(problems)})
        return problems

    def surveyed(self, sets: Sequence[PairSet]) -> bool:
        """Whether a survey of these pair sets was finished; looks for a file, and tokenizes nothing."""
        self._look()
        path = self._survey_file(sets)
        return path in self._said or path.is_file()

    def _survey_file(self, sets: Sequence[PairSet]) -> Path:
        return self._folder / f"survey-{_hash(repr([pairs.content_hash for pairs in sets]))}.json"

    # Files ----------------------------------------------------------------------------------------------------------

    def _group(self, site: Site) -> str:
        """The sites that are read together: a stream at all layers; before and after a block is one stream."""
        both = ("resid_pre", "resid_post")
        return "resid" if site.stream in both and set(both) <= set(self.lm.streams) else site.stream

    def _sites(self, group: str) -> list[Site]:
        last = self.lm.n_layers - 1
        if group != "resid":
            return [Site(layer, group) for layer in range(last + 1)]
        return [*(Site(layer, "resid_pre") for layer in range(last + 1)), Site(last, "resid_post")]

    def _stored(self, site: Site) -> str:
        """The name of a site in the files: what a block gives is what the next one gets."""
        if self._group(site) == "resid" and site.stream == "resid_post" and site.layer < self.lm.n_layers - 1:
            site = Site(site.layer + 1, "resid_pre")
        return str(site)

    def _look(self) -> None:
        """Finds the model's files; again after its weights were edited, which makes it another model."""
        with self._lock:
            self._find_files()

    def _find_files(self) -> None:
        version = sum(weight._version for weight in self.lm.hf.parameters() if not weight.is_inference())
        if version == self._version:
            paths = {path for path, _ in self._rows.values()} - set(self._unwritten)
            gone = {path for path in paths if not path.exists()}
            self._rows = {key: place for key, place in self._rows.items() if place[0] not in gone}
            return
        lm = self.lm
        # The hash is of a sample of the weights: what is edited later is another model, and is kept in memory only.
        self._edited = self._version is not None
        about = (weights_hash(lm.hf), str(lm.dtype), lm.products, lm.device.type, FORMAT)
        self._folder = (self._root or home() / "known") / _hash(repr(about))
        self._version, self._unwritten, self._rows, self._said = version, {}, {}, {}
        if self._edited:
            self._folder = self._folder / str(version)
        for path in sorted(self._folder.glob("*.safetensors")):
            with suppress(OSError, SafetensorError, ValueError, KeyError, TypeError), safe_open(path, "pt") as file:
                said = file.metadata()
                rows, group = json.loads(said["rows"]), said["group"]
                self._rows |= {(group, name): (path, row) for row, name in enumerate(rows)}

    def _numbers(self, path: Path, make: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Numbers by name that are kept in a file of JSON, or made now."""
        if path in self._said:
            return self._said[path]
        with self._reading["numbers"]:
            found: dict[str, float] = {}
            with suppress(OSError, ValueError, TypeError, AttributeError):
                said = json.loads(path.read_text(encoding="utf-8"))
                found = {str(name): float(value) for name, value in said.items()}
            if not found:
                found = make()
                with suppress(OSError):
                    self._write(path, json.dumps(found).encode())
            self._said[path] = found
        return found

    def _write(self, path: Path, data: bytes) -> None:
        if self._edited:
            raise OSError("The sample of an edited model's weights that its hash is made of may be the file's.")
        write_atomically(path, data)

    def _keep(self, group: str, names: Sequence[str], found: dict[Site, Tensor], about: str) -> None:
        tensors = {str(site): h.contiguous() for site, h in found.items()}
        path = self._folder / f"{group}-{_hash(repr(list(names)))}.safetensors"
        said = {"group": group, "rows": json.dumps(list(names)), "about": about, "model": self.lm.name}
        try:
            self._write(path, save(tensors, said))
            _tidy(self._folder.parent, path)
        except OSError:  # a full disk, or none to write on
            self._unwritten[path] = tensors
        with self._lock:
            self._rows |= {(group, name): (path, row) for row, name in enumerate(names)}

    def _rows_at(self, site: Site, names: Sequence[str]) -> Float[Tensor, "rows width"]:
        group, stored = self._group(site), self._stored(site)
        places = [self._rows[group, name] for name in names]
        out = torch.empty(len(names), self.lm.width(site))
        for path in dict.fromkeys(path for path, _ in places):
            here = [n for n, (other, _) in enumerate(places) if other == path]
            out[here] = self._tensor(path, stored)[[places[n][1] for n in here]]
        return out

    def _tensor(self, path: Path, name: str) -> Tensor:
        if path in self._unwritten:
            return self._unwritten[path][name]
        with suppress(OSError):
            os.utime(path)  # used now: others go before it
        with safe_open(path, "pt") as file:
            return file.get_tensor(name)


def _name(text: Sequence[int], where: Sequence[int]) -> str:
    """What a row is found by: the tokens that were read, and which of them count."""
    return _hash(repr((tuple(text), tuple(where))))


def _hash(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()[:20]


def _tidy(root: Path, newest: Path) -> None:
    """Removes the files that were used longest ago, so that all of them stay within `MOST_BYTES`."""
    files = sorted(root.glob("*/*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
    size = 0
    for path in files:
        size += path.stat().st_size
        if size > MOST_BYTES and path != newest:
            path.unlink(missing_ok=True)
