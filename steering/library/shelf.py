"""Loaded models with their engines and SAEs, each once for all visitors, within the memory there is.

To load another one, the least recently used are unloaded and their engines closed, never one in use. A model's key is
one text: its name with the form it is loaded in (forms.py).
"""

from __future__ import annotations

import gc
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..checkpoints.downloads import fetch, kept
from ..checkpoints.forms import SPREAD, Form
from ..checkpoints.memory import MemoryBudget, available, check_fits, shape_of, size
from ..checkpoints.places import best_device, counted_dtype, source_of
from ..checkpoints.progress import reported
from ..engine.engine import Engine
from ..models.loading import load_model
from ..models.model import Model
from ..recipes.workbench import SavedDirections, Workbench
from ..saes.loading import BUNDLED, bundled_saes, fetch_files, kept_files, load_sae, registry
from ..saes.sae import Sae

Tick = Callable[[int, int, str], None]  # done, total, what is being done; may raise to cancel

SHARE = 0.8  # of the memory that is free at first may be taken by models
GRACE = 2.0  # seconds for which an engine counts as in use after it was handed out
PATIENCE = 6.0  # seconds to wait for models at work before a new one is refused
WORKBENCHES = 4  # kept at once; each keeps at most workbench.KEPT_BYTES
DOWNLOADING, LOADING = "Downloading", "Reading the weights"


@dataclass(frozen=True)
class Loaded:
    """A model or an SAE on the shelf: its name, its size in bytes, and whether it is in use."""

    name: str
    bytes: int
    device: str
    busy: bool


@dataclass(eq=False)
class _Held:
    """A loaded model with its engine, SAEs and workbenches, and who uses it."""

    model: Model
    place: str  # whose memory it takes
    engine: Engine | None = None
    saes: dict[tuple[str, str], Sae] = field(default_factory=dict)
    asked: float = 0.0
    users: list[Callable[[], bool]] = field(default_factory=list)

    @property
    def busy(self) -> bool:
        """Whether it is in use, or was handed out a moment ago."""
        self.users = [uses for uses in self.users if uses()]
        if self.users or time.monotonic() - self.asked < GRACE:
            return True
        if self.engine is not None and any(self.engine.busy):
            return True
        free = self.model.lock.acquire(blocking=False)  # held while a forward pass runs
        if free:
            self.model.lock.release()
        return not free


