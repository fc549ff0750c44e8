"""Whether a checkpoint is complete: its files hold exactly the model's weights, and are no Git LFS pointers.

transformers fills missing weights with random numbers and ignores unknown ones, with only a logged warning; everything
would then be measured on a wrong model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tokenizer_config.json")
_POINTER = b"version https://git-lfs"
# Buffers that older files hold and models compute, and the heads that predict further tokens in training.
_HARMLESS = re.compile(
    r"(rotary_emb\.inv_freq|\.inv_freq|\.masked_bias|attn\.bias|attention\.bias|\.position_ids|num_batches_tracked|"
    r"rotary_emb\.(cos|sin)_cached|embed_positions\.weights)$|(^|\.)mtp\."
)


def check_folder(folder: str | Path) -> None:
    """Raise ValueError if a model folder holds no tokenizer, or pointers in the place of files."""
    path = Path(folder)
    for file in sorted((*path.glob("*.json"), *path.glob("*.safetensors"), *path.glob("tokenizer.model"))):
        with file.open("rb") as opened:
            if opened.read(len(_POINTER)) == _POINTER:
                raise ValueError(
                    f"{file.name} is a Git LFS pointer, the address of a file and not the file. Fetch the files "
                    "themselves: git lfs pull, or hf download."
                )
    if not any((path / name).is_file() for name in TOKENIZERS):
        raise ValueError(
            "the folder has no tokenizer files (tokenizer.json, or tokenizer.model). Copy those of the model that it "
            "was made from."
        )


def is_json(file: Path) -> bool:
    """Whether a file parses as JSON."""
    try:
        json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return False
    return True


def check_adapter(path: Path) -> None:
    """Raise ValueError if a folder holds a PEFT adapter, alone or beside a model: it would not be applied."""
    file = path / "adapter_config.json"
    if not file.is_file():
        return
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        about = {}
    raise ValueError(adapter_sentence(about if isinstance(about, dict) else {}))


def adapter_sentence(about: Mapping[str, Any]) -> str:
    """Why a folder with an adapter, or a repository of one, is not loaded, and what to do."""
    kind, base = about.get("peft_type") or "PEFT", about.get("base_model_name_or_path")
    return (
        f"it holds an adapter ({kind}, adapter_config.json), a change of {base or 'another model'} that would be left "
        "out. Merge it into the model's weights first (peft: model.merge_and_unload(), then save_pretrained), and open "
        "that folder; to open the model without it, take the adapter's files away."
    )


def check_weights(found: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
    """Raise ValueError if what transformers says of its loading is not "every weight, and nothing else".

    Args:
        found: its loading info: missing, unexpected and mismatched keys.
        shapes: the name of every parameter of the model, of which there are some.
    """
    missing, wrong = sorted(found.get("missing_keys") or ()), list[Any](found.get("mismatched_keys") or ())
    left = sorted(key for key in found.get("unexpected_keys") or () if not _HARMLESS.search(key))
    if wrong:
        first = [str(v).removeprefix("torch.Size(").rstrip(")") for v in min(map(tuple, wrong), key=str)]
        sizes = f" ({first[1]} in the file, {first[2]} by config.json)" if len(first) == 3 else ""
        raise ValueError(
            f"{_count(len(wrong))} another shape than config.json gives, such as {first[0]}{sizes}. Its config.json "
            "and its weights are not of one model."
        )
    if missing:
        beside = f" The files hold {left[0]!r} instead, which the model does not know." if left else ""
        raise ValueError(
            f"{len(missing)} of its {len(shapes)} weights are missing in its files, such as {missing[0]}, and would be "
            f"random.{beside} Give the whole checkpoint, with a config.json that fits it."
        )
    if left:
        raise ValueError(
            f"its files hold {_count(len(left)).removesuffix(' have').removesuffix(' has')} more than the model that "
            f"config.json describes, such as {left[0]}, which would be left out (fewer layers, another head?). Give a "
            "config.json that fits the weights."
        )
    if errors := found.get("error_msgs"):
        raise ValueError(f"its weights do not fit: {next(iter(errors))}.")


def _count(n: int) -> str:
    return "one weight has" if n == 1 else f"{n} weights have"


def has_adapter(names: Iterable[str]) -> bool:
    """Whether a repository, by the names of its files, holds a PEFT adapter."""
    return "adapter_config.json" in set(names)
