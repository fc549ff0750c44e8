"""One prompt, many interventions, one batch: baseline and variants side by side, and what the steering did."""

from functools import partial

import streamlit as st

from steering.ui.shared import objects as services
from steering.ui.shared import readings
from steering.ui.shared.directions import direction_choices
from steering.ui.steer import compared, comparing, editor, running
from steering.ui.strips import first_screen, panel
from steering.ui.widgets.basics import clear_errors, literal

bench = services.require_workbench()
lm = bench.lm
readings.ahead(bench)
first_screen.start(lm)
if first_screen.shown():
    first_screen.draw(bench)
    st.stop()

title, tools = st.columns([2, 3], vertical_alignment="bottom")
title.title("Compare", anchor=False)
with tools:
    toolbar = st.container(horizontal=True, horizontal_alignment="right", gap="small")
st.caption("The same question, the same dice: what the model writes untouched, and what it writes with each push.")

choices, shown = st.columns([29, 71], gap="medium")
with choices:
    with st.container(key="first_compare"):  # on a narrow screen before the answers, and all other controls after them
        comparing.choose_example(lm)
        prompts = comparing.choose_prompts()
        st.button(
            "Generate",
            type="primary",
            icon=":material/play_arrow:",
            shortcut="Ctrl+Enter",
            width="stretch",
            key="compare_go",
            on_click=comparing.go,
        )
    settings = comparing.choose_settings(lm, prompts)
    panel.take(bench, editor.recipe_of(comparing.RECIPE))
    recipe = editor.edit(comparing.RECIPE, bench, direction_choices())
comparing.publish(recipe)

with shown, st.container(key="answers_compare"):
    comparing.problem()
    which = 0
    if len(settings.prompts) > 1:
        which = st.segmented_control(
            "Prompt",
            range(len(settings.prompts)),
            format_func=lambda i: literal(settings.prompts[i], 30),
            default=0,
            required=True,
            key="compare_which",
        )
    names = [variant.title for variant in recipe if variant.on]
    slots = running.Slots(
        names,
        settings.prompts[which],
        which,
        settings.max_new_tokens,
        partial(compared.earlier, running.latest(), which),
    )
    evidence = st.container()

result = running.remembered(settings, recipe)
with shown:
    seeking = panel.seek(bench, settings, recipe)
if result is None and comparing.ran() and not seeking:
    with shown, clear_errors():
        result = running.run(settings, recipe, bench, slots)
with toolbar:
    comparing.toolbar(result)
with evidence:
    if result is None:
        compared.before_first()
    else:
        compared.draw(result, slots, bench)
