"""Load a language model: a bundled one, a Hugging Face folder, a GGUF file, or one on the hub."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from ..checkpoints.bundled import bundled_models
from ..checkpoints.downloads import Tick, fetch
from ..checkpoints.gguf_file import read_gguf
from ..checkpoints.memory import check_fits, shape_of
from ..checkpoints.places import (
    DTYPES,
    best_device,
    counted_dtype,
    default_threads,
    placement,
    source_of,
)
from ..checkpoints.wholeness import check_folder, check_weights, is_json
from ..jobs.files import home
from ..jobs.jobs import Cancelled
from .checks.rows_check import check_rows
from .gguf_reading import unpack
from .mapped import map_later
from .model import Model
from .packing import Products, bfloat16_is_native
from .rope import by_rows


def load_model(
    name: str | Path,
    *,
    device: str | None = None,
    dtype: torch.dtype | str | None = None,
    revision: str | None = None,
    threads: int | None = None,
    device_map: str | dict[str, Any] | None = None,
    quantize: int | None = None,
    products: Products = "float32",
    tick: Tick | None = None,
) -> Model:
    """A model by bundled name ("smollm2", "organism"), Hugging Face folder, GGUF file, or hub id, with raw numerics.

    Raw: no folded norms, no centered weights; activations are those of transformers (and of an unprocessed bridge).
    Only safetensors and GGUF are read and no remote code is run. The weights of a GGUF file (or of a folder with one,
    or of an Ollama model, "ollama:llama3.2:1b") are unpacked to the dtype; what quantization took stays lost.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps"; default the best there is.
        dtype: "float32", "bfloat16" or "float16"; default float32 on the CPU and the checkpoint's own on an
            accelerator.
        revision: branch, tag or commit on the hub.
        threads: torch threads on the CPU; default one below 20 M parameters, the cores otherwise.
        device_map: parts of the model on several GPUs, as accelerate has it ("auto", "balanced").
        quantize: 8 or 4 bits a weight, by bitsandbytes where it is installed.
        products: "bfloat16" multiplies matrices in bfloat16 on the CPU, about twice as fast where the processor does it
            natively; the residual stream and every edit stay in float32. Greedy texts part after some 25 tokens.
        tick: called while a hub model is fetched, with the bytes that are here and the bytes in all; may raise.

    Raises:
        ValueError: not a model folder or file, no safetensors, no access, not enough memory, or an architecture
            TransformerLens has no adapter for.
    """
    source, device = source_of(name), device or best_device()
    if dtype is None:
        dtype = torch.float32 if device == "cpu" and not quantize else "auto"
    if str(dtype).removeprefix("torch.") not in (*DTYPES, "auto"):
        raise ValueError(f"A dtype is one of {', '.join(DTYPES)}; got {dtype!r}.")
    if products not in ("float32", "bfloat16"):
        raise ValueError(f"Products are made in float32 or bfloat16; got {products!r}.")
    if products == "bfloat16" and not (device == "cpu" and bfloat16_is_native()):
        raise ValueError(
            "Products in bfloat16 need a processor that multiplies it natively (AVX512_BF16 or AMX) and a model on the "
            "CPU. Leave products out; on an accelerator, dtype='bfloat16' does the same."
        )
    options = placement(device, device_map, quantize)
    near, known = _near(str(name)), f" Bundled models: {', '.join(bundled_models()) or 'none'}."
    if not Path(source).exists():
        try:
            fetched = fetch(source, revision=revision, tick=tick)
        except ValueError as error:
            raise ValueError(f"{near}The model {str(name)!r} could not be loaded: {error}{known}") from error
        source, revision = str(fetched.folder), fetched.revision
    counted = counted_dtype(source, dtype, quantize)
    if device_map is None:
        check_fits(str(name), shape_of(source), counted, device)
    from_file = Path(source).is_file()
    if from_file and quantize:
        raise ValueError("A GGUF file is quantized already and is unpacked here; open it without quantize.")
    try:
        if from_file:
            hf, tokenizer = unpack(Path(source), getattr(torch, counted), options)
        else:
            check_folder(source)
            _check_size(source)
            loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True,
                ignore_mismatched_sizes=True, **options,
            )  # fmt: skip
            hf, found = loaded
            check_weights(found, hf.state_dict())
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Cancelled:  # cancelled by the progress callback, not a loading error
        raise
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        said = _said(error, source)
        raise ValueError(f"{near}The model {str(name)!r} could not be loaded: {said}{known}") from error
    except Exception as error:
        # Anyone may have written these files, so any error of transformers' is reported as a fault of the file.
        what = "GGUF file" if from_file else "model"
        raise ValueError(f"The {what} {str(name)!r} could not be read: {error!r}.{known}") from error
    if any(parameter.is_meta for parameter in hf.parameters()):
        raise ValueError(
            f"{name} does not fit on the devices of this machine: parts of it would wait on the CPU or the disk. Use a "
            "smaller dtype, quantize=8 or quantize=4, or a smaller model."
        )
    hf = hf if options else hf.to(device)
    model = wrap_model(hf, tokenizer, str(name), revision)
    model.products = products
    if from_file:
        file = read_gguf(source)
        model.file = {**file.about, "sha256": file.fingerprint()}
        if device == "cpu" and counted == "float32":
            map_later(hf, home() / "unpacked" / f"{model.file['sha256'][:24]}.safetensors", model.lock)
    if threads:
        torch.set_num_threads(threads)
    elif device == "cpu":
        torch.set_num_threads(default_threads(model.n_parameters))
    return model


def _check_size(source: str) -> None:
    """Raise ValueError if a config.json without sizes stands for a far larger model than the weights hold.

    transformers fills in what is missing, and would build a model of billions of parameters before it looks.
    """
    shape = shape_of(source)
    if shape.n_layers:
        return
    config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
    with torch.device("meta"):
        described = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False).num_parameters()
    if described > 2 * shape.parameters + 100_000_000:
        raise ValueError(
            f"its config.json gives no number of layers and so stands for {described:,} parameters; the weights hold "
            f"{shape.parameters:,}. Copy the config.json that belongs to them."
        )


def wrap_model(hf: nn.Module, tokenizer: Any, name: str = "", revision: str | None = None) -> Model:
    """A transformers model that is already in memory, as a `Model`; the module itself, set to evaluation.

    Raises:
        ValueError: an architecture that TransformerLens has no adapter for.
    """
    by_rows(hf)
    model = Model(name or type(hf).__name__, hf.eval().requires_grad_(False), tokenizer, revision)
    if len(model.places) != model.n_layers:  # raises here, and not at the first use
        raise ValueError(f"{model.name} has {model.n_layers} blocks, of which {len(model.places)} were run.")
    check_rows(model)
    return model


def _near(name: str) -> str:
    """A question that names similar bundled models, to put in front of the error; "" if there are none."""
    near = difflib.get_close_matches(name, bundled_models(), n=2, cutoff=0.7)
    return f"Did you mean {' or '.join(map(repr, near))}? " if near else ""


def _said(error: Exception, source: str) -> str:
    """A loading error in one sentence for the user, without transformers' internals."""
    said = _first_line(error)
    if isinstance(error, json.JSONDecodeError) and Path(source).is_dir():
        broken = next((file.name for file in sorted(Path(source).glob("*.json")) if not is_json(file)), "a JSON file")
        return f"{broken} is damaged ({said}). Fetch it again."
    if "ignore_mismatched_sizes" in said:
        return "the shapes of its weights are not those that its settings give."
    if isinstance(error, ImportError):
        return (
            f"{said.rstrip('.')}. Install what is named there, or use another form of this model (bfloat16, or a GGUF "
            "file)."
        )
    if "backend tokenizer" in said:
        return "its tokenizer files (tokenizer.json, or tokenizer.model) could not be read. Fetch them again."
    return said


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
