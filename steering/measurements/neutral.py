"""Plain texts with nothing to steer in them, to compare effects against."""

from __future__ import annotations

from pathlib import Path

NEUTRAL = Path(__file__).parents[2] / "assets" / "neutral"


def neutral_texts(model: str) -> list[str]:
    """The neutral texts for a model name: its own if it is bundled and has some, else general ones."""
    own = NEUTRAL / f"{Path(model).name}.txt"
    lines = (own if own.is_file() else NEUTRAL / "general.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip()]
