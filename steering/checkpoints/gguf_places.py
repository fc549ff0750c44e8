"""GGUF files that other programs have put on this machine: llama.cpp, Ollama, LM Studio, and the Hugging Face cache.

Only names and headers are read. An Ollama model is named as Ollama names it, `ollama:llama3.2:1b`; its file has no name
of its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .confined import may_open
from .gguf_file import is_gguf

OLLAMA = "ollama:"
_MOST, _DEPTH = 200, 4  # files that are listed, and how deep in a program's folder they are looked for
_MODEL_LAYER = "application/vnd.ollama.image.model"


class GgufPlace(NamedTuple):
    """A GGUF file of another program: what `load_model` opens it by, where it is, and whose it is."""

    source: str
    path: Path
    program: str


def found_files() -> list[GgufPlace]:
    """The GGUF files in the usual places of other programs, each file once."""
    found: dict[Path, GgufPlace] = {}
    for place in (*_ollama(), *(one for program, folder in _folders() for one in _files(program, folder))):
        if len(found) >= _MOST:
            break
        if may_open(place.path):
            found.setdefault(place.path.resolve(), place)
    return list(found.values())


def ollama_file(name: str) -> Path | None:
    """The file of an Ollama model, by `ollama:NAME` or `ollama:NAME:TAG`; None if Ollama has none of that name here."""
    wanted = {name, f"{name}:latest"}
    return next((one.path for one in _ollama() if one.source in wanted and may_open(one.path)), None)


def _home() -> Path:
    return Path(os.environ.get("HOME") or os.environ.get("USERPROFILE") or "~").expanduser()


def _caches() -> Path:
    """The cache folders of other programs."""
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")


def _folders() -> list[tuple[str, Path]]:
    """The folders of programs that keep files under their own names."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return [
        ("llama.cpp", Path(os.environ.get("LLAMA_CACHE") or _caches() / "llama.cpp")),
        ("LM Studio", _home() / ".lmstudio" / "models"),
        ("LM Studio", _home() / ".cache" / "lm-studio" / "models"),
        ("Hugging Face cache", Path(HF_HUB_CACHE)),
    ]


def _files(program: str, folder: Path) -> Iterator[GgufPlace]:
    for place, folders, files in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if name != "blobs") if depth < _DEPTH else []
        for name in sorted(files):
            path = Path(place) / name
            # Projectors lie beside the model that they belong to.
            if name.lower().endswith(".gguf") and "mmproj" not in name.lower() and is_gguf(path):
                yield GgufPlace(str(path), path, program)


def _ollama() -> Iterator[GgufPlace]:
    """Ollama's models: a manifest a name and tag, whose layers are files named by their hash."""
    places = [Path(os.environ["OLLAMA_MODELS"])] if os.environ.get("OLLAMA_MODELS") else []
    places += [_home() / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models")]
    for place in places:
        manifests = place / "manifests"
        try:
            files = sorted(file for file in manifests.rglob("*") if file.is_file())
        except OSError:  # another user's
            continue
        for manifest in files[:_MOST]:
            blob = _blob(place, manifest)
            if blob is not None and is_gguf(blob):
                # HOST/library/NAME/TAG; what is not of the library keeps its owner, other hosts their name.
                host, *owner, name, tag = manifest.relative_to(manifests).parts
                owner = [] if owner == ["library"] else owner
                known = [] if host.endswith("ollama.ai") else [host]
                yield GgufPlace(f"{OLLAMA}{'/'.join([*known, *owner, name])}:{tag}", blob, "Ollama")


def _blob(place: Path, manifest: Path) -> Path | None:
    """The file of the model that a manifest names, or None."""
    try:
        layers = json.loads(manifest.read_text(encoding="utf-8"))["layers"]
        digest = next(str(one["digest"]) for one in layers if one["mediaType"] == _MODEL_LAYER)
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None
    name = digest.replace(":", "-")
    # A digest is a hash, and must not lead out of the folder.
    return place / "blobs" / name if name.startswith("sha256-") and name[7:].isalnum() else None
