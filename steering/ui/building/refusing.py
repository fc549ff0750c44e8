"""Build / Direction, refusal: the search, every candidate in a grid, one of them tried, and the edited model saved."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...plots import matrices
from ...plots.base import plain
from ...recipes.steps import Step, Variant
from ..shared import job_cards
from ..shared import objects as services
from ..shared.frame import short_name
from ..steer import sending
from ..widgets import theme
from ..widgets.basics import chart, clear_errors, literal
from . import refusal_fit

if TYPE_CHECKING:
    from ...evaluations.refusal.search import RefusalDirection
    from ...jobs.jobs import Job
    from ...models.model import Model
    from ...recipes.workbench import Workbench

SCORES = {
    "bypass": "Bypass: refusal score of harmful instructions, direction ablated (low is good)",
    "induce": "Induce: refusal score of harmless instructions, direction added (high is good)",
    "kl": "KL on harmless instructions, direction ablated (low is good)",
}
SHORT = {"bypass": "Bypass", "induce": "Induce", "kl": "Side effect"}
FOR = (
    "A model without its refusals is for studying how refusal works and how easily it is lost. What was known about "
    "its safety no longer holds. I will not offer it to people who have not been told."
)


def choose(lm: Model) -> tuple[str, str, str]:
    """Refusing tokens and instructions as typed; empty ones stand for the model's own and the bundled ones."""
    st.caption(
        "Refusals of many models hang on one direction. Every layer and every token of the chat template after the "
        "instruction gives a candidate; each is taken out and put in, and a rule chooses."
    )
    tokens = st.text_input(
        "Refusals begin with", key="refusal_tokens", bind="query-params", max_chars=200,
        placeholder="found from the model's own refusals",
        help="Tokens that begin a refusal, with a bar between them, such as: I|As|Sorry",
    )  # fmt: skip
    with st.expander("Other instructions", key="refusal_more"):
        st.caption("One a line, at least 8 of each. Empty: the bundled ones, which are mild.")
        harmful = st.text_area("Harmful", key="refusal_harmful", height=120, max_chars=60_000)
        harmless = st.text_area("Harmless", key="refusal_harmless", height=120, max_chars=60_000)
    return tokens or "", harmful or "", harmless or ""


def token_ids(lm: Model, typed: str) -> list[int] | None:
    """The ids of the tokens typed with bars between them, or None where nothing was typed.

    Raises:
        ValueError: a text that is not one token.
    """
    found = []
    for text in (part for part in typed.split("|") if part.strip()):
        ids = lm.tokenizer.encode(text, add_special_tokens=False)
        if len(ids) != 1:
            raise ValueError(f"A refusing token is one token of {lm.name}; {text!r} is {len(ids)}.")
        found += ids
    return found or None


def run(bench: Workbench, typed: tuple[str, str, str]) -> RefusalDirection | None:
    """Draws the button, the search under way, or how it ended; the result once there is one."""
    lm = bench.lm
    name = f"Refusal direction of {short_name(lm.name)} {hashlib.sha256(repr(typed).encode()).hexdigest()[:10]}"
    return job_cards.on_demand(name, "Search", lambda: _start(lm, typed, name), key="refusal_go")


def _start(lm: Model, typed: tuple[str, str, str], name: str) -> None:
    from ...evaluations.refusal.search import refusal_direction
    from ...experiments.programs.refusal_sets import refusal_data

    data, model = refusal_data(lm.name), lm.name
    tokens = token_ids(lm, typed[0])
    sides = refusal_fit.instructions(data, *typed[1:])

    def work(job: Job) -> RefusalDirection:
        return refusal_direction(services.shelf().model(model), *sides, tokens=tokens, alpha=data.alpha, tick=job.tick)

    services.start(name, work)
    st.rerun()


# Shown --------------------------------------------------------------------------------------------------------------


