"""The choices of the Compare page: example, prompt and sampling, its address, and what can be taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ...checkpoints.bundled import trained_here
from ...recipes.links import decode, encode
from ...recipes.steps import Recipe
from ...showing.glossary import explain
from ..shared import current, state
from ..shared import objects as services
from ..shared.examples import CompareExample, examples
from ..shared.first_look import FRESH, FULL, RAN, RECIPE
from ..shared.frame import short_name
from ..strips import playable
from ..widgets import prompt_notes
from ..widgets.basics import clear_errors, copy_link, file_stem, literal
from . import editor, export
from .results import Run, RunSettings

if TYPE_CHECKING:
    from ...models.model import Model


# Choices ------------------------------------------------------------------------------------------------------------


def available(lm: Model) -> tuple[CompareExample, ...]:
    """The examples for a model."""
    from ...directions.pairs import bundled_pairs

    return examples(bundled_pairs() if trained_here(lm.name) else [], lm.has_chat_template, lm.n_layers)


def _use(found: dict[str, CompareExample]) -> None:
    chosen = found.get(st.session_state["compare_example"])
    if chosen is not None:
        st.session_state["compare_prompt"] = chosen.prompt
        editor.load(RECIPE, chosen.recipe)


def start(lm: Model) -> None:
    """Fill the page in, in the first run of a session: from the link, else with the first example."""
    if RECIPE in st.session_state:
        return
    first, fresh = available(lm)[0], st.session_state.pop(FRESH, False)
    if fresh or "compare_prompt" not in st.query_params:
        st.session_state["compare_prompt"] = first.prompt
    editor.load(RECIPE, first.recipe)
    text = "" if fresh else st.query_params.get("recipe")
    if text:
        try:
            editor.load(RECIPE, decode(text))
        except ValueError as error:
            st.session_state["compare_problem"] = str(error)
    st.session_state[RAN] = not fresh and st.query_params.get("run") == "1"


def publish(recipe: Recipe) -> None:
    """Put the recipe, and whether it was run, into the address."""
    for name, value in (("recipe", encode(recipe)), ("run", "1" if st.session_state.get(RAN) else "")):
        if value and st.query_params.get(name) != value:
            st.query_params[name] = value
        elif not value:
            st.query_params.pop(name, None)
    current.note(str(st.session_state.get("compare_prompt") or "").partition("\n---\n")[0], recipe)


def choose_example(lm: Model) -> None:
    """Draw the list of examples; choosing one fills in the page."""
    found = {example.name: example for example in available(lm)}
    name = st.selectbox(
        "Example", list(found), key="compare_example", on_change=_use, args=(found,), persist_state="session"
    )
    if name in found:
        st.caption(found[name].see)


def choose_prompts() -> tuple[str, ...]:
    """The prompts as written."""
    text = st.text_area(
        "Prompt",
        key="compare_prompt",
        height=104,
        bind="query-params",
        max_chars=20_000,
        help="Several prompts: put a line of three dashes (---) between them.",
    )
    return tuple(part.strip("\n") for part in (text or "").split("\n---\n"))


def choose_settings(lm: Model, prompts: tuple[str, ...]) -> RunSettings:
    """The sampling as chosen, for these prompts."""
    a, b, c = st.columns(3, gap="small")
    tokens = a.number_input("Tokens", 1, 512, 48, key="compare_tokens", bind="query-params")
    temperature = b.number_input(
        "Temp.", 0.0, 2.0, 0.0, 0.1, key="compare_temperature", bind="query-params", help=explain("temperature")
    )
    seed = c.number_input("Seed", 0, 2**31 - 1, 0, key="compare_seed", bind="query-params", help=explain("seed"))
    with st.expander("More", key="compare_more"):
        top_p = st.number_input("Top-p", 0.05, 1.0, 1.0, 0.05, key="compare_top_p", bind="query-params")
        bos = st.toggle("Steer the first (BOS) token too", key="compare_bos", bind="query-params")
        chat = st.toggle(
            "As a chat message",
            value=True,
            key="compare_chat",
            bind="query-params",
            disabled=not lm.has_chat_template,
            help="Through the model's chat template" if lm.has_chat_template else "This model has no chat template",
        )
    prompt_notes.show(lm, [] if chat and lm.has_chat_template else prompts)
    controls = st.segmented_control(
        "Random controls",
        [0, 1, 3, 5],
        default=1,
        required=True,
        key="compare_controls",
        bind="query-params",
        help=explain("random controls"),
    )
    return RunSettings(
        lm.name, prompts, int(tokens or 1), float(temperature or 0), float(top_p or 1), int(seed or 0),
        int(controls or 0), bool(bos), bool(chat) and lm.has_chat_template,
    )  # fmt: skip


def choose_again(settings: RunSettings) -> None:
    """Put a run's settings back into the widgets."""
    st.session_state["compare_prompt"] = "\n---\n".join(settings.prompts)
    names = ("tokens", "temperature", "seed", "top_p", "bos", "controls", "chat")
    fields = ("max_new_tokens", "temperature", "seed", "top_p", "steer_bos", "controls", "chat")
    for name, value in zip(names, fields, strict=True):
        st.session_state[f"compare_{name}"] = getattr(settings, value)


