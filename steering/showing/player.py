"""A dose strip to play with: the data of its one slider, and a page of it that works offline.

The drawing, the slider and the cards are plain JavaScript beside this file, the same in the dashboard and in the page.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .glossary import explain
from .visible import visible

_HERE = Path(__file__).parent
PARTS = ("drawing", "dial", "cards", "tools", "parted", "film")
KEPT = "\n"  # line breaks stay line breaks in a text
WORDS = ("strength", "surprise", "repetition", "layer", "direction")


def script() -> str:
    """The JavaScript that draws a player: `player(root, data, on)`."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in ("player.js", "drawing.js"))


def styles() -> str:
    """The CSS of a player; its colors are the variables of a Streamlit theme."""
    return (_HERE / "player.css").read_text(encoding="utf-8")


def said(strength: float | None, from_zero: bool = True, signed: bool = True) -> str:
    """A strength as it is written: with a real minus, without trailing zeros; the baseline is 0 or "off"."""
    if strength is None:
        return "0" if from_zero else "off"
    return f"{strength if signed else abs(strength):.4g}".replace("-", "−")


def player_data(
    strip: Mapping[str, Any],
    *,
    label: str = "Strength of the push",
    unit: str = "layer norms",
    plain: str = "Without steering",
    steered: str = "Steered with",
    signed: bool = True,
    from_zero: bool = True,
    best: int = 0,
    drawing: Mapping[str, Any] | None = None,
    parts: Sequence[str] = PARTS,
    roads: Mapping[str, Any] | None = None,
    can: Sequence[str] = (),
    guess: bool = False,
    large: bool = False,
    running: bool = False,
    idle: str = "",
    asked: str = "",
    opened: bool = False,
) -> dict[str, Any]:
    """What a player is drawn from, as JSON data with no character that could act unseen.

    Args:
        strip: the data of a `DoseStrip`, or of one whose texts are still being written.
        label, unit: the slider's name and its unit.
        plain, steered: what stands over the text of the baseline, and before the strength over the steered one.
        signed: whether strengths show their sign.
        from_zero: whether a strength of zero is the baseline.
        best: the index at which the slider begins.
        drawing: the last words of the prompt, how many layers there are, which one is steered and what is done there.
        roads: the roads not taken, by strength as it is written.
        can: "use" and "road", for buttons that somebody answers.
        guess: hide the steered texts until they are asked for.
        running: the texts are still being written.
        idle: what stands in place of a text before there is one.
        opened: show at once where the paths part.
        asked: names the question; what the reader chose is kept while it stays the same.
    """
    doses = [_dose(dose, dose.get("said") or said(dose["strength"], from_zero, signed)) for dose in strip["doses"]]
    words = {name: explain(name) for name in WORDS} | {"unit": explain(unit) if unit == "layer norms" else ""}
    return {
        "doses": doses, "turn": strip.get("turn"), "breaks": strip.get("breaks"),
        "turned": list(strip.get("turned", ())), "best": best, "label": label,
        "unit": unit, "plain": plain, "steered": steered, "drawing": drawing, "words": words, "parts": list(parts),
        "roads": dict(roads or {}), "can": {name: name in can for name in ("use", "road")}, "guess": guess,
        "large": large, "running": running, "idle": idle, "asked": asked, "opened": opened,
        "version": f"{asked} {running} {[dose['said'] for dose in doses]}",
    }  # fmt: skip


def _dose(dose: Mapping[str, Any], written: str) -> dict[str, Any]:
    found = {
        "said": written,
        "text": visible(dose["text"], KEPT),
        "pieces": [visible(piece, KEPT) for piece in dose.get("pieces", ())],
        "surprise": dose.get("surprise"),
        "repetition": dose.get("repetition", 0.0),
        "at": None,
        "chances": [],
    }
    if (parting := dose.get("parting")) is not None:
        found["at"] = parting["at"]
        found["chances"] = [
            {
                "text": visible(one["text"], KEPT),
                "baseline": one["baseline"],
                "steered": one["steered"],
                "took": [one["token"] == parting["baseline"], one["token"] == parting["steered"]],
            }
            for one in parting["chances"]
        ]
    return found


_LIGHT = {
    "text-color": "#24221f", "gray-text-color": "#68645d", "border-color": "#e3dfd5", "blue-color": "#0b7285",
    "orange-color": "#c2570c", "orange-text-color": "#b34f0a", "background-color": "#fdfcf9",
    "secondary-background-color": "#f4f2ec", "primary-color": "#0b7285",
}  # fmt: skip
_DARK = {
    "text-color": "#e9e6df", "gray-text-color": "#b3ada3", "border-color": "#33353a", "blue-color": "#4fbccd",
    "orange-color": "#f08c46", "orange-text-color": "#f5a467", "background-color": "#141517",
    "secondary-background-color": "#1d1f22", "primary-color": "#4fbccd",
}  # fmt: skip
_FRAME = """html { font-size: 17px; } body { margin: 0 auto; max-width: 74rem; padding: 1.6rem 1.2rem 3rem;
  background: var(--st-background-color); color: var(--st-text-color); font-family: var(--st-font); }
h1 { font: 600 1.7rem/1.25 "Source Serif", Georgia, serif; margin: 0 0 0.5rem; }
.asked { font: 1.12rem/1.6 "Source Serif", Georgia, serif; margin: 0 0 1.2rem; padding-left: 0.9rem;
  border-left: 3px solid var(--st-border-color); white-space: pre-wrap; overflow-wrap: anywhere;
  unicode-bidi: isolate; }
footer { margin-top: 1.6rem; color: var(--st-gray-text-color); font-size: 0.8rem; overflow-wrap: anywhere; }"""
_START = """player(document.querySelector(".player"), JSON.parse(document.getElementById("data").textContent), {})"""


def page(data: Mapping[str, Any], *, title: str, prompt: str, about: str) -> str:
    """A player as one HTML file that needs nothing else and sends nothing; every text in it is escaped.

    Args:
        about: where it comes from: model, settings, version.
    """
    offline = {**data, "can": dict.fromkeys(data["can"], False), "running": False}
    packed = json.dumps(offline, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    code = f"{script()}\n{_START}\n"
    allowed = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{allowed}'\">"
        f"<title>{html.escape(title)}</title><style>:root {{ color-scheme: light dark; {_variables(_LIGHT)} "
        f'--st-font: "Source Sans", system-ui, sans-serif; }} @media (prefers-color-scheme: dark) {{ :root {{ '
        f"{_variables(_DARK)} }} }} {_FRAME} {styles()}</style></head><body><h1>{html.escape(title)}</h1>"
        f'<p class="asked">{html.escape(visible(prompt, KEPT))}</p><div class="player"></div>'
        f"<footer>{html.escape(visible(about))}</footer>"
        f'<script type="application/json" id="data">{packed}</script><script>{code}</script></body></html>\n'
    )


def _variables(colors: Mapping[str, str]) -> str:
    return " ".join(f"--st-{name}: {color};" for name, color in colors.items())
