"""What the Chat page does: two conversations with the same questions, one unsteered and one steered.

Each side has its own history: what it said before is what it reads. The recipe may change between turns; a turn keeps
what it was steered with. An unfinished last turn is the one that runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...recipes.building import build
from ...recipes.steps import Recipe, Step, Variant
from ...recipes.summary import summary
from ..shared import objects as services
from ..shared import state
from ..widgets.basics import literal
from . import editor
from .results import stream

if TYPE_CHECKING:
    from ...engine.completion import Completion
    from ...models.model import Model, Prompt
    from ...recipes.workbench import Workbench

RECIPE = "chat_recipe"
TURNS = "chat_turns"
SIDES = ("plain", "steered")


@dataclass
class Turn:
    """A question, and what both sides answered (None while it is to be written)."""

    user: str
    seed: int
    plain: str | None = None
    steered: str | None = None
    recipe: str = ""
    receipts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.plain is None or self.steered is None


def turns() -> list[Turn]:
    """The conversation of this session with this model."""
    return st.session_state.setdefault(f"{TURNS}_{state.model_name()}", [])


def start(example: Recipe) -> None:
    """Fill the recipe in, in the first run of a session."""
    if RECIPE not in st.session_state:
        editor.load(RECIPE, example[:1] or (Variant(steps=(Step(),)),))


def ask(text: str, seed: int) -> None:
    """Add a question; the page answers it in this run."""
    if text.strip() and not (turns() and turns()[-1].open):
        turns().append(Turn(text, seed))


def regenerate(seed: int) -> None:
    """Ask the last question again: with the chosen seed, or the next one if the turn already used it."""
    if turns():
        last = turns()[-1]
        turns()[-1] = Turn(last.user, seed if seed != last.seed else last.seed + 1)


def take_back() -> None:
    """Remove the last turn."""
    if turns():
        turns().pop()


def clear() -> None:
    """Begin a new conversation."""
    turns().clear()


def prompt_of(lm: Model, history: list[Turn], side: str) -> Prompt:
    """One side's prompt: its own conversation so far, with the open question at the end."""
    if not lm.has_chat_template:
        return " ".join(part for turn in history for part in (turn.user, getattr(turn, side) or "") if part)
    messages: list[dict[str, str]] = []
    for turn in history:
        messages.append({"role": "user", "content": turn.user})
        if getattr(turn, side) is not None:
            messages.append({"role": "assistant", "content": getattr(turn, side)})
    return messages


def choose(lm: Model) -> dict[str, Any]:
    """The sampling as chosen."""
    a, b, c = st.columns(3, gap="small")
    tokens = a.number_input("Tokens", 1, 512, 48, key="chat_tokens", bind="query-params")
    temperature = b.number_input(
        "Temp.", 0.0, 2.0, 0.0, 0.1, key="chat_temperature", bind="query-params", help="0 is greedy"
    )
    seed = c.number_input("Seed", 0, 2**31 - 1, 0, key="chat_seed", bind="query-params")
    if not lm.has_chat_template:
        st.caption("This model has no chat template: your text and what it writes simply follow one another.")
    return {"max_new_tokens": int(tokens or 1), "temperature": float(temperature or 0), "seed": int(seed or 0)}


def buttons(seed: int) -> None:
    """Draw the conversation's buttons."""
    none = not turns()
    with st.container(horizontal=True, gap="small"):
        st.button("Regenerate", key="chat_again", on_click=regenerate, args=(seed,), disabled=none)
        st.button("Take back", key="chat_back", on_click=take_back, disabled=none, help="Removes the last turn")
        st.button("New chat", key="chat_clear", on_click=clear, disabled=none)


def draw(number: int, turn: Turn) -> dict[str, Any]:
    """Draw a turn; return the placeholders of its two answers."""
    with st.container(horizontal_alignment="right", key=f"chat_user_{number}"):
        st.text(turn.user)
    slots = {}
    for side, column in zip(SIDES, st.columns(2, gap="small"), strict=True):
        kind = "baseline_-1" if side == "plain" else "steered_0"
        with column, st.container(border=True, key=f"card_{kind}_{number}", gap="xsmall", height="stretch"):
            st.caption("Without steering" if side == "plain" else f"Steered: {literal(turn.recipe, 70) or '…'}")
            with st.container(key=f"stream_chat_{side}_{number}"):
                slots[side] = st.empty()
            slots[side].text(getattr(turn, side) or "…")
            if side == "steered":
                for problem in turn.problems:
                    st.error(f"This answer was not steered as it says. {literal(problem, 300)}")
                for line in turn.receipts:
                    st.caption(literal(line, 200))
    return slots


def answer(turn: Turn, slots: dict[str, Any], bench: Workbench, recipe: Recipe, sampling: dict) -> None:
    """Write both answers of the open turn while they stream.

    Raises:
        ValueError: something does not fit, such as a conversation longer than the context.
    """
    from ...engine.requests import Request

    variant = replace(recipe[0], name="") if recipe and recipe[0].on else None
    lm = bench.lm
    steps = build(bench, variant).interventions if variant else ()
    history = turns()
    requests = [
        Request(prompt_of(lm, history, side), () if side == "plain" else steps, **{**sampling, "seed": turn.seed})
        for side in SIDES
    ]
    handles: list[Completion] = services.engine(lm.name).submit_all(requests)
    stream(handles, lambda number, text: slots[SIDES[number]].text(text), lambda waited: None)
    turn.plain, turn.steered = handles[0].text, handles[1].text
    turn.recipe = summary(variant)
    turn.problems = [receipt.problem for receipt in handles[1].receipts if not receipt.agrees]
    turn.receipts = [
        f"{r.tokens} tokens at {len(r.sites)} site{'s' if len(r.sites) != 1 else ''}, mean shift {r.measured:.3g}"
        + ("" if r.fired is None else f", fired on {100 * r.fired:.0f}% of them")
        for r in handles[1].receipts
    ]
    if sampling["temperature"] > 0:
        turn.receipts.append(f"seed {turn.seed}, temperature {sampling['temperature']:g}")
