"""What the Library page does with saved directions, and with everything saved: name it, delete it, undo that."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...plots import matrices
from ...recipes.steps import Step, Variant
from ..shared import objects as services
from ..shared.directions import require_fitting_sae, saved_direction
from ..steer import comparing, editor
from ..widgets import theme
from ..widgets.basics import chart, clear_errors, literal

if TYPE_CHECKING:
    from ...directions.control_vectors import Numbering
    from ...directions.direction import Direction
    from ...library.store import SavedDirection
    from ...models.model import Model

COMPARE = "pages/steer/compare.py"
DELETED = "library_deleted"
WRITERS: dict[Numbering, str] = {
    "block": "repeng, Tiller, or a file made for llama.cpp's --control-vector (direction.1 is block 1)",
    "output": "llama-cvector-generator (direction.1 is block 0)",
}


def when(time: float) -> str:
    """A time stamp as text, for a reader."""
    return datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M")


def pick(rows: list[dict[str, Any]], key: str, *, several: bool) -> list[int]:
    """Draw a table; return the numbers of the chosen rows."""
    event = st.dataframe(
        rows,
        hide_index=True,
        key=key,
        on_select="rerun",
        selection_mode="multi-row" if several else "single-row",
        height=min(420, 38 + 35 * max(1, len(rows))),
    )
    return [number for number in event["selection"]["rows"] if number < len(rows)]  # type: ignore[index]


def _rename(kind: str, row_id: str, key: str) -> None:
    with clear_errors():
        services.store().rename(kind, row_id, st.session_state[key])


def _delete(kind: str, ids: list[str]) -> None:
    for row_id in ids:
        services.store().delete(kind, row_id)
    st.session_state[DELETED] = (kind, ids)


def _undo() -> None:
    kind, ids = st.session_state.pop(DELETED)
    for row_id in ids:
        services.store().restore(kind, row_id)


def undo_bar() -> None:
    """Offer to bring back what was deleted last."""
    if DELETED in st.session_state:
        kind, ids = st.session_state[DELETED]
        with st.container(horizontal=True, vertical_alignment="center", border=True):
            st.text(f"Deleted {len(ids)} of your {kind}.", width="stretch")
            st.button("Undo", key="library_undo", on_click=_undo, icon=":material/undo:")


# Directions ---------------------------------------------------------------------------------------------------------


def directions(search: str) -> list[SavedDirection]:
    """Draw the table of directions; return the chosen ones."""
    rows = services.store().directions(search)
    if not rows:
        st.info("Nothing saved matches." if search else "No direction yet. Build one under Build, or import a file.")
        return []
    table = [
        {
            "Name": r.name,
            "Site": r.site,
            "Space": r.space,
            "Model": r.model,
            "Made by": r.method,
            "Norm": round(r.norm, 3),
            "Saved": when(r.created),
        }
        for r in rows
    ]
    return [rows[i] for i in pick(table, "library_directions", several=True)]


def direction_details(chosen: list[SavedDirection], lm: Model) -> None:
    """Draw the chosen directions' details and actions."""
    if len(chosen) > 1:
        with clear_errors():
            _compare(chosen)
    first = chosen[0]
    st.subheader(literal(first.name), anchor=False)
    name_and_delete("directions", [row.id for row in chosen], first.id, first.name)
    with st.container(horizontal=True):
        st.button(
            "Steer with this",
            key="library_steer",
            on_click=_steer,
            args=(first, lm.name),
            type="primary",
            icon=":material/tune:",
        )
        with st.popover("Export", icon=":material/download:"), clear_errors():
            _export_direction(first, lm)
    st.markdown("**Where it came from**")
    with st.container(border=True, gap="xsmall", key="library_origin"):
        for name, value in origin(first.about):
            st.caption(f"**{literal(name)}** {literal(value, 200)}")