def show(bench: Workbench, found: RefusalDirection) -> None:
    """Draws the choice, the grid of candidates, and what the clicked (or chosen) one does."""
    _headline(found)
    which = st.segmented_control(
        "Score", list(SCORES), default="bypass", format_func=SHORT.__getitem__, key="refusal_score", required=True,
        bind="query-params",
    )  # fmt: skip
    place = _grid(found, str(which))
    if place is None:
        st.info("Click a cell to try that candidate.")
        return
    with clear_errors():
        _candidate(bench, found, *place)


def _headline(found: RefusalDirection) -> None:
    chosen, total = found.chosen, len(found.candidates)
    if chosen is None:
        st.warning(f"None of the {total} candidates passed the rule. The grid says why; any cell can still be tried.")
    else:
        st.markdown(
            f"**Layer {chosen.layer}, token {chosen.position} ({literal(found.template[chosen.position])}): the "
            f"refusal score of harmful instructions falls from {found.harmful_score:+.1f} to {chosen.bypass:+.1f}, and "
            f"of harmless ones rises from {found.harmless_score:+.1f} to {chosen.induce:+.1f}**"
        )
    (bad, of_bad), (good, of_good) = found.kept
    words = ", ".join(
        f"“{literal(one.text)}” ({one.refusals} of {one.of_refusals} refusals)"
        for one in found.openings
        if one.refusing
    )
    st.caption(
        f"{found.survivors} of {total} candidates passed. Refusals begin with {words or 'the tokens given'}. "
        f"{bad} of {of_bad} harmful instructions are refused, {good} of {of_good} harmless ones are not; the rest is "
        f"left out. A score is the log-odds that the next token begins a refusal. {found.seconds:.0f} s."
    )


def _grid(found: RefusalDirection, which: str) -> tuple[int, int] | None:
    """Draws the grid; position and layer of the clicked cell, else of the chosen candidate, else None."""
    n, layers, table = len(found.template), found.n_layers, found.table()
    lines = [table[k * layers : (k + 1) * layers] for k in range(n)]
    values = [[None if math.isnan(row[which]) else row[which] for row in line] for line in lines]
    best = next(((y, x) for y, line in enumerate(lines) for x, row in enumerate(line) if row["chosen"]), None)
    known = [abs(value) for line in values for value in line if value is not None]
    key = "refusal_grid"
    picked = st.session_state.get(key, {}).get("selection", {}).get("points", [])
    selected = (round(picked[0]["y"]), round(picked[0]["x"])) if picked else best
    if selected is not None and not (0 <= selected[0] < n and 0 <= selected[1] < layers):
        selected = best
    figure = matrices.candidate_grid(
        values, [f"{k - n}  {text}" for k, text in enumerate(found.template)],
        [[plain(_said(found, row), 200) for row in line] for line in lines],
        [[bool(row["excluded"]) for row in line] for line in lines],
        theme.palette(), chosen=best, selected=selected, unit="nats" if which == "kl" else "log-odds",
        limit=None if which == "kl" else max([*known, 1.0]),
    )  # fmt: skip
    chart(
        figure, title=SCORES[which], key=key, select=True,
        caption="Rows: tokens of the chat template after the instruction. A cross: excluded. Colored frame: chosen. "
        "Click a cell to try it.",
    )  # fmt: skip
    return None if selected is None else (selected[0] - n, selected[1])


def _said(found: RefusalDirection, row: dict[str, Any]) -> str:
    scores = f"bypass {row['bypass']:.2f}, induce {row['induce']:.2f}, KL {row['kl']:.3f}"
    state = "chosen" if row["chosen"] else f"excluded: {row['excluded']}" if row["excluded"] else "passed"
    token = found.template[row["position"]]
    return f"layer {row['layer']}, token {row['position']} “{token}”: {scores}; {state}"


