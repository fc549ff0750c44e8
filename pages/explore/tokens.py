"""Explore / Tokens: your text, token by token: which features fire, and which way each layer points."""

import streamlit as st

from steering.ui.explore import reading
from steering.ui.shared import objects as services
from steering.ui.shared.indexes import maybe_index

st.title("Tokens")
st.caption("Your text as the model reads it: the features on each token, and each layer's way along a direction.")
bench = services.require_workbench()
lm, sae = bench.lm, bench.sae
index = maybe_index(lm, sae)
left, right = st.columns([7, 5], gap="large")
with left:
    text = reading.choose_text(lm, sae)
    reading.show_tokens(text, index)
with right:
    reading.show_features(text, index)
reading.show_layers(bench, text)
