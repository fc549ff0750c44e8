"""The feature index of an SAE as the pages find it: where it lies, and opening it once for all visitors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from ...features import FeatureIndex
    from ...jobs.kept import Kept
    from ...models.model import Model
    from ...saes.sae import Sae


INDEX_BYTES = 2**29  # of the arrays of opened indexes: some fifty of the size that ships


@st.cache_resource(show_spinner=False)
def _opened() -> Kept:
    """The opened indexes, within INDEX_BYTES."""
    from ...jobs.kept import Kept

    return Kept(INDEX_BYTES, index_bytes)


def index_bytes(value: Any) -> int | None:
    """The bytes of an opened index's arrays; None for anything else."""
    arrays = getattr(value, "arrays", None)
    return sum(array.nbytes for array in arrays.values()) if isinstance(arrays, dict) else None


def _index(folder: str, changed: float) -> FeatureIndex:
    return _opened().get((folder, changed), lambda: _open(folder))


def _open(folder: str) -> FeatureIndex:
    from ...features import FeatureIndex, Notes
    from ...jobs.files import home
    from ...library.space import used

    used(Path(folder))
    return FeatureIndex.open(folder, Notes(home() / "notes.sqlite"))


def find_index(lm: Model, sae: Sae) -> FeatureIndex | None:
    """The feature index of an SAE, or None where none was built.

    Raises:
        ValueError: there is one, but it is damaged or was made from another model or SAE.
    """
    from ...features import locate
    from ...jobs.files import home

    folder = locate(sae, lm, home())
    base = folder / "features.sqlite"
    if not base.is_file():
        return None
    index = _index(str(folder), base.stat().st_mtime)
    if not index.fits(lm, sae):
        raise ValueError(f"The feature index of {sae.name} was made from other weights. Build it again.")
    return index


def maybe_index(lm: Model, sae: Sae | None) -> FeatureIndex | None:
    """The feature index of an SAE, or None where there is no SAE, no index, or a damaged one."""
    try:
        return None if sae is None else find_index(lm, sae)
    except ValueError:
        return None


def home_of_index(lm: Model, sae: Sae) -> Path:
    """Where the index of an SAE is or would be."""
    from ...features import locate
    from ...jobs.files import home

    return locate(sae, lm, home())
