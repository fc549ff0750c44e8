"""What the Chat page does: two conversations with the same questions, one unsteered and one steered.

Each side has its own history: what it said before is what it reads. The recipe may change between turns; a turn keeps
what it was steered with. The first turn without an answer is the one that runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...recipes.building import build
from ...recipes.links import decode, encode, pack, unpack
from ...recipes.steps import Recipe, Step, Variant, to_data
from ...recipes.summary import summary
from ..shared import current, state
from ..shared import objects as services
from ..steer import editor
from ..steer.results import about_run, stream
from ..steer.running import ready
from ..widgets.basics import literal
from .conversation import MAX_TURNS, SIDES, Conversation, Turn, prompt_of

if TYPE_CHECKING:
    from ...engine.completion import Completion
    from ...models.model import Model
    from ...recipes.workbench import Workbench

PAGE = "pages/steer/chat.py"
RECIPE = "chat_recipe"
TURNS = "chat_turns"
TAKEN = "chat_taken_back"  # what was removed last: turns with the place where they stood
ASKED = "asked"  # in the address: the questions, which a link asks again
LONGEST_LINK = 3000  # characters of the questions in the address
PROBLEM = "chat_problem"


def turns() -> list[Turn]:
    """The conversation of this session with this model."""
    return st.session_state.setdefault(f"{TURNS}_{state.model_name()}", [])


def start(example: Recipe) -> None:
    """Fill the page in: in the first run of a session from the link, else with the recipe that the visitor works with.

    Args:
        example: the recipe to begin with where they have none yet.
    """
    first = RECIPE not in st.session_state
    editor.follow(RECIPE, current.recipe()[:1], example[:1] or (Variant(steps=(Step(),)),))
    if not first:
        return
    query = st.query_params
    try:
        if text := query.get("recipe"):
            editor.load(RECIPE, decode(text)[:1])
        if text := query.get(ASKED):
            asked = unpack(text)
            if not isinstance(asked, list) or not all(isinstance(one, str) for one in asked):
                raise ValueError("The questions in this link cannot be read; it may have been changed.")
            seed = query.get("chat_seed", "")
            found = [Turn(one[:4000], int(seed) if seed.isdecimal() else 0) for one in asked[:MAX_TURNS] if one.strip()]
            st.session_state[f"{TURNS}_{state.model_name()}"] = found
    except ValueError as error:
        st.session_state[PROBLEM] = str(error)


def publish(recipe: Recipe) -> None:
    """Put the recipe and the questions into the address, as many as fit."""
    questions = [turn.user for turn in turns()]
    while questions and len(pack(questions)) > LONGEST_LINK:
        questions.pop()
    for name, value in (("recipe", encode(recipe)), (ASKED, pack(questions) if questions else "")):
        if value and st.query_params.get(name) != value:
            st.query_params[name] = value
        elif not value:
            st.query_params.pop(name, None)


def problem() -> None:
    """Say what was wrong with the link that opened the page."""
    if text := st.session_state.pop(PROBLEM, None):
        st.warning(literal(text, 400))


# What the buttons do --------------------------------------------------------------------------------------------------


def ask(text: str, seed: int) -> None:
    """Add a question; the page answers it in this run."""
    if text.strip() and not (turns() and turns()[-1].open):
        turns().append(Turn(text, seed))
        st.session_state.pop(TAKEN, None)


def begin(question: str, recipe: Recipe) -> None:
    """Begin a conversation with a question and a recipe of another page; an earlier one can be brought back."""
    clear()
    if recipe:
        editor.load(RECIPE, recipe)
    turns().append(Turn(question[:4000], 0))


def regenerate(seed: int) -> None:
    """Open the last turn again: with the chosen seed, or with the next one where the turn already had that."""
    if turns():
        last = turns()[-1]
        turns()[-1] = Turn(last.user, seed if seed != last.seed else last.seed + 1)


def take_back() -> None:
    """Remove the last turn; it can be brought back."""
    if turns():
        st.session_state[TAKEN] = [turns().pop()]


def clear() -> None:
    """Begin a new conversation; the old one can be brought back."""
    if turns():
        st.session_state[TAKEN] = list(turns())
        turns().clear()


def bring_back() -> None:
    """Put back what was removed last."""
    turns().extend(st.session_state.pop(TAKEN, []))


def resume(talk: Conversation) -> None:
    """Put a saved conversation into the page."""
    state.put(state.MODEL, talk.model)
    st.session_state[f"{TURNS}_{talk.model}"] = [replace(turn) for turn in talk.turns]
    st.session_state["chat_system"] = talk.system
    last = talk.turns[-1]
    st.session_state["chat_tokens"], st.session_state["chat_temperature"] = last.max_new_tokens, last.temperature
    editor.load(RECIPE, last.steps or (Variant(steps=(Step(),)),))


def conversation(bench: Workbench) -> Conversation:
    """The answered turns, as they are saved and exported."""
    done = [turn for turn in turns() if not turn.open]
    return Conversation(bench.lm.name, done, system(bench.lm), about_run(bench.lm, bench.sae))


# Drawing --------------------------------------------------------------------------------------------------------------


def system(lm: Model) -> str:
    """The instructions that stand before the conversation as chosen; "" leaves it to the template."""
    return str(st.session_state.get("chat_system") or "").strip() if lm.has_chat_template else ""


def choose(lm: Model) -> dict[str, Any]:
    """The sampling as chosen."""
    a, b, c = st.columns(3, gap="small")
    tokens = a.number_input("Tokens", 1, 512, 128, key="chat_tokens", bind="query-params")
    temperature = b.number_input(
        "Temp.", 0.0, 2.0, 0.0, 0.1, key="chat_temperature", bind="query-params", help="0 is greedy"
    )
    seed = c.number_input("Seed", 0, 2**31 - 1, 0, key="chat_seed", bind="query-params")
    if lm.has_chat_template:
        st.text_area(
            "System prompt", key="chat_system", bind="query-params", height=68, max_chars=8000,
            placeholder="Instructions that stand before the conversation, on both sides",
            help="Empty leaves it to the model's chat template, which may have one of its own. Changing it changes "
            "what all later answers read.",
        )  # fmt: skip
    else:
        st.caption("This model has no chat template: your text and what it writes simply follow one another.")
    return {"max_new_tokens": int(tokens or 1), "temperature": float(temperature or 0), "seed": int(seed or 0)}


def buttons(seed: int) -> None:
    """Draw what can be done with the conversation."""
    none = not turns()
    with st.container(horizontal=True, gap="small"):
        st.button("Regenerate", key="chat_again", on_click=regenerate, args=(seed,), disabled=none)
        st.button("Take back", key="chat_back", on_click=take_back, disabled=none, help="Removes the last turn")
        st.button("New chat", key="chat_clear", on_click=clear, disabled=none)
    if taken := st.session_state.get(TAKEN):
        gone = "the last turn" if len(taken) == 1 else f"{len(taken)} turns"
        st.button(f"Undo: bring {gone} back", key="chat_undo", on_click=bring_back, icon=":material/undo:")


def draw(number: int, turn: Turn) -> dict[str, Any]:
    """Draw a turn; the places of its two answers."""
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
                for line in turn.problems:
                    st.error(f"This answer was not steered as it says. {literal(line, 300)}")
                for line in turn.receipts:
                    st.caption(literal(line, 200))
    return slots


def suggestions(examples: Sequence[str]) -> list[str]:
    """Questions to begin with: the prompt that the visitor works with, then those of the examples."""
    return [prompt for prompt in dict.fromkeys([current.prompt(), *examples]) if prompt][:4]


def unanswered() -> int | None:
    """The number of the first turn that is still to be answered, or None."""
    return next((number for number, turn in enumerate(turns()) if turn.open), None)


def answer(number: int, slots: dict[str, Any], bench: Workbench, recipe: Recipe, sampling: dict) -> bool:
    """Write both answers of an open turn while they stream; False while the direction is still being read.

    Raises:
        ValueError: something does not fit, such as a conversation longer than the context.
    """
    from ...engine.requests import Request

    turn, lm = turns()[number], bench.lm
    variant = replace(recipe[0], name="") if recipe and recipe[0].on else None
    if variant:
        with slots["steered"].container():
            if not ready(bench, (variant,), 0, lambda: build(bench, variant)):
                return False
    built = build(bench, variant) if variant else None
    steps = built.interventions if built else ()
    history = turns()[: number + 1]
    requests = [
        Request(
            prompt_of(lm, history, side, system(lm)),
            () if side == "plain" else steps,
            **{**sampling, "seed": turn.seed},
        )
        for side in SIDES
    ]
    handles: list[Completion] = services.engine(lm.name).submit_all(requests)
    stream(handles, lambda at, text: slots[SIDES[at]].text(text), lambda waited: _waiting(slots, waited))
    turn.plain, turn.steered = handles[0].text, handles[1].text
    turn.recipe, turn.variant = summary(variant), to_data((variant,)) if variant else []
    turn.raw = [list(built.numbers)] if built else []
    turn.max_new_tokens, turn.temperature = sampling["max_new_tokens"], sampling["temperature"]
    turn.problems = [receipt.problem for receipt in handles[1].receipts if not receipt.agrees]
    turn.receipts = [
        f"{r.tokens} tokens at {len(r.sites)} site{'s' if len(r.sites) != 1 else ''}, mean shift {r.measured:.3g}"
        + ("" if r.fired is None else f", fired on {100 * r.fired:.0f}% of them")
        for r in handles[1].receipts
    ]
    if sampling["temperature"] > 0:
        turn.receipts.append(f"seed {turn.seed}, temperature {sampling['temperature']:g}")
    return True


def _waiting(slots: dict[str, Any], seconds: float) -> None:
    if seconds > 0.4:
        for slot in slots.values():
            slot.text("… reading the conversation" if seconds < 3 else f"… reading the conversation, {seconds:.0f} s")
