"""The strength slider: signed, filled from zero, with the range in which text stays fluent shaded."""

from __future__ import annotations

import math
from pathlib import Path

import streamlit as st
from streamlit.components import v2 as components

_PARTS = Path(__file__).parent / "components"
_HTML = """<div class="strength">
<div class="head"><span class="label"></span><span class="note"></span><output></output></div>
<div class="track"><div class="rail"></div><div class="band" hidden></div><div class="fill"></div>
<input type="range"></div>
<div class="ends"><span class="low"></span><span class="high"></span></div></div>"""

_component = components.component(
    "tiller_strength",
    html=_HTML,
    css=(_PARTS / "strength.css").read_text(encoding="utf-8"),
    js=(_PARTS / "strength.js").read_text(encoding="utf-8"),
)


def strength(
    label: str,
    value: float,
    *,
    key: str,
    low: float = -2.0,
    high: float = 2.0,
    step: float = 0.05,
    note: str = "",
    band: tuple[float, float] | None = None,
    disabled: bool = False,
    short: str = "",
    explanation: str = "",
    fine: bool = False,
    detail: str = "",
) -> float:
    """The strength that the visitor set, within `low` and `high` (a component's values are not checked for us).

    Args:
        note: the unit.
        detail: what the value is in other words, for example the raw coefficient; shown when the unit is pointed at.
        band: the range to shade.
        fine: whether the slider is finer near zero, where its middle is: half of its way is a quarter of its range.
        explanation: what the number does, shown at its label.
        short: what is written above the slider instead of the label, which stays its name for screen readers.
    """
    held = st.session_state.get(key)
    sent = held.get("value") if held is not None else None
    if isinstance(sent, int | float) and math.isfinite(sent):
        value = float(sent)
    value = min(high, max(low, value))
    data = {
        "label": label, "value": value, "low": low, "high": high, "step": step, "note": note, "detail": detail,
        "band": band, "disabled": disabled, "short": short or label, "help": explanation, "fine": fine,
    }  # fmt: skip
    result = _component(key=key, data=data, on_value_change=lambda: None)
    new = result.get("value")
    return min(high, max(low, float(new))) if isinstance(new, int | float) and math.isfinite(new) else value
