"""The form that composes an experiment: sets, recipes, controls. It becomes a TOML file like the bundled ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...recipes.steps import Step, Variant
from ...recipes.tables import recipe_tables, to_toml
from ..shared import current, state
from ..shared import directions as services
from ..steer import editor
from ..widgets.basics import clear_errors
from . import separation as measure

if TYPE_CHECKING:
    from ...experiments import Experiment
    from ...models.model import Model
    from ...recipes.workbench import Workbench
    from ...saes.sae import Sae

RECIPE = "evaluate_recipe"
HONEST = "Do not just agree."


def own(bench: Workbench) -> Experiment | None:
    """Draw the form; return the experiment it describes, or None while something is missing or wrong."""
    lm, sae = bench.lm, bench.sae
    sets = _sets(lm)
    editor.follow(RECIPE, current.recipe(), (Variant("", (first_step(list(services.direction_choices())),)),))
    recipe = editor.edit(RECIPE, bench, services.direction_choices())
    controls = _controls(sae)
    left, right = st.columns(2)
    tokens = left.number_input("New tokens at most", 1, 512, 40, key="evaluate_tokens")
    seed = right.number_input("Seed", 0, 10**6, 0, key="evaluate_seed")
    if not sets or not any(variant.on for variant in recipe):
        st.caption("Choose at least one set and one variant.")
        return None
    with clear_errors():
        from ...experiments import parse

        data: dict[str, Any] = {
            "title": " against ".join(variant.title for variant in recipe if variant.on)[:80],
            "question": "Put together on the Evaluate page.",
            "model": lm.name,
            "settings": {"max_new_tokens": int(tokens), "seed": int(seed)},
            **recipe_tables(recipe, bench),
            "sets": sets,
            "controls": controls,
            "side_effects": {"limit": 16, "sets": [{"source": name, "limit": 16} for name in measure.neutral_sets(lm)]},
        }
        if sae is not None and (choice := state.sae_choice(lm.name)) is not None:
            # Written into the file, so that the same experiment runs from it without this page.
            data["sae"] = {"release": choice[0], **({"id": choice[1]} if choice[1] else {})}
        found = parse(to_toml(data), "own")
        with st.expander("As a file, for the command line"):
            st.code(found.text, language="toml")
        return found
    return None


def first_step(choices: list[str]) -> Step:
    """The step that the form begins with: the sycophancy direction at the last prompt token, else any direction."""
    if "pairs:pressure" in choices:
        return Step("ablate", direction="pairs:pressure", position="prompt_last", everywhere=True)
    usual = next((name for name in choices if "sycophancy" in name), choices[0] if choices else "texts")
    return Step("ablate", direction=usual, everywhere=True)


def _sets(lm: Model) -> list[dict[str, Any]]:
    """The chosen sets as tables of the file."""
    names = measure.sets_for(lm)
    chosen = st.multiselect(
        "Evaluation sets", names, default=measure.first_sets(names), format_func=measure.shown_set, key="evaluate_sets"
    )
    limit = st.slider("Items of each set", 10, 400, 60, 10, key="evaluate_limit")
    found: list[dict[str, Any]] = [{"name": name, "source": name, "limit": int(limit)} for name in chosen]
    mine = measure.uploaded("evaluate")
    file = st.session_state.get("evaluate_upload")
    if mine is not None and file is not None:
        data = file.getvalue()
        # Under its own name: refusal_direction's files say by it what is harmful.
        place = measure.folder() / "uploads" / hashlib.sha256(data).hexdigest()[:16]
        kept = place / f"{mine.name}{Path(file.name).suffix.lower()}"
        if not kept.is_file():
            from ...jobs.files import write_atomically

            write_atomically(kept, data)
        mapping = st.session_state.get("evaluate_mapping")
        scorer = st.session_state.get("evaluate_scorer_name")
        one = {"name": mine.name, "source": str(kept), "format": None if mapping else mine.format, "scorer": scorer}
        found.append({**one, "limit": int(limit), "mapping": mapping})
    return found


def _controls(sae: Sae | None) -> dict[str, Any]:
    with st.container(border=True):
        st.markdown("**Controls beside every variant**")
        seeds = st.slider("Random directions of equal norm", 0, 20, 3, key="evaluate_random")
        st.caption("19 or more let a variant reach p = 0.05 against chance directions.")
        found: dict[str, Any] = {"random": int(seeds)}
        if sae is not None:
            found["reconstruction"] = st.toggle("The SAE's reconstruction alone", True, key="evaluate_reconstruction")
        said = st.text_input("Prompting: a sentence that asks for the same", HONEST, key="evaluate_prompting")
        return found | ({"prompting": said.strip()} if said and said.strip() else {})
