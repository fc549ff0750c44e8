"""Where the paths part, on Compare: the first token that differs, what each model expected there, and what if."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import streamlit as st

from ...measurements.parting import Parting, first_difference
from ...recipes.building import build
from ...recipes.steps import from_data
from ..steer.results import Run, RunRow
from ..widgets.player import player
from . import roads
from .playable import run_data

if TYPE_CHECKING:
    from ...recipes.workbench import Workbench

KEY = "compare_parted"


def parted(bench: Workbench, result: Run, prompt: int) -> None:
    """Draw where each variant's text parts from the baseline's, with the road not taken one press away."""
    rows = result.shown(prompt)
    if all(first_difference(rows[0].tokens, row.tokens) is None for row in rows):
        st.caption("The texts are the same to the last token, so their paths do not part.")
        return
    taken = roads.under_way(KEY)

    @st.fragment(run_every=0.5 if taken else None)
    def view() -> None:
        if taken and not any(road.active for road in taken):
            st.rerun()
        found = {row.title: roads.find(bench, _key(result, row)) for row in rows}
        data = run_data(
            result, prompt, parts=("dial", "cards", "parted"), opened=True, can=("road",), asked=_key(result, rows[0]),
            roads={title: road for title, road in found.items() if road is not None},
        )  # fmt: skip
        pressed = player(data, key=KEY)
        if pressed is not None and pressed[0] == "road":
            _take(bench, result, rows[0], rows[pressed[1]])
            st.rerun()

    view()


def _key(result: Run, row: RunRow) -> str:
    settings, recipe = asdict(result.settings), result.recipe
    return json.dumps([settings, recipe, row.prompt, row.variant], sort_keys=True)


def _take(bench: Workbench, result: Run, baseline: RunRow, row: RunRow) -> None:
    at = first_difference(baseline.tokens, row.tokens)
    if at is None:
        return
    s, variant = result.settings, from_data(result.recipe)[row.variant]
    prompt = s.prompts[row.prompt]
    how = {
        "max_new_tokens": s.max_new_tokens, "temperature": s.temperature, "top_p": s.top_p, "seed": s.seed,
        "steer_bos": s.steer_bos,
    }  # fmt: skip
    roads.take(
        bench, _key(result, row), [{"role": "user", "content": prompt}] if s.chat else prompt,
        lambda: build(bench, variant).interventions, baseline.tokens,
        Parting(at, baseline.tokens[at], row.tokens[at], ()), how, page=KEY,
    )  # fmt: skip