def origin(about: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A direction's provenance as (name, value) in reading order; nested names are joined."""
    found = []
    for name, value in about.items():
        shown = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            found += origin(value, f"{shown} ")
        elif value not in (None, "", [], ()):
            found.append((shown, str(value)))
    return found


def name_and_delete(kind: str, ids: list[str], row_id: str, name: str) -> None:
    """Draw the field with the name of what is chosen, and the button that deletes it."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        key = f"library_name_{row_id}"
        st.text_input("Name", name, key=key, max_chars=200, on_change=_rename, args=(kind, row_id, key))
        label = "Delete" if len(ids) == 1 else f"Delete {len(ids)}"
        st.button(label, key=f"library_delete_{kind}", on_click=_delete, args=(kind, ids), icon=":material/delete:")


def _steer(row: SavedDirection, model: str) -> None:
    comparing.start(services.model(model))
    step = Step(
        "add", direction=f"saved:{row.id}", alpha=0.5, space="feature" if row.space == "features" else "residual"
    )
    editor.load(comparing.RECIPE, (Variant(row.name[:40], (step,)),))
    comparing.go()
    st.session_state["library_goto"] = COMPARE


def goto() -> None:
    """Move to the page that a button asked for."""
    if page := st.session_state.pop("library_goto", None):
        st.switch_page(page, query_params={})


def _compare(chosen: list[SavedDirection]) -> None:
    from ...measurements.numbers import cosine_similarity

    found: list[Direction] = [saved_direction(row.id) for row in chosen]
    if len({direction.decoded().numel() for direction in found}) > 1:
        raise ValueError("Directions of different width cannot be compared; choose those of one model.")
    names = [direction.name for direction in found]
    figure = matrices.heatmap(cosine_similarity(found).tolist(), names, names, theme.palette())
    chart(
        figure,
        title="How alike the chosen directions are",
        caption="Cosine in the residual stream: 1 the same way, 0 unrelated, -1 opposite.",
        key="library_cosines",
    )


def _export_direction(row: SavedDirection, lm: Model) -> None:
    from ...directions.control_vectors import save_gguf

    store = services.store()
    about = {"name": row.name, "site": row.site, "space": row.space, "norm": row.norm, "provenance": dict(row.about)}

    def vector() -> str:
        direction = saved_direction(row.id)
        return json.dumps({**about, "vector": direction.vector.tolist()}, ensure_ascii=False, default=str)

    def control_vector() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            kind = str(getattr(lm.hf.config, "model_type", "unknown"))
            path = save_gguf(Path(folder) / "v.gguf", [saved_direction(row.id)], numbering="block", model_hint=kind)
            return path.read_bytes()

    files = [
        ("safetensors", "safetensors", lambda: store.file(row.id).read_bytes()),
        ("JSON", "json", vector),
    ]
    if row.site.endswith("resid_post") and row.site != "blocks.0.hook_resid_post":
        files.insert(1, ("GGUF control vector (repeng, llama.cpp)", "gguf", control_vector))
    else:
        st.caption("A GGUF control vector is added to resid_post from layer 1 on; this direction is elsewhere.")
    for label, ending, make in files:
        name = "".join(char if char.isalnum() else "-" for char in row.name)[:60] or "direction"
        st.download_button(
            label, make, f"{name}.{ending}", key=f"library_export_{ending}", on_click="ignore", type="tertiary"
        )


def import_direction(lm: Model) -> None:
    """Draw the import of a direction from safetensors, GGUF or JSON."""
    upload = st.file_uploader(
        "Import a direction", ["safetensors", "gguf", "json"], key="library_import", max_upload_size=20
    )
    if upload is None or st.session_state.get("library_imported") == upload.file_id:
        return
    numbering = _numbering() if upload.name.lower().endswith(".gguf") else "block"
    if numbering is None:
        return
    with clear_errors():
        found = read(upload.name, upload.getvalue(), numbering)
        for direction in found:  # all of them fit, or none is saved
            direction.check(lm)
        services.store().save_directions(found)
        st.session_state["library_imported"] = upload.file_id
        st.rerun()


def _numbering() -> Numbering | None:
    """Draw the question what a control vector's numbers mean; return the answer once Import was clicked."""
    chosen = st.radio(
        "What wrote the control vector?", list(WRITERS), format_func=WRITERS.__getitem__, key="library_numbering",
        help="The two count layers differently, and the file does not say which it is: read the wrong way, every "
        "direction lands one layer too late or too early.",
    )  # fmt: skip
    return chosen if st.button("Import", key="library_import_gguf", icon=":material/upload:") else None


def read(name: str, data: bytes, numbering: Numbering = "block") -> list[Direction]:
    """The directions of an uploaded file.

    Args:
        numbering: what the numbers of a GGUF control vector mean; see `directions.control_vectors`.

    Raises:
        ValueError: it holds none, or not in one of the formats.
    """
    from ...directions.control_vectors import load_gguf
    from ...directions.direction import Direction

    ending = Path(name).suffix.lower()
    if ending == ".json":
        return [_from_json(data, Path(name).name)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name  # its own name, for the messages
        path.write_bytes(data)
        if ending == ".gguf":
            return [replace(d, name=f"{Path(name).stem} {d.site.layer}") for d in load_gguf(path, numbering=numbering)]
        return [Direction.load(path, services.maybe_sae())]


def _from_json(data: bytes, file: str) -> Direction:
    import torch

    from ...directions.direction import Direction
    from ...jobs.reading import read_json
    from ...sites import Site

    rule = f"{file}: a direction in JSON is an object with site and vector, as Export writes it"
    about = read_json(data, file)
    if not isinstance(about, dict):
        raise ValueError(f"{rule}; this file is none.")
    if missing := [key for key in ("site", "vector") if key not in about]:
        raise ValueError(f"{rule}; this one has no {missing[0]}.")
    numbers = about["vector"]
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        raise ValueError(f"{rule}; its vector is no list of numbers.")
    sae = require_fitting_sae() if about.get("space") == "features" else None
    provenance = about.get("provenance") or {}
    if not isinstance(provenance, dict):
        raise ValueError(f"{rule}; its provenance is no object.")
    name = str(about.get("name", ""))[:200]
    try:
        vector = torch.tensor([float(number) for number in numbers])
    except OverflowError:
        raise ValueError(f"{rule}; its vector holds a number beyond float32.") from None
    return Direction(vector, Site.parse(str(about["site"])), sae, name, provenance)