class Shelf:
    """The loaded models of one process. Every method may be called from any thread.

    Args:
        limit: bytes that models and SAEs may take on each device; by default a share of what is free at first.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._lock = threading.RLock()
        self._gates: dict[str, threading.Lock] = {}
        self._held: dict[str, _Held] = {}
        self._benches: OrderedDict[tuple[str, tuple[str, str] | None], Workbench] = OrderedDict()
        self._budgets: dict[str, MemoryBudget] = {}
        self._limits: dict[str, int] = {}
        self.threads: int | None = None

    # Getting ---------------------------------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Whether a model is loaded."""
        return name in self._held

    def model(self, name: str, *, download: bool = False, tick: Tick | None = None) -> Model:
        """The model of that name, loaded if it is not yet; concurrent callers wait for one loading.

        Args:
            download: whether it may be fetched from the hub; without it no network is asked.

        Raises:
            ValueError: it is not on this machine, does not fit into memory, or cannot be read.
        """
        return self._holding(name, download, tick).model

    def engine(self, name: str) -> Engine:
        """The engine of a model, which counts as in use for the next GRACE seconds."""
        with self._lock:
            held = self._find(name)
            if held is not None:
                return self._engine_of(held)
        held = self._holding(name, False, None)
        with self._lock:
            return self._engine_of(held)

    def _engine_of(self, held: _Held) -> Engine:
        held.asked = time.monotonic()
        held.engine = held.engine or Engine(held.model)
        return held.engine

    def sae(self, name: str, release: str, sae_id: str, *, download: bool = False, tick: Tick | None = None) -> Sae:
        """An SAE for a model (which is loaded first); arguments as for `load_sae` and `model`.

        Raises:
            ValueError: it is not on this machine, does not fit the model or into memory, or cannot be read.
        """
        held, choice = self._holding(name, download, tick), (release, sae_id)
        key = _sae_key(name, choice)
        with self._gate(key):
            with self._lock:
                if choice in held.saes:
                    self._budget(held.place).touch(key)
                    return held.saes[choice]
            say = tick or (lambda done, total, note: None)
            needed = _sae_bytes(release, sae_id, download, say)
            self._make_room(key, needed, held.place, say, beside={name})
            try:
                say(0, 0, LOADING)
                held.saes[choice] = load_sae(held.model, release, sae_id or None)
            except BaseException:
                self._budget(held.place).release(key)
                raise
            return held.saes[choice]

    def workbench(
        self, name: str, choice: tuple[str, str] | None = None, store: SavedDirections | None = None
    ) -> Workbench:
        """The workbench of a model and an SAE (release, id), made once, and dropped with either of them.

        Args:
            store: the Library that its saved directions are read from.

        Raises:
            ValueError: as for `model` and `sae`.
        """
        sae = None if choice is None else self.sae(name, *choice)
        engine = self.engine(name)
        with self._lock:
            bench = self._benches.get((name, choice))
            if bench is None:
                bench = Workbench(engine, sae, store)
                held = self._held.get(name)
                # Unloaded by another thread meanwhile: the caller may still use it, but it is not kept.
                if (
                    held is None
                    or held.engine is not engine
                    or (choice is not None and held.saes.get(choice) is not sae)
                ):
                    return bench
                self._benches[name, choice] = bench
            self._benches.move_to_end((name, choice))
            while len(self._benches) > WORKBENCHES:
                self._benches.popitem(last=False)
            return bench

    def work(self, name: str) -> tuple[int, int]:
        """Rows that a model's engine decodes, and rows that wait; looking does not count as use."""
        held = self._held.get(name)
        return (0, 0) if held is None or held.engine is None else held.engine.busy

    def use(self, name: str, while_: Callable[[], bool]) -> None:
        """Keep a model loaded while a function returns True: for a job that runs on it."""
        with self._lock:
            if name in self._held:
                self._held[name].users.append(while_)

    # State -----------------------------------------------------------------------------------------------------------

    @property
    def loaded(self) -> list[Loaded]:
        """Everything on the shelf, the most recently used last."""
        with self._lock:
            busy = {name for name, held in self._held.items() if held.busy}
            return [
                Loaded(key, budget.size(key), place, key in busy or key.rpartition(" on ")[2] in busy)
                for place, budget in self._budgets.items()
                for key in map(str, budget.kept)
            ]

    def room(self, device: str = "") -> int:
        """Bytes that one model may take on a device when everything that is idle is unloaded for it."""
        place = device or best_device()
        with self._lock:
            budget = self._budget(place)
            return max(0, min(self._limits[place], budget.used + _free(place)))

    def set_threads(self, threads: int | None) -> None:
        """Set how many threads of the CPU models run on, for all of them; None leaves it to their size."""
        self.threads = threads
        if threads is None:
            return
        torch.set_num_threads(threads)
        with self._lock:
            engines = [held.engine for held in self._held.values() if held.engine is not None]
        for engine in engines:  # a thread that has begun to compute keeps its own number
            engine.call(lambda: torch.set_num_threads(threads))

    def close(self) -> None:
        """Unload everything, also what is in use."""
        with self._lock:
            gone = [self._take_off(name) for name in list(self._held)]
        self._end(gone)

    # Loading ---------------------------------------------------------------------------------------------------------

    def _find(self, name: str) -> _Held | None:
        held = self._held.get(name)
        if held is not None:
            self._budget(held.place).touch(name)
        return held

    @contextmanager
    def _gate(self, key: str) -> Iterator[None]:
        """A lock for one name, so that it is loaded by one thread at a time."""
        with self._lock:
            gate = self._gates.setdefault(key, threading.Lock())
        with gate:
            yield

    def _holding(self, name: str, download: bool, tick: Tick | None) -> _Held:
        with self._lock:
            if held := self._find(name):
                return held
        with self._gate(name):
            with self._lock:
                if held := self._find(name):
                    return held
            held = self._load(name, download, tick or (lambda done, total, note: None))
            with self._lock:
                self._held[name] = held
            return held

    def _load(self, name: str, download: bool, say: Tick) -> _Held:
        form = Form.parse(name)
        place = form.device or best_device()
        dtype = form.options.get("dtype") or ("float32" if place == "cpu" else "auto")
        folder, revision = self._folder(form, download, say, self.room(place))
        shape, counted = shape_of(folder), counted_dtype(str(folder), dtype, form.options.get("quantize"))
        check_fits(form.source, shape, counted, place, free=self.room(place))
        self._make_room(name, shape.needs(counted), place, say, what=form.source)
        try:
            with reported(lambda done, total: say(done, total, LOADING)):
                at = form.source if revision is None else str(folder)
                lm = load_model(at, threads=self.threads if place == "cpu" else None, **form.options)
        except BaseException as error:
            self._budget(place).release(name)
            if isinstance(error, ValueError) and str(folder) in str(error):
                raise ValueError(str(error).replace(str(folder), form.source)) from error
            raise
        lm.name, lm.revision = name, revision
        return _Held(lm, place)

    def _folder(self, form: Form, download: bool, say: Tick, room: int) -> tuple[Path, str | None]:
        """Where a model's files are (a folder, or one GGUF file), and the revision of one that is from the hub."""
        source = source_of(form.source)
        if Path(source).exists():
            return Path(source), None
        if download:
            found = fetch(source, tick=_guarded(form, say, room))
        else:
            found = kept(source)
            if found is None:
                raise ValueError(f"{source} is not on this machine. Download it on the page Models.")
        return found.folder, found.revision

    # Memory ----------------------------------------------------------------------------------------------------------

    def _budget(self, place: str) -> MemoryBudget:
        with self._lock:
            if place not in self._budgets:
                self._limits[place] = self._limit or max(1, int(SHARE * _free(place)))
                self._budgets[place] = MemoryBudget(self._limits[place])
            return self._budgets[place]

    def _make_room(
        self, key: str, needed: int, place: str, say: Tick, *, what: str = "", beside: set[str] | None = None
    ) -> None:
        """Reserve memory for something new, after unloading what is idle; wait a little for what is in use."""
        end = time.monotonic() + PATIENCE
        while True:
            with self._lock:
                budget = self._budget(place)
                # Other programs take memory too.
                budget.limit = max(1, min(self._limits[place], budget.used + _free(place)))
                busy = {name for name, held in self._held.items() if held.busy} | (beside or set())
                busy |= {_sae_key(name, choice) for name in busy for choice in self._saes_of(name)}
                try:
                    gone = [self._take_off(one) for one in budget.add(key, needed, busy=busy)]  # type: ignore[arg-type]
                except ValueError:
                    if time.monotonic() > end or not busy:
                        stay = sum(budget.size(one) for one in busy)
                        raise ValueError(
                            f"{what or key} needs about {size(needed)} of memory; of {size(budget.limit)} that models "
                            f"may take here, {size(stay)} are being used. Try again when they are idle, or choose a "
                            "smaller model, dtype or SAE."
                        ) from None
                else:
                    break
            say(0, 0, "Waiting for models that are being used")
            time.sleep(0.1)
        if gone:
            self._end(gone)

    def _saes_of(self, name: str) -> list[tuple[str, str]]:
        return list(self._held[name].saes) if name in self._held else []

    def _take_off(self, key: str) -> _Held | None:
        """Remove a model with its SAEs, or one SAE, from the shelf and the memory budget. Call with the lock held."""
        held = self._held.pop(key, None)
        for name, choice in list(self._benches):
            if key in (name, choice and _sae_key(name, choice)):
                del self._benches[name, choice]
        if held is None:
            for name, other in self._held.items():
                if other.engine is not None and any(_sae_key(name, choice) == key for choice in other.saes):
                    other.engine.forget()
                other.saes = {choice: sae for choice, sae in other.saes.items() if _sae_key(name, choice) != key}
            return None
        for choice in held.saes:
            self._budget(held.place).release(_sae_key(key, choice))
        self._budget(held.place).release(key)
        return held

    def _end(self, gone: list[_Held | None]) -> None:
        """Close what was removed. Call without the lock, because closing an engine waits for its thread."""
        for held in gone:
            if held is not None and held.engine is not None:
                held.engine.close()
        held = None  # else the loop variable keeps the last one alive during the collection
        gone.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _sae_key(name: str, choice: tuple[str, str]) -> str:
    return f"{'/'.join(part for part in choice if part)} on {name}"


