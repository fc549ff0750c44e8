"""The page of one feature: how often and how strongly it fires, on what, what it writes, and what is near it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from ...plots import charts as plots
from ...plots import matrices
from ...plots.base import percent
from ...recipes.steps import Variant
from ...showing.visible import visible
from ..steer import sending
from ..widgets import theme
from ..widgets.basics import chart, clear_errors, literal
from ..widgets.tokens import Token, token_view
from . import browsing as explore
from . import labeling, preview

if TYPE_CHECKING:
    from ...features import Example, Feature, FeatureIndex, Neighbor, Neuron, TokenScore
    from ...models.model import Model
    from ...saes.sae import Sae

VIEWS = ("Examples", "What it writes", "Near it", "Neurons")


def show(lm: Model, sae: Sae, index: FeatureIndex, number: int) -> None:
    """Draw everything that is known of a feature."""
    feature = index.feature(number)
    _head(lm, sae, index, feature)
    view = st.segmented_control(
        "View", VIEWS, default=VIEWS[0], key="features_view", required=True, label_visibility="collapsed",
        bind="query-params",
    )  # fmt: skip
    if view == "Examples":
        _examples(feature)
    elif view == "What it writes":
        _writes(feature, sae)
    elif view == "Near it":
        _near(index, sae, feature)
    else:
        _neurons(lm, index, feature)
    _note(index, feature)


def _head(lm: Model, sae: Sae, index: FeatureIndex, feature: Feature) -> None:
    name, known = f"Feature {feature.index}", index.name(feature.index)
    left, right = st.columns([3, 2], vertical_alignment="bottom", gap="small")
    left.subheader(literal(known or name, 60), anchor=False)
    given = index.given.get(feature.index)
    made = "named after trying it" if given else "named after its strongest examples" if known else "without a name yet"
    left.caption(f"{name}, {made}" if known else made)
    with st.container(border=True, gap="xsmall", key="card_preview"):
        example = (given.prompt, given.value) if given is not None and given.prompt else None
        value = preview.draw(lm, sae, feature, example)
    step = preview.step_of(sae, feature.index, value or feature.maximum or 1.0)
    with right, st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        if st.button("Add to recipe", key="features_add", help="A new variant on Compare with this feature as set."):
            st.toast(sending.add_to_recipe(lm, step, known or name))
        if st.button("Steer with this", type="primary", key="features_steer"):
            if example is not None:
                st.session_state["compare_prompt"] = example[0]
            sending.steer_with(lm, Variant(known or f"{name} on", (step,)))
    if feature.promoted:
        st.text("Promotes " + "  ".join(f"“{visible(token.text)}”" for token in feature.promoted[:6]))
    labeling.show(sae, feature.index)
    often = f"1 in {round(1 / feature.density):,} tokens" if feature.density else "never on these texts"
    with st.container(horizontal=True, gap="medium"):
        st.metric("Fires on", percent(feature.density), help=often, width="content")
        maximum = "The largest activation on the texts of the index."
        st.metric("Maximum", f"{feature.maximum:.2f}", help=maximum, width="content")
        st.metric("Mean where it fires", f"{feature.mean:.2f}", width="content")
        st.metric("Layer", f"{sae.site.layer}", help=str(sae.site), width="content")
    if feature.dead:
        st.info("It fired on no token of the texts of the index, so there are no examples. It may on others.")


# Examples -----------------------------------------------------------------------------------------------------------


def _examples(feature: Feature) -> None:
    for number, band in enumerate(feature.bands):
        with st.container(border=True, gap="small", key=f"card_band_{number}"):
            low, high = f"{band.low:.2f}", f"{band.high:.2f}"
            title = "Strongest" if number == 0 else f"{band.name} of the places where it fires"
            note = f"up to {high}" if number == 0 else f"activation {low} to {high}"
            with st.container(horizontal=True, horizontal_alignment="distribute"):
                st.markdown(f"**{title}**", width="content")
                st.caption(note, width="content")
            for i, example in enumerate(band.examples):
                example_view(example, feature.maximum, key=f"features_example_{number}_{i}")
    if feature.bands:
        _activations(feature)


def example_view(example: Example, scale: float, *, key: str) -> None:
    """Draw an example compactly: its tokens, tinted by the activation, the peak framed."""
    tokens = [
        Token(visible(text), value or None, (("activation", f"{value:.2f}"),))
        for text, value in zip(example.tokens, example.activations, strict=True)
    ]
    token_view(tokens, key=key, scale=scale, selected=example.peak, label="Example")


def _activations(feature: Feature) -> None:
    figure = plots.log_histogram(feature.edges, feature.histogram, theme.palette(), x="activation")
    chart(
        figure,
        title="How strongly it fires, where it fires",
        caption="Tokens by activation, in half octaves: each bar is 1.4 times as strong as the one before. "
        "A second hump often is a second meaning.",
        key="features_histogram",
    )


# What it writes -----------------------------------------------------------------------------------------------------


def _writes(feature: Feature, sae: Sae) -> None:
    left, right = st.columns(2, gap="medium")
    for column, title, tokens in (
        (left, "Makes more likely", feature.promoted),
        (right, "Makes less likely", feature.suppressed),
    ):
        with column:
            chart(_token_bars(tokens), title=title, key=f"features_{title[6:10].strip()}")
    st.caption(
        "Logit lens: the decoder row times the final norm's gain and the unembedding, per unit of activation, "
        f"up to one positive factor per token. What the layers after layer {sae.site.layer} do with it is not in it; "
        "compare with steering."
    )


def _token_bars(tokens: Sequence[TokenScore]):
    names = [f"“{visible(token.text)}”" for token in tokens]
    return plots.bars(names, [token.score for token in tokens], theme.palette(), x="change of the logit")


# Near it ------------------------------------------------------------------------------------------------------------


def _near(index: FeatureIndex, sae: Sae, feature: Feature) -> None:
    names = {"cosine": "Writes alike (decoder cosine)", "coactivation": "Fires together"}
    by = st.segmented_control(
        "Nearness",
        list(names),
        default="cosine",
        format_func=names.__getitem__,
        key="features_near",
        required=True,
        wrap=True,
    )
    neighbors = feature.by_cosine if by == "cosine" else feature.by_coactivation
    if not neighbors:
        st.caption("No feature fired on the same tokens.")
        return
    _neighbor_table(index, neighbors, "Cosine" if by == "cosine" else "Together", key=f"features_near_{by}")
    _similarity(sae, feature, neighbors)
    if by == "coactivation" and not index.about["exact_coactivation"]:
        st.caption("Counted on the strongest features of each token; the rarest pairs were dropped to save memory.")


def _neighbor_table(index: FeatureIndex, neighbors: Sequence[Neighbor], score: str, *, key: str) -> None:
    import numpy as np

    values = np.full(index.n_features, -np.inf)
    values[[n.index for n in neighbors]] = [n.value for n in neighbors]
    rows, _ = index.search(sort=values, limit=len(neighbors), dead=True)
    explore.table(rows, key=key, score=score)


def _similarity(sae: Sae, feature: Feature, neighbors: Sequence[Neighbor]) -> None:
    from ...features import decoder_cosines

    ids = [feature.index, *(n.index for n in neighbors)]
    names = [f"#{number}" for number in ids]
    figure = matrices.heatmap(decoder_cosines(sae, ids).tolist(), names, names, theme.palette(), height=400)
    chart(
        figure,
        title="Do they write the same thing?",
        caption="Cosine of the decoder rows: 1 the same direction, 0 unrelated, -1 opposite. "
        "Features that fire together and write alike may be one feature split in two.",
        key="features_similarity",
    )


# Neurons ------------------------------------------------------------------------------------------------------------


def _neurons(lm: Model, index: FeatureIndex, feature: Feature) -> None:
    if not feature.neurons:
        st.caption("There is no single MLP before this site, so there are no neurons to compare with.")
        return
    by_number = {neuron.index: neuron for neuron in feature.neurons}
    st.caption(
        f"The MLP neurons of layer {feature.neurons[0].layer} that write most nearly what it writes, by cosine. "
        f"Of as many random directions the nearest would reach about {chance_cosine(lm, feature):.2f}. A feature along "
        "one neuron is that neuron; one spread over many is seen in none of them alone."
    )
    chosen = st.segmented_control(
        "Neuron",
        list(by_number),
        default=feature.neurons[0].index,
        format_func=lambda n: f"{n} ({by_number[n].cosine:+.2f})",
        key=f"features_neuron_{feature.index}",
        required=True,
        wrap=True,
    )
    _neuron(index, by_number[int(chosen or feature.neurons[0].index)], feature)


def chance_cosine(lm: Model, feature: Feature) -> float:
    """About the largest cosine that random directions, as many as there are neurons, have with one of them."""
    from ...saes.neurons import neurons_before
    from ...sites import Site

    neurons = neurons_before(lm, Site(feature.neurons[0].layer, "resid_post"))
    return min(1.0, math.sqrt(2 * math.log(2 * len(neurons or ()) + 1) / lm.d_model))


def _neuron(index: FeatureIndex, neuron: Neuron, feature: Feature) -> None:
    with st.container(border=True, gap="small", key="card_neuron"):
        st.markdown(f"**What else fires neuron {neuron.index}**")
        peak = max((abs(example.value) for example in neuron.examples), default=1.0)
        for i, example in enumerate(neuron.examples):
            example_view(example, peak, key=f"features_neuron_example_{i}")
    others = [n for n in index.features_of_neuron(neuron.index) if n.index != feature.index][:8]
    if others:
        st.markdown(f"**Other features along neuron {neuron.index}**")
        _neighbor_table(index, others, "Cosine", key=f"features_of_neuron_{neuron.index}")
        st.caption("Several unlike features along one neuron: the neuron is polysemantic.")


# Notes --------------------------------------------------------------------------------------------------------------


def _note(index: FeatureIndex, feature: Feature) -> None:
    key = f"features_note_{feature.index}"

    def save() -> None:
        with clear_errors():
            index.write_note(feature.index, st.session_state[key])

    st.text_area(
        "Your note", feature.note, key=key, on_change=save, height=80, max_chars=4000, placeholder="What does it mean?",
        help="Kept on this machine and searched with the rest.",
    )  # fmt: skip
