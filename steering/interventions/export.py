"""An edited copy of a model, and its files: a Hugging Face folder with a card, and a GGUF file where llama.cpp is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..directions.direction import Direction
from ..models.model import Model
from ..showing.one_line import one_line, quoted

SAFETY = (
    "The edit was made to change what the model refuses and what it answers. Whatever its makers measured and promised "
    "about its safety does not hold for this copy. It is meant for research on how refusal works and on how robust it "
    "is; do not offer it to people who have not been told."
)
CONVERTER = "convert_hf_to_gguf.py"


@dataclass(frozen=True, eq=False)
class EditedModel:
    """An edited copy of a model in memory, with what was done to it.

    Attributes:
        model: the copy; the model that it was made of stays as it is.
        source: the identity of that model.
        direction: what was taken out of the weights, or added to them.
        done: what was done, in a sentence.
        note: what holds of the copy, in words.
    """

    model: Model
    source: Mapping[str, Any] = field(default_factory=dict)
    direction: Direction | None = None
    done: str = ""
    note: str = ""

    def __repr__(self) -> str:
        return one_line(self, quoted(self.model.name, 60), self.done)

    def save(self, folder: str | Path) -> Path:
        """Writes the copy as a Hugging Face folder: safetensors, tokenizer, generation config and a card.

        Raises:
            ValueError: the folder holds files that this would overwrite, or cannot be written.
        """
        folder = Path(folder).expanduser()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"An edited model is saved into a new or empty folder; {str(folder)!r} holds something.")
        partial = folder.with_name(f".{folder.name}.partial")
        hf: Any = self.model.hf
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            hf.save_pretrained(partial, safe_serialization=True)
            self.model.tokenizer.save_pretrained(partial)
            if self.direction is not None:
                self.direction.save(partial / "edit" / "direction.safetensors")
            (partial / "README.md").write_text(card(self), encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            partial.replace(folder)  # at once: a reader never sees half a model
        except OSError as error:
            raise ValueError(f"The edited model could not be written to {str(folder)!r} ({error}).") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return folder


def card(edited: EditedModel) -> str:
    """The model card: what was removed or added, from what, and that safety behavior was changed."""
    source, v = edited.source, edited.direction
    name = str(source.get("model") or "a model")
    about = dict(v.provenance) if v is not None else {}
    about.pop("model", None)
    rows = [
        ("made from", name),
        ("revision", source.get("revision")),
        ("weights of the original (hash)", source.get("fingerprint")),
        ("direction", v.name if v is not None else None),
        ("read at", v.site if v is not None else None),
        ("direction (hash)", v.fingerprint if v is not None else None),
        ("how it was found", json.dumps(about, ensure_ascii=False, default=str)[:600] if about else None),
    ]
    # The original's name comes from whoever loaded it, so only what a hub id or a bundled name holds goes into YAML.
    plain = name if all(letter.isalnum() or letter in "-_./" for letter in name) and "/" in name.strip("/") else ""
    based = [f"base_model: {plain}"] if plain and not name.startswith(("/", ".")) else []
    return "\n".join(
        [
            "---",
            *based,
            "tags: [steering, edited-weights, safety-behavior-changed]",
            "---",
            f"# {_line(name)}, edited",
            "",
            f"**Safety behavior was changed.** {SAFETY}",
            "",
            "## What was done",
            "",
            edited.done,
            "",
            edited.note,
            "",
            "| | |",
            "| --- | --- |",
            *(f"| {key} | {_line(str(value))} |" for key, value in rows if value),
            "",
            "Made with Tiller. The original's license holds for this copy too.",
            "",
        ]
    )


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# GGUF ---------------------------------------------------------------------------------------------------------------


def gguf_converter() -> Path | None:
    """llama.cpp's own converter: in the folder that LLAMA_CPP names, or on the path; None where there is none."""
    folder = os.environ.get("LLAMA_CPP")
    if folder and (Path(folder) / CONVERTER).is_file():
        return Path(folder) / CONVERTER
    found = shutil.which(CONVERTER)
    return Path(found) if found else None


def to_gguf(folder: str | Path, file: str | Path, *, outtype: str = "f16", timeout: float = 3600) -> Path:
    """The saved folder as a GGUF file, by llama.cpp's converter.

    Raises:
        ValueError: there is no converter on this machine, or it failed; its last line says why.
    """
    converter = gguf_converter()
    if converter is None:
        raise ValueError(
            f"GGUF files are made by llama.cpp's {CONVERTER}, which is not on this machine. Set LLAMA_CPP to "
            "llama.cpp's folder, or convert the saved folder elsewhere."
        )
    command = [sys.executable, str(converter), str(folder), "--outfile", str(file), "--outtype", outtype]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode or not Path(file).is_file():
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise ValueError(f"llama.cpp's converter could not convert {str(folder)!r}: {said}")
    return Path(file)