def _free(place: str) -> int:
    """Bytes that are free where a model goes."""
    if place == SPREAD:
        return sum(available(f"cuda:{number}") for number in range(torch.cuda.device_count()))
    return available(place)


def _guarded(form: Form, say: Tick, room: int) -> Callable[[int, int], None]:
    """A progress callback that cancels a download at its first byte if the weights cannot fit into memory."""
    smaller = {"8-bit": 2, "4-bit": 4}.get(form.dtype, 1)  # stored with two bytes a weight, in general

    def tick(done: int, total: int) -> None:
        if total / smaller > room:
            raise ValueError(
                f"{form.source} is {size(total)} of files to load, and a model may take {size(room)} of memory here. "
                "Choose a smaller model. Nothing more is downloaded."
            )
        say(done, total, DOWNLOADING)

    return tick


def _sae_bytes(release: str, sae_id: str, download: bool, say: Tick) -> int:
    """Bytes of an SAE's weights, downloaded first if they are not on this machine.

    Raises:
        ValueError: they are not here and may not be fetched.
    """
    if sae_id in bundled_saes().get(release, ()):
        return _weigh(list((BUNDLED / release / sae_id).glob("*.safetensors")))
    folder = Path(release).expanduser() / sae_id
    if Path(release).expanduser().is_dir() or release not in registry():
        return _weigh(list(folder.glob("*.safetensors")))  # if this is not an SAE, load_sae says so
    about: Any = registry()[release]
    if sae_id not in about.saes_map:
        return 0
    files = kept_files(release, sae_id)
    if not files:
        if not download:
            raise ValueError(f"The SAE {release}/{sae_id} is not on this machine. Download it on the page Models.")
        fetch_files(about.repo_id, about.saes_map[sae_id], lambda done, total: say(done, total, DOWNLOADING))
        files = kept_files(release, sae_id)
    return _weigh(files)


def _weigh(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)