def _candidate(bench: Workbench, found: RefusalDirection, position: int, layer: int) -> None:
    """Draws one candidate: its scores, what the model answers with and without it, and where to take it."""
    direction = found.at(position, layer)
    row = next(one for one in found.table() if (one["position"], one["layer"]) == (position, layer))
    st.markdown(f"**The candidate at layer {layer}, token {position}**")
    st.caption(literal(_said(found, row), 300))
    direction = refusal_fit.choose(bench, found, direction)
    if st.button("Try it on two requests", key="refusal_try"):
        st.session_state["refusal_tried"] = _tried(bench, found, direction)
    tried = st.session_state.get("refusal_tried")
    if tried and tried[0] == direction.fingerprint:
        _answers(*tried[1:])
    with st.container(horizontal=True, gap="small"):
        if st.button("Steer with this", key="refusal_steer", type="tertiary", icon=":material/arrow_outward:"):
            saved = services.store().save_direction(direction, direction.name)
            step = {"direction": f"saved:{saved.id}", "layer": layer, "stream": "resid_pre"}
            sending.steer_with(bench.lm, Variant("Refusal ablated", (Step("ablate", everywhere=True, **step),)))
        if st.button("Save direction", key="refusal_save", type="tertiary", icon=":material/bookmark_add:"):
            saved = services.store().save_direction(direction, direction.name)
            st.toast(f"Saved as {literal(saved.name)}. It is in the Library and among the directions of every page.")
    with st.expander("Save the edited model", key="refusal_export"):
        _export(bench, direction)


def _tried(bench: Workbench, found: RefusalDirection, direction: Any) -> tuple[str, list[str], list[str]]:
    """The answers to a harmless and to a harmful validation instruction: plain, added, ablated everywhere."""
    from ...evaluations.refusal.words import asked
    from ...interventions.protocol import made

    variants = [
        (),
        (made("add", direction=direction, alpha=found.alpha),),
        (made("ablate", direction=direction, everywhere=True),),
    ]
    engine = services.engine(bench.lm.name)
    texts = []
    for side in (found.validation[1], found.validation[0]):
        rows = engine.generate(asked(bench.lm, side[0]), variants, max_new_tokens=48)
        texts.append([side[0], *(row.text for row in rows)])
    return direction.fingerprint, *texts


def _answers(harmless: list[str], harmful: list[str]) -> None:
    st.caption("A harmless request, as it is and with the direction added:")
    st.text(harmless[0])
    left, right = st.columns(2, gap="small")
    for column, title, text in ((left, "Unsteered", harmless[1]), (right, "Added", harmless[2])):
        with column.container(border=True, gap="xsmall"):
            st.caption(title)
            st.text(text or "(nothing)")
    with st.expander("A harmful request, and the answers to it (hidden until asked for)", key="refusal_hidden"):
        st.caption("Written by a model whose refusal was taken out. Not advice.")
        if st.toggle("Show them", key="refusal_show"):
            st.text(harmful[0])
            for title, text in (("Unsteered", harmful[1]), ("Ablated everywhere", harmful[3])):
                st.caption(title)
                st.text(text or "(nothing)")


def _export(bench: Workbench, direction: Any) -> None:
    """Draws the confirmation and the button that writes the model without the direction as a folder."""
    from ...interventions.export import gguf_converter

    st.caption(
        "A copy of the model whose weights no longer write the direction, as a Hugging Face folder (safetensors, "
        "tokenizer, a card that says what was done). It opens in transformers and on the page Models."
    )
    agreed = st.checkbox(FOR, key="refusal_agreed")
    if st.button("Write the folder", key="refusal_write", disabled=not agreed):
        with clear_errors():
            _write(bench, direction)
    if gguf_converter() is None:
        st.caption("A GGUF file needs llama.cpp's convert_hf_to_gguf.py; set LLAMA_CPP to its folder.")


def _write(bench: Workbench, direction: Any) -> None:
    from ...interventions.export import gguf_converter, to_gguf
    from ...interventions.weights import orthogonalize_weights
    from ...jobs.files import home

    name = f"{short_name(bench.lm.name)}-without-{direction.fingerprint[:8]}"
    folder = home() / "edited" / name
    with st.spinner("Writing the edited model"):
        edited = orthogonalize_weights(bench.lm, direction)
        if not folder.exists():
            edited.save(folder)
        if gguf_converter() is not None:
            to_gguf(folder, folder.with_suffix(".gguf"))
    st.success(f"Written to {literal(str(folder), 200)}. {literal(edited.note, 300)}")
