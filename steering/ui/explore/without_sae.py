"""Explore / Features where no SAE is loaded: the model's own neurons, a dictionary trained here, or one downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ..building.training_form import quick_cost
from ..shared import loading, state
from ..shared import objects as services
from ..shared.job_cards import duration
from ..widgets.basics import clear_errors, literal

if TYPE_CHECKING:
    from ...models.model import Model
    from ...saes.sae import Sae

TRAIN = "pages/build/dictionaries.py"


def require(lm: Model) -> Sae:
    """The visitor's SAE (or neurons); where there is none, what can be done about it and the end of the page."""
    try:
        found = services.sae()
    except ValueError as error:
        st.error(literal(str(error), 400))
        found = None
    if found is None:
        _offer(lm)
        st.stop()
    return found


def _use_neurons(model: str, layer: int) -> None:
    from ...saes.neurons import NEURONS

    loading.use_sae(model, NEURONS, f"layer {layer}")


def _offer(lm: Model) -> None:
    """Draws the three ways on."""
    st.info(
        f"This page needs a sparse autoencoder (SAE), and none is loaded for {literal(lm.name)}. Its own neurons can "
        "be looked at now; a small dictionary can be trained here; or one may have been published."
    )
    columns = st.columns(3, gap="medium")
    with columns[0], st.container(border=True, height="stretch"):
        st.markdown("**Look at its neurons**")
        layer = st.selectbox("Layer", list(range(lm.n_layers)), lm.n_layers // 2, key="features_neurons_layer")
        st.button(
            "Open the neurons", type="primary", key="features_neurons", on_click=_use_neurons,
            args=(lm.name, int(layer or 0)), icon=":material/grain:",
        )  # fmt: skip
        st.caption("Exact, and needs no training; most neurons answer to several things at once.")
    with columns[1], st.container(border=True, height="stretch"):
        st.markdown("**Train a dictionary**")
        st.page_link(TRAIN, label="Choose layer, text and kind", icon=":material/dictionary:")
        with clear_errors():
            cost = quick_cost(services.workbench(lm.name))
            if cost is not None:
                st.caption(literal(
                    f"A small one takes about {duration(cost.seconds)} on this machine: {cost.tokens:,} tokens, "
                    "one layer. Few examples, not a dictionary to rely on; more text makes it better.", 300,
                ))  # fmt: skip
    with columns[2], st.container(border=True, height="stretch"):
        st.markdown("**Find a published one**")
        st.page_link(state.MODELS_PAGE, label="Find an SAE", icon=":material/deployed_code:")
        st.caption("SAELens' registry lists those that fit; they are downloaded when you say so.")
