"""Explore / Features: find a feature of the SAE, see what it fires on and what it writes, and steer with it."""

import streamlit as st

from steering.ui.explore import browsing as explore
from steering.ui.explore import feature_cards, without_sae
from steering.ui.shared import objects as services

st.title("Features")
st.caption(
    "A feature is one of thousands of things that the model keeps track of while it reads; it fires where that occurs. "
    "See on what it fires, turn it up with its slider, and read what the model then writes."
)
lm = services.require_model()
sae = without_sae.require(lm)
index = explore.require_index(lm, sae)
left, right = st.columns([5, 7], gap="large")
with left:
    number = explore.choose(lm, index)
with right:
    feature_cards.show(lm, sae, index, number)
st.caption(
    f"Index of {index.about['tokens']:,} tokens of {index.about['texts']:,} texts; "
    f"{int((index.density > 0).sum()):,} of {index.n_features:,} features fired on them."
)
