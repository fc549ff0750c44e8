"""What this machine offers a model (devices, memory, threads, quantized weights), and the form to choose from it."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import streamlit as st

from ...checkpoints.forms import BITS, SPREAD, Form
from ...checkpoints.places import DTYPES
from ..shared import objects as services
from ..widgets.basics import literal

if TYPE_CHECKING:
    from ...checkpoints.memory import Shape

NO_BITS = (
    "Loading with 8 or 4 bits a weight needs the package bitsandbytes, which is not installed: "
    "pip install bitsandbytes, then start Tiller again."
)


def devices() -> list[str]:
    """The devices that a model can be loaded on, the default first; "balanced" is all GPUs together."""
    import torch

    from ...checkpoints.places import best_device

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = [best_device(), *(f"cuda:{number}" for number in range(gpus) if gpus > 1)]
    if gpus > 1:
        found.append(SPREAD)
    return [*found, "cpu"] if "cpu" not in found else found


def quantizes() -> bool:
    """Whether 8- and 4-bit weights can be loaded."""
    return importlib.util.find_spec("bitsandbytes") is not None


def dtypes() -> list[str]:
    """The dtypes and bits that can be chosen here."""
    return [*DTYPES, *(BITS if quantizes() else ())]


def shown_device(device: str) -> str:
    """The name of a device, for a reader."""
    return {"cpu": "CPU", "mps": "Apple GPU", SPREAD: "all GPUs together"}.get(device, device.upper())


def strip() -> None:
    """Draw the machine's state: device, memory that a model may take, cores, and what is loaded."""
    from ...checkpoints.memory import size

    shelf, place = services.shelf(), devices()[0]
    loaded = shelf.loaded
    taken = sum(one.bytes for one in loaded)
    with st.container(horizontal=True, gap="medium"):
        st.metric("Device", shown_device(place), width="content")
        st.metric("A model may take", size(shelf.room(place)), width="content", help=MEMORY)
        st.metric("Counted for what is loaded", size(taken), width="content")
        st.metric("CPU cores", os.cpu_count() or 1, width="content")
    with st.expander(f"Loaded now: {len(loaded)}, and how models run", key="models_machine"):
        if loaded:
            rows = [
                {"What": one.name, "Memory": size(one.bytes), "Where": shown_device(one.device),
                 "Used now": "yes" if one.busy else "no"}
                for one in loaded
            ]  # fmt: skip
            st.dataframe(rows, hide_index=True, height="content")
            st.caption("The least recently used goes first when another needs the room; never one that is being used.")
        _threads()


MEMORY = (
    "Four fifths of the memory that was free when Tiller started, or what is free now if that is less. Models that "
    "nobody is using make room. The environment's TILLER_MEMORY_GB sets another limit."
)


def _set_threads() -> None:
    services.shelf().set_threads(int(st.session_state["models_threads"]) or None)


def _threads() -> None:
    cores = os.cpu_count() or 1
    if "models_threads" not in st.session_state:
        st.session_state["models_threads"] = services.shelf().threads or 0
    st.number_input(
        "Threads on the CPU (0 leaves it to the model's size)", 0, max(64, cores), key="models_threads",
        on_change=_set_threads, width=340,
        help="For every model on this server. Small models write fastest with one thread; on a machine that does other "
        "work, fewer threads are faster.",
    )  # fmt: skip


def choose_form(source: str, stored: str = "") -> Form:
    """Draw the choice of dtype and device for a model; return it as a `Form`."""
    places = devices()
    default = "as stored" if places[0] != "cpu" else "float32"
    dtype = st.selectbox(
        "Weights as", ["", *dtypes()], key="models_dtype", format_func=lambda name: name or f"Default ({default})",
        help=f"Interventions compute in float32 whatever is chosen.{f' The files are {stored}.' if stored else ''}",
    )  # fmt: skip
    device = st.selectbox("Device", places, key="models_device", format_func=shown_device)
    if not quantizes():
        st.caption(literal(NO_BITS, 300))
    products = _choose_products() if device == "cpu" and dtype in ("", "float32") else ""
    return Form(source, str(dtype or ""), "" if device == places[0] else str(device), products)


def _choose_products() -> str:
    """Draws the choice of the matrix products' dtype where this processor has one: "" is float32."""
    from ...models.packing import bfloat16_is_native

    if not bfloat16_is_native():
        return ""
    return st.selectbox(
        "Multiply in", ["", "bfloat16"], key="models_products", format_func=lambda name: name or "float32 (exact)",
        help="bfloat16 writes about twice as fast here. The weights, the stream and every edit stay in float32; a "
        "greedy text parts from the exact one after some 25 tokens, so compare texts of one precision only.",
    )  # fmt: skip


def fits(shape: Shape, dtype: str, room: int) -> str:
    """The memory that a model needs in a dtype, and a sentence on whether it fits."""
    from ...checkpoints.memory import size

    needed = shape.needs(dtype)
    return f"{size(needed)}, {'fits' if needed <= room else 'does not fit'}"


def counted(form: Form, stored: str) -> str:
    """The dtype by which a form's memory is counted."""
    on_cpu = (form.device or devices()[0]) == "cpu"
    return form.dtype or ("float32" if on_cpu else stored or "bfloat16")
