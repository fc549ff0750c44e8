"""Directions that ship as files, so that a real model's first screen need not read a hundred pairs first.

`python -m steering.directions.shipped MODEL` makes them again. A file is used only if weights, pairs, contrast,
position and site are those it was made with; otherwise the direction is read from the model.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..models.model import Model
from ..sites import Site
from .direction import Direction
from .pairs import PairSet

FOLDER = Path(__file__).parents[2] / "assets" / "directions"
MADE = {"smollm2": (("general_sycophancy", "blocks.15.hook_resid_post"),)}  # by the mean difference over the answers


def _file(model: str, pairs: str, site: Site) -> Path:
    return FOLDER / model / f"{pairs}.{site}.safetensors"


def shipped(lm: Model, pairs: PairSet, site: Site, contrast: str, position: str | int) -> Direction | None:
    """The shipped direction of a pair set at a site of a model, or None where there is none of just these."""
    path = _file(lm.name, pairs.name, site)
    if (pairs.name, str(site)) not in MADE.get(lm.name, ()) or not path.is_file():
        return None
    found = Direction.load(path)
    about = found.provenance
    same = (
        about.get("method") == contrast
        and about.get("position") == position
        and dict(about.get("pairs") or {}).get("hash") == pairs.content_hash
        and dict(about.get("model") or {}).get("fingerprint") == lm.fingerprint
    )
    return found if same else None


def write(model: str) -> list[Path]:
    """Read the directions of a model that ship from its pairs, and write their files."""
    from ..models.loading import load_model
    from .contrasts import mean_difference

    lm, written = load_model(model), []
    for pairs, name in MADE[model]:
        site = Site.parse(name)
        path = _file(model, pairs, site)
        written.append(mean_difference(lm, PairSet.load(pairs), site).save(path))
    return written


if __name__ == "__main__":
    for path in write(*sys.argv[1:2] or ["smollm2"]):
        print(path.relative_to(FOLDER.parent))
