"""The player of a dose strip as a widget: one slider over texts that are in the browser already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamlit.components import v2 as components

from ...showing.player import script, styles

_WRAPPER = """
export default function ({ data, parentElement, setTriggerValue }) {
  player(parentElement.querySelector(".player"), data, {
    use: (index) => setTriggerValue("use", index),
    road: (index) => setTriggerValue("road", index),
  })
}
"""
_component = components.component(
    "tiller_player", html='<div class="player"></div>', css=styles(), js=script() + _WRAPPER
)


def player(data: Mapping[str, Any], *, key: str) -> tuple[str, int] | None:
    """What was pressed just now: ("use" or "road", the index of the dose), or None.

    Args:
        data: of `showing.player.player_data`.
    """
    result = _component(key=key, data=dict(data), on_use_change=lambda: None, on_road_change=lambda: None)
    for name in ("use", "road"):
        index = result.get(name)
        if isinstance(index, int) and 0 <= index < len(data["doses"]):
            return name, index
    return None
