"""The Library's shelf of measurements: sweeps and experiments that were run here, their tables and their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ..shared import objects as services
from ..widgets.basics import literal
from . import saved as library

if TYPE_CHECKING:
    from ...library.store import SavedMeasurement

TABLES = ("table.csv", "grid.csv", "dose.csv")


def shelf(search: str) -> list[SavedMeasurement]:
    """Draw the table of measurements; return the chosen ones."""
    rows = services.store().measurements(search)
    if not rows:
        st.info("Nothing saved matches." if search else "No sweep or experiment yet. Run one under Measure.")
        return []
    table = [{"Name": r.name, "Kind": r.kind, "Model": r.model, "Saved": library.when(r.created)} for r in rows]
    return [rows[k] for k in library.pick(table, "library_measurements", several=True)]


def details(chosen: list[SavedMeasurement]) -> None:
    """Draw the chosen measurement: its table, and its files to download."""
    row = chosen[0]
    st.subheader(literal(row.name), anchor=False)
    library.name_and_delete("measurements", [one.id for one in chosen], row.id, row.name)
    files = services.store().measurement(row.id)
    table = next((files[name] for name in TABLES if name in files), None)
    if table is not None:
        _table(table)
    with st.container(horizontal=True, gap="small"):
        for name, path in files.items():
            st.download_button(
                name, path.read_bytes, name, key=f"library_file_{row.id}_{name}", on_click="ignore", type="tertiary"
            )


def _table(path: Path) -> None:
    import pandas as pd

    st.dataframe(pd.read_csv(path), hide_index=True, height=320)
