"""A conversation in two columns: the same questions without steering and with it, each side with its own history."""

import streamlit as st

from steering.ui.chat import chatting, files
from steering.ui.shared import objects as services
from steering.ui.shared import presenting, readings
from steering.ui.shared.directions import direction_choices
from steering.ui.steer import comparing, editor
from steering.ui.widgets.basics import clear_errors, option

bench = services.require_workbench()
lm = bench.lm
readings.ahead(bench)
chatting.start(comparing.available(lm)[0].recipe)

title, tools = st.columns([2, 3], vertical_alignment="bottom")
title.title("Chat", anchor=False)
with tools:
    toolbar = st.container(horizontal=True, horizontal_alignment="right", gap="small")
st.caption("Both sides hear the same questions and remember their own answers. Move a slider between turns.")

choices, shown = presenting.columns([29, 71], gap="medium")
with choices:
    sampling = chatting.choose(lm)
    chatting.buttons(sampling["seed"])
    recipe = editor.edit(chatting.RECIPE, bench, direction_choices(), single=True)

question = st.chat_input("Say something to both", key="chat_question", max_chars=4000)
if question:
    chatting.ask(question, sampling["seed"])
chatting.publish(recipe)
with toolbar:
    files.toolbar(chatting.conversation(bench))

with shown, st.container(key="answers_chat"):  # before the controls on a narrow screen
    chatting.problem()
    if not chatting.turns():
        st.caption("Ask something below, for example one of these.")
        for place, prompt in enumerate(chatting.suggestions([one.prompt for one in comparing.available(lm)])):
            st.button(
                option(prompt, 90), key=f"chat_example_{place}", on_click=chatting.ask, args=(prompt, sampling["seed"])
            )
    slots = [chatting.draw(number, turn) for number, turn in enumerate(chatting.turns())]
    number = chatting.unanswered()
    if number is not None:
        with clear_errors():
            if chatting.answer(number, slots[number], bench, recipe, sampling):
                st.rerun()
