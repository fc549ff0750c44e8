"""Files that play: a dose strip, or a run, as one HTML page with a slider that moves, offline and without a server."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...measurements.numbers import repetition
from ...measurements.parting import first_difference
from ...showing import player
from ..shared.frame import short_name
from ..steer.results import Run, RunRow
from ..widgets.basics import file_stem
from . import unrolling
from .unrolling import Asked, Look

if TYPE_CHECKING:
    from ...measurements.dose_strip import DoseStrip
    from ...recipes.workbench import Workbench

MIME = "text/html"


def strip_page(bench: Workbench, asked: Asked, look: Look, strip: DoseStrip) -> str:
    """A strip as a page that plays."""
    site = unrolling.drawing_of(bench, asked)
    where = f"layer {site['layer']} (they are 0 to {site['layers'] - 1}), " if site else ""
    about = (
        f"Model {short_name(bench.lm.name)}, {where}{_sampled(asked.temperature, asked.top_p, asked.seed)}, at most "
        f"{asked.max_new_tokens} tokens. {strip.said()} Made with Tiller."
    )
    data = unrolling.data_of(bench, asked, look, strip)
    return player.page(
        {**data, "large": False}, title=look.label or asked.dial.knob.label, prompt=asked.prompt, about=about
    )


def run_page(result: Run, prompt: int = 0) -> str:
    """A run's baseline and variants as a page that plays; the slider goes from one text to the next."""
    s = result.settings
    about = (
        f"Model {short_name(s.model)}, {_sampled(s.temperature, s.top_p, s.seed)}, at most {s.max_new_tokens} tokens. "
        "Made with Tiller."
    )
    title = "Without steering, and with it"
    return player.page(run_data(result, prompt), title=title, prompt=s.prompts[prompt], about=about)


def run_data(result: Run, prompt: int = 0, **more: Any) -> dict[str, Any]:
    """A run's baseline and variants as the data of a player."""
    rows = result.shown(prompt)
    return player.player_data(
        {"doses": [_dose(row, rows[0]) for row in rows], "turned": [row.text != rows[0].text for row in rows]},
        **{
            "label": "Text", "unit": "", "steered": "", "best": min(1, len(rows) - 1),
            "parts": ("dial", "cards", "tools", "parted", "film"), **more,
        },
    )  # fmt: skip


def _dose(row: RunRow, baseline: RunRow) -> dict[str, Any]:
    start = len(row.prompt_tokens)
    found = {
        "said": row.title, "strength": None, "text": row.text, "pieces": row.pieces[start:], "surprise": row.surprise,
        "repetition": repetition(row.text), "parting": None,
    }  # fmt: skip
    at = first_difference(baseline.tokens, row.tokens)
    if at is not None and baseline.alternatives and row.alternatives:
        found["parting"] = {"at": at, "chances": _chances(baseline, row, at), "baseline": 0, "steered": 1}
    return found


def _chances(baseline: RunRow, row: RunRow, at: int) -> list[dict[str, Any]]:
    """The likeliest tokens of both at a place; a run keeps their texts, so a number only says who wrote one."""
    sides = []
    for one in (baseline, row):
        expected = {text: math.exp(logprob) for text, logprob in one.alternatives[at]}
        sides.append(expected | {one.pieces[len(one.prompt_tokens) + at]: math.exp(one.logprobs[at])})
    written = [one.pieces[len(one.prompt_tokens) + at] for one in (baseline, row)]
    likely = sorted({*sides[0], *sides[1]}, key=lambda text: -max(side.get(text, 0.0) for side in sides))
    listed = list(dict.fromkeys([*written, *likely]))[:6]
    numbers = {text: place for place, text in enumerate(written)}
    return [
        {"token": numbers.get(text, 2), "text": text, "baseline": sides[0].get(text), "steered": sides[1].get(text)}
        for text in sorted(listed, key=lambda text: -sides[0].get(text, 0.0))
    ]


def _sampled(temperature: float, top_p: float, seed: int) -> str:
    return "greedy" if not temperature else f"temperature {temperature:g}, top-p {top_p:g}, seed {seed}"


def download(bench: Workbench, asked: Asked, look: Look, *, key: str) -> None:
    """Draw the button that saves a strip as a page that plays; nothing before it is written."""
    strip = unrolling.find(bench, asked)
    name = f"{file_stem(short_name(bench.lm.name), asked.variant.title, asked.prompt)}-strip.html"
    st.download_button(
        "Save as a page", lambda: "" if strip is None else strip_page(bench, asked, look, strip), name, MIME,
        key=key, on_click="ignore", icon=":material/download:", disabled=strip is None,
        help="One HTML file with the texts in it and a slider that moves: it opens anywhere, without a network.",
    )  # fmt: skip
