"""Which paths may be opened: all by default; on a server that others use, only those in folders its operator named.

A path can be typed into a page, stand in a link (`?model=`, `?sae=`) or in an imported run. Everything that opens such
a path asks `allowed` first, so the rule is made in one place. Names are not paths and stay free: bundled models and
SAEs, repositories of the hub and what was downloaded from it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from .bundled import BUNDLED, chat_model_file

VARIABLE = "TILLER_FOLDERS"
MAX_ENTRIES = 2000  # entries of a folder whose links are looked at

_lock = threading.Lock()
_folders: tuple[Path, ...] | None = None  # None: not confined


def confine(folders: Iterable[str | Path] | None) -> None:
    """From now on open only paths in these folders (none at all, if empty); None lifts the limit, as in a notebook."""
    global _folders
    with _lock:
        _folders = None if folders is None else tuple(Path(one).expanduser().resolve() for one in folders)


def named_folders() -> list[str] | None:
    """The folders that TILLER_FOLDERS names, with the system's separator (":" or ";") between them; None if not set."""
    said = os.environ.get(VARIABLE)
    return None if said is None else [one for one in said.split(os.pathsep) if one.strip()]


def is_confined() -> bool:
    """Whether only the operator's folders may be opened."""
    return _folders is not None


def allowed(path: str | Path) -> Path:
    """The path, with "~" written out, if it may be opened: itself, and what the links in it lead to.

    Raises:
        ValueError: it lies outside of the folders that the operator named, whether there is such a file or not.
    """
    found = Path(path).expanduser()
    folders = _folders
    if folders is None:
        return found
    folders = (*folders, *_always_open())
    try:
        inside = _inside(found, folders) and all(_inside(one, folders) for one in _links(found))
    except (OSError, RuntimeError, ValueError):  # a circle of links, or a name that no file can have
        inside = False
    if not inside:
        raise ValueError(
            f"{str(path)[:200]!r} is not in a folder that is open on this server. Whoever started Tiller names such "
            f"folders in {VARIABLE}."
        )
    return found


def may_open(path: str | Path) -> bool:
    """Whether a path may be opened."""
    try:
        allowed(path)
    except ValueError:
        return False
    return True


@cache
def _always_open() -> tuple[Path, ...]:
    """Where things lie that are asked for by name: what ships, and what was downloaded from the hub."""
    from huggingface_hub.constants import HF_HUB_CACHE

    places = [BUNDLED.parent, chat_model_file(), Path(HF_HUB_CACHE)]
    return tuple(place.resolve() for place in places if place is not None)


def _inside(path: Path, folders: tuple[Path, ...]) -> bool:
    real = path.resolve()
    return any(real.is_relative_to(folder) for folder in folders)


def _links(folder: Path) -> list[Path]:
    """The links to files directly in a folder: those of a checkpoint must not lead out either."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        some = (entry for _, entry in zip(range(MAX_ENTRIES), entries, strict=False))
        return [Path(entry.path) for entry in some if entry.is_symlink() and Path(entry.path).is_file()]