def go() -> None:
    """Run what is chosen, now and whenever a choice changes (a callback of the button)."""
    st.session_state[RAN] = True


def ran() -> bool:
    """Whether the visitor has pressed Run."""
    return bool(st.session_state.get(RAN))


def problem() -> None:
    """Draw what was wrong with the link that opened the page, if anything."""
    if text := st.session_state.pop("compare_problem", None):
        st.warning(literal(text, 400))


# Taking away --------------------------------------------------------------------------------------------------------


def toolbar(result: Run | None) -> None:
    """Draw the buttons for link, save and export; the last two only with a result."""
    copy_link("compare_link")
    st.button("Less", icon=":material/unfold_less:", key="compare_less", on_click=show_less, help="The first screen")
    with st.popover("Save run", icon=":material/bookmark_add:", disabled=result is None, key="compare_save_box"):
        name = st.text_input("Name", key="compare_save_name", placeholder="What is it about?")
        st.button("Save", key="compare_save", on_click=_save, args=(result, name), type="primary")
    with st.popover("Export", icon=":material/download:", disabled=result is None, key="compare_export_box"):
        if result is not None:
            downloads(result, "compare")


def show_less() -> None:
    """From now on the page is the first screen, with what is chosen."""
    st.session_state[FULL] = False
    st.session_state["compare_prompt"] = st.session_state.get("compare_prompt") or ""  # kept though no widget has it


def _save(result: Run | None, name: str | None) -> None:
    if result is None:
        return
    data = export.bundle_data(result)
    with clear_errors():
        services.store().save_run(data, name or "", model=result.settings.model, prompt=result.settings.prompts[0])
    st.toast("Run saved in the Library")


def downloads(result: Run, prefix: str) -> None:
    """Draw a run's downloads; each file is made when it is asked for."""
    sae, stem = state.sae_choice(result.settings.model), stem_of(result)
    files = (
        ("JSON bundle", "run.json", "application/json", lambda: export.bundle(result)),
        ("CSV, a line per token", "run.csv", "text/csv", lambda: export.table(result)),
        ("Web page", "run.html", "text/html", lambda: export.page(result)),
        ("Web page with a slider", "play.html", "text/html", lambda: playable.run_page(result)),
        ("Python code", "run.py", "text/x-python", lambda: export.code(result, sae)),
    )
    for label, file, mime, make in files:
        ending = file.replace("run.", ".").replace("play.", "-play.")
        st.download_button(
            label, make, f"{stem}{ending}", mime, key=f"{prefix}_{file}", on_click="ignore", width="stretch",
            type="tertiary",
        )  # fmt: skip


def stem_of(result: Run) -> str:
    """What a run's downloads are called: its model, its variants and the first words of its prompt."""
    variants = " ".join(row.title for row in result.shown() if row.kind == "steered")
    return file_stem(short_name(result.settings.model), variants, result.settings.prompts[0])
