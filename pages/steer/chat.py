"""A conversation in two columns: the same questions without steering and with it, each side with its own history."""

import streamlit as st

from steering.ui.shared import objects as services
from steering.ui.shared import presenting
from steering.ui.shared.directions import direction_choices
from steering.ui.steer import chatting, comparing, editor
from steering.ui.widgets.basics import clear_errors

bench = services.require_workbench()
lm = bench.lm
chatting.start(comparing.available(lm)[0].recipe)

st.title("Chat", anchor=False)
st.caption("Both sides hear the same questions and remember their own answers. Move a slider between turns.")

choices, shown = presenting.columns([29, 71], gap="medium")
with choices:
    sampling = chatting.choose(lm)
    chatting.buttons(sampling["seed"])
    recipe = editor.edit(chatting.RECIPE, bench, direction_choices(), single=True)

question = st.chat_input("Say something to both", key="chat_question", max_chars=4000)
if question:
    chatting.ask(question, sampling["seed"])

with shown:
    if not chatting.turns():
        st.caption("Ask something below, for example one of these.")
        for example in comparing.available(lm)[:3]:
            st.button(
                example.prompt.replace("\n", " ")[:90],
                key=f"chat_example_{example.name}",
                on_click=chatting.ask,
                args=(example.prompt, sampling["seed"]),
            )
    slots = [chatting.draw(number, turn) for number, turn in enumerate(chatting.turns())]
    if chatting.turns() and chatting.turns()[-1].open:
        with clear_errors():
            chatting.answer(chatting.turns()[-1], slots[-1], bench, recipe, sampling)
            st.rerun()
