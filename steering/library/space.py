"""How much the data folder holds, its limit, and what goes first when it is full.

The folder (TILLER_HOME) grows in two ways. What can be made again (answers of runs and sweeps, feature indexes, fetched
labels) goes by itself where the limit is reached, the least recently used first, and never what was used within the
last hour: a job may be writing it. What somebody saved (directions, runs, measurements, notes) never goes by itself;
where it alone reaches the limit, saving is refused with a sentence. `python -m steering.library` shows and cleans it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..checkpoints.memory import size
from ..jobs.files import home

LIMIT_GB = 20.0
LIMIT_VARIABLE = "TILLER_DISK_GB"
IN_USE = 3600.0  # seconds since the last use in which a thing is left alone

# What can be made again, by folder.
REMAKEABLE = {
    "measure": "answers and reports of runs and sweeps, and uploaded sets",
    "indexes": "feature indexes made on this machine",
    "labels": "labels fetched from Neuronpedia",
}
SAVED = {
    "directions": "saved directions",
    "measurements": "saved sweeps and experiments",
    "dictionaries": "dictionaries trained on this machine",
    "": "saved runs and notes, and whatever else lies there",
}
NESTED = ("uploads",)  # folders of a part whose entries count one by one


@dataclass(frozen=True)
class Part:
    """A part of the data folder: its name, what it holds, its bytes, and whether it can be made again."""

    name: str
    what: str
    bytes: int
    remakeable: bool


def limit_bytes() -> int:
    """The limit of the data folder: TILLER_DISK_GB, by default 20 GB.

    Raises:
        ValueError: the variable is no positive number.
    """
    said = os.environ.get(LIMIT_VARIABLE, "")
    try:
        found = float(said) if said else LIMIT_GB
    except ValueError:
        found = 0.0
    if not 0 < found < 1e9:
        raise ValueError(f"{LIMIT_VARIABLE} is a number of gigabytes above 0; got {said!r}.")
    return int(found * 10**9)


def parts(folder: Path | None = None) -> list[Part]:
    """What the data folder holds, part by part."""
    folder = folder or home()
    found = [Part(name, what, bytes_of(folder / name), True) for name, what in REMAKEABLE.items()]
    found += [Part(name, what, bytes_of(folder / name), False) for name, what in SAVED.items() if name]
    loose = sum(bytes_of(path) for path in folder.glob("*") if path.name not in {*REMAKEABLE, *SAVED})
    return [*found, Part("", SAVED[""], loose, False)]


def used(path: Path) -> None:
    """Note that a thing is being used, so that it goes after what is not."""
    try:
        os.utime(path)
    except OSError:
        return  # gone, or not ours to touch


def trim(folder: Path | None = None, *, more: int = 0, limit: int | None = None) -> int:
    """Remove what can be made again until the folder and `more` bytes fit, the least recently used first."""
    folder = folder or home()
    over = sum(part.bytes for part in parts(folder)) + more - (limit_bytes() if limit is None else limit)
    freed = 0
    if over > 0:
        for entry in sorted(_entries(folder), key=_last_used):
            if freed >= over:
                break
            freed += _remove(entry)
    return freed


def clean(name: str, folder: Path | None = None) -> int:
    """Remove everything of a part that can be made again and is not in use; the bytes freed.

    Raises:
        ValueError: there is no such part, or it holds what somebody saved.
    """
    if name not in REMAKEABLE:
        raise ValueError(f"What can be cleaned is one of {', '.join(REMAKEABLE)}; got {name!r}.")
    return sum(_remove(entry) for entry in _entries(folder or home(), (name,)))


def make_room(more: int, folder: Path | None = None) -> None:
    """Let the data folder take `more` bytes, by removing what can be made again.

    Raises:
        ValueError: what is saved leaves no room for them.
    """
    folder = folder or home()
    limit = limit_bytes()
    trim(folder, more=more, limit=limit)
    there = sum(part.bytes for part in parts(folder))
    if there + more > limit:
        raise ValueError(
            f"The data folder {folder} may hold {size(limit)} and holds {size(there)}; {size(more)} more do not fit. "
            f"Delete something in the Library, or set {LIMIT_VARIABLE} higher and start Tiller again."
        )


def bytes_of(path: Path) -> int:
    """The bytes of a file, or of everything in a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return _bytes(path)
    return sum(_bytes(Path(place) / name) for place, _, names in os.walk(path) for name in names)


def _bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0  # removed meanwhile


def _entries(folder: Path, names: tuple[str, ...] = tuple(REMAKEABLE)) -> Iterator[Path]:
    """Things that can be made again and were not used within the last hour, each removed as a whole."""
    now = time.time()
    for name in names:
        inside = [path for path in (folder / name).glob("*") if path.name not in NESTED]
        inside += [path for nested in NESTED for path in (folder / name / nested).glob("*")]
        yield from (path for path in inside if now - _last_used(path) > IN_USE)


def _last_used(path: Path) -> float:
    """When a file, or anything in a folder, was last changed or noted as used."""
    try:
        inside = [] if path.is_symlink() or not path.is_dir() else list(path.rglob("*"))
        return max(one.lstat().st_mtime for one in (path, *inside))
    except OSError:
        return time.time()  # being changed just now


def _remove(path: Path) -> int:
    """Remove a file or folder; the bytes that are gone."""
    before = bytes_of(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return before - bytes_of(path)
