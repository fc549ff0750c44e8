"""What a folder or file holds: a model, an SAE, several of them, or why it is none of these. No weight is read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .confined import allowed, may_open
from .gguf_file import read_gguf
from .gguf_places import OLLAMA
from .memory import Shape, shape_of, shape_of_folder, size
from .places import counted_dtype, gguf_files, source_of

SAE_FILES = ("cfg.json", "sae_weights.safetensors")
_DEPTH, _MOST, _LOOKED_AT = 3, 40, 3000  # how deep, how many are listed, how many folders are looked at


@dataclass(frozen=True)
class Found:
    """What a folder is: "model", "sae", "several" or "nothing", and a sentence on it.

    Attributes:
        shape: of a model.
        stored: the dtype of a model's file.
        chat: whether a model comes with a chat template.
        inside: sub-folders that hold a model or an SAE, and GGUF files where there are several.
        about: what a GGUF file says of its model: name, quantization, license.
    """

    kind: str
    sentence: str
    shape: Shape | None = None
    stored: str = ""
    chat: bool = False
    inside: tuple[Path, ...] = ()
    about: dict[str, str] = field(default_factory=dict)


def look(folder: str | Path) -> Found:
    """What a folder or a GGUF file holds; what holds nothing of use says why."""
    try:
        path = Path(folder) if str(folder).startswith(OLLAMA) else allowed(folder)
    except ValueError as error:
        return Found("nothing", str(error))
    if path.is_dir() and (path / SAE_FILES[0]).is_file():
        return _sae(path)
    try:
        source = Path(source_of(folder if str(folder).startswith(OLLAMA) else path))
        return _gguf(source) if source.is_file() else _model(path)
    except ValueError as error:
        inside = ()
        if path.is_dir() and not (path / "config.json").is_file():
            files = gguf_files(path)
            inside = (*(files if len(files) > 1 else ()), *_below(path))[:_MOST]
        if inside:
            what = "files and sub-folders" if inside[0].is_file() else "sub-folders"
            more = " (the first ones are listed)" if len(inside) == _MOST else ""
            return Found("several", f"No model itself, but {len(inside)} of its {what} are{more}.", inside=inside)
        return Found("nothing", str(error))


def _model(path: Path) -> Found:
    shape = shape_of_folder(path)
    if not shape.parameters or not shape.n_layers:
        raise ValueError(f"The folder {str(path)!r} has a config.json, but it describes no language model.")
    config = _read(path / "config.json")
    names = config.get("architectures")
    if not isinstance(names, list) or not names:
        names = [config.get("model_type") or "unknown architecture"]
    stored = counted_dtype(str(path), "auto", None)
    words = any((path / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))
    lacks = "" if words else " It holds no tokenizer, without which it cannot read text."
    return Found(
        "model",
        f"A model: {names[0]}, {shape.parameters / 1e6:,.4g} million parameters in {shape.n_layers} layers, stored as "
        f"{stored}; it needs about {size(shape.needs('float32'))} as float32 and {size(shape.needs('bfloat16'))} as "
        f"bfloat16.{lacks}",
        shape,
        stored,
        _has_chat_template(path),
    )  # fmt: skip


def _gguf(path: Path) -> Found:
    file = read_gguf(path)
    shape, license_ = shape_of(path), f" License: {file.license}." if file.license else ""
    return Found(
        "model",
        f"A model in a GGUF file: {file.name} ({file.architecture}), {shape.parameters / 1e6:,.4g} million parameters "
        f"in {shape.n_layers} layers, stored as {file.quantization} in {size(file.size)}; unpacked it needs about "
        f"{size(shape.needs('float32'))} as float32 and {size(shape.needs('bfloat16'))} as bfloat16.{license_}",
        shape,
        file.dtype,
        file.has_chat_template,
        about=file.about,
    )


def _has_chat_template(path: Path) -> bool:
    if (path / "chat_template.jinja").is_file():
        return True
    kept = path / "tokenizer_config.json"  # where it stood before it had a file of its own
    return kept.is_file() and bool(_read(kept).get("chat_template"))


def _sae(path: Path) -> Found:
    if not (path / SAE_FILES[1]).is_file():
        return Found("nothing", f"An SAE folder holds {' and '.join(SAE_FILES)}; {str(path)!r} has no {SAE_FILES[1]}.")
    try:
        config = _read(path / SAE_FILES[0])
    except ValueError as error:
        return Found("nothing", str(error))
    metadata = config.get("metadata")
    about = {**config, **(metadata if isinstance(metadata, dict) else {})}
    hook = about.get("hook_name") or about.get("hook_point") or "an unnamed place"
    made_on = about.get("model_name") or "an unnamed model"
    d_in, d_sae = config.get("d_in", "?"), config.get("d_sae", "?")
    kind = config.get("architecture") or "standard"
    return Found("sae", f"An SAE ({kind}): {d_sae} features that read {hook} of {made_on}, width {d_in}.")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file.name} in {str(file.parent)!r} could not be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file.name} in {str(file.parent)!r} holds no settings.")
    return found


def _below(path: Path) -> Iterator[Path]:
    """The sub-folders that look like a model or an SAE, in order; hidden ones are passed over."""
    found = 0
    for looked, (place, folders, files) in enumerate(os.walk(path)):
        depth = len(Path(place).relative_to(path).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < _DEPTH else []
        if looked > _LOOKED_AT or found >= _MOST:
            return
        if depth and _useful(files) and may_open(place):
            found += 1
            yield Path(place)


def _useful(files: list[str]) -> bool:
    if any(name.endswith(".gguf") for name in files):
        return True
    weights = any(name.endswith(".safetensors") for name in files)
    return weights and ("config.json" in files or SAE_FILES[0] in files)
