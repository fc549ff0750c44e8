"""Explore / Tokens: a text, token by token: which features fire, and each layer's projection and next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from ...models.passages import pieces
from ...plots import matrices
from ...recipes.sources import Source
from ...showing.visible import visible
from ..building.pair_table import suitable
from ..shared import current, readings
from ..shared.directions import direction_choices, saved_direction
from ..shared.examples import HAPPY, SAD
from ..shared.frame import short_name
from ..widgets import prompt_notes, theme
from ..widgets.basics import chart, clear_errors, literal, option
from ..widgets.tokens import Token, token_view
from . import browsing as explore

if TYPE_CHECKING:
    import numpy as np

    from ...features import FeatureIndex, TextFeatures
    from ...measurements.layers import Guesses
    from ...models.model import Model
    from ...recipes.workbench import Workbench
    from ...saes.sae import Sae
    from ...sites import Site

AT = "tokens_at"
WORDS, LAYERS = 12, 16  # tokens and layers of a grid whose cells hold words
TINTS = {"strongest": "Strongest feature", "feature": "One feature", "none": "No tint"}
EXAMPLE_CHAT = "I am a professor, and I know that 7 plus 5 is 13. Is that right?"
EXAMPLE_TEXT = "Once upon a time there was a little dog. One day the dog was sad and cried, but then his friend came."


@dataclass(frozen=True)
class Text:
    """What the visitor wrote, as the model reads it."""

    tokens: tuple[int, ...]
    texts: tuple[str, ...]
    features: TextFeatures | None

    @property
    def prompt(self) -> list[int]:
        """The tokens as a prompt."""
        return list(self.tokens)


# The text -----------------------------------------------------------------------------------------------------------


def choose_text(lm: Model, sae: Sae | None) -> Text:
    """The chosen text with its features; if it cannot be read, draw one sentence and stop the page."""
    default = EXAMPLE_CHAT if lm.has_chat_template else EXAMPLE_TEXT
    current.follow("tokens_text", current.prompt(), default)
    text = st.text_area("Your text", key="tokens_text", bind="query-params", height=110, max_chars=20_000)
    chat = lm.has_chat_template and st.toggle(
        "As a chat message", value=True, key="tokens_chat", bind="query-params",
        help="Through the model's chat template, as the user's message.",
    )  # fmt: skip
    prompt_notes.show(lm, [] if chat else [text or ""])
    try:
        return read(lm, sae, text or "", bool(chat))
    except ValueError as error:
        st.error(literal(str(error), 300))
        st.stop()


def read(lm: Model, sae: Sae | None, text: str, chat: bool) -> Text:
    """The tokens of a text (or of a user's message) and the features on each.

    Raises:
        ValueError: it is empty or too long.
    """
    from ...models.chat import chat as message

    tokens = lm.tokens(message(text) if chat and text.strip() else text)
    features = None if sae is None else explore.features_of(lm, tuple(tokens))
    return Text(tuple(tokens), tuple(pieces(lm, tokens)), features)


def selected(text: Text) -> int:
    """The selected token: the one clicked last, at first the last token."""
    at = st.session_state.get(AT)
    return at if isinstance(at, int) and 0 <= at < len(text.tokens) else len(text.tokens) - 1


def select(position: int | None) -> None:
    """Select another token, in a new run of the page."""
    if position is not None and position != st.session_state.get(AT):
        st.session_state[AT] = position
        st.rerun()


# Tokens and their features ------------------------------------------------------------------------------------------


def show_tokens(text: Text, index: FeatureIndex | None) -> None:
    """Draw the tokens, tinted by what is chosen; a click selects one."""
    tint = "none"
    if text.features is not None:
        tint = str(
            st.segmented_control(
                "Tint", list(TINTS), default="strongest", format_func=TINTS.__getitem__, key="tokens_tint",
                required=True, bind="query-params", label_visibility="collapsed",
            )
        )  # fmt: skip
    values, note = _tint(text, index, tint)
    tokens = [
        Token(piece, value, (("position", str(i)), *tip))
        for i, (piece, (value, tip)) in enumerate(zip(text.texts, values, strict=True))
    ]
    with st.container(border=True, key="card_tokens"):
        select(token_view(tokens, key="tokens_view", selected=selected(text), label="Your text"))
    what = "mark it in the layers below" if text.features is None else "see its features"
    st.caption(f"{len(tokens)} tokens. {note}Click a token to {what}.")


def _tint(text: Text, index: FeatureIndex | None, tint: str) -> tuple[list[tuple[float | None, tuple]], str]:
    """For each token the number that tints it and its tooltip; and what the tint means."""
    if text.features is None:
        return [(None, ())] * len(text.tokens), ""
    if tint == "feature":
        number = _feature_number(text.features)
        values = text.features.activations[:, number].tolist()
        return [(value, ((f"feature {number}", f"{value:.2f}"),)) for value in values], f"Tint: feature {number}. "
    found: list[tuple[float | None, tuple]] = []
    for position in range(len(text.tokens)):
        top = text.features.strongest(position, 3)
        tip = tuple((f"feature {number}", f"{value:.2f}") for number, value in top)
        found.append((top[0][1] if top and tint == "strongest" else None, tip))
    return found, "Tint: the strongest activation of any feature. " if tint == "strongest" else ""


def _feature_number(features: TextFeatures) -> int:
    last = features.activations.shape[1] - 1
    default = int(features.activations.sum(0).argmax())
    if "tokens_feature" in st.session_state:
        st.session_state["tokens_feature"] = min(int(st.session_state["tokens_feature"]), last)
        return int(st.number_input("Feature", 0, last, key="tokens_feature", bind="query-params", width=160))
    return int(st.number_input("Feature", 0, last, default, key="tokens_feature", bind="query-params", width=160))


def show_features(text: Text, index: FeatureIndex | None) -> None:
    """Draw the strongest features of the selected token; a click opens one."""
    import numpy as np

    position = selected(text)
    st.markdown(f"**Features on “{literal(visible(text.texts[position]), 24)}”**")
    if position == len(text.tokens) - 1:
        st.caption("The last token, where the model decides how to go on. Click any other token.")
    if text.features is None:
        st.info("No SAE is loaded, so there are no features to show. Choose one in the sidebar. The layers below work.")
        return
    strongest = text.features.strongest(position, 12)
    if not strongest:
        st.caption("No feature fires on this token. The first token (BOS) is never counted.")
        return
    if index is None:
        st.dataframe([{"#": number, "Activation": value} for number, value in strongest], hide_index=True)
        st.caption("Build this SAE's index on Explore / Features to see what each one fires on.")
        return
    values = np.full(index.n_features, -np.inf)
    values[[number for number, _ in strongest]] = [value for _, value in strongest]
    rows, _ = index.search(sort=values, limit=len(strongest), dead=True)
    explore.table(rows, key=f"tokens_features_{position}", score="Here", opens=True)
    st.caption("Here: the activation on this token. Click a row to open the feature.")


# Layers -------------------------------------------------------------------------------------------------------------


def _sides(bench: Workbench, source: str, positive: str, negative: str) -> dict | None:
    """Activations of the two sides after each layer, for a pair set or two texts; None until asked for and read."""
    from ...sites import Site

    lm = bench.lm
    pairs = bench.pair_set(Source(source, positive=positive, negative=negative))
    key = ("tokens", pairs.content_hash)
    cost = f"{2 * len(pairs)} texts go through {short_name(lm.name)}, once: after each of its {lm.n_layers} layers."
    quick = len(pairs) == 1  # two sentences of the visitor's own
    texts = 2 * len(pairs)
    if bench.find(key) is None and not quick and not readings.asked(bench, "tokens", "Read the direction", cost, texts):
        return None
    sites = [Site(layer) for layer in range(lm.n_layers)]
    return readings.value(bench, key, lambda: bench.activations(pairs, sites), f"Reading {len(pairs)} pairs")


def _guesses(bench: Workbench, tokens: tuple[int, ...]) -> tuple[Guesses, list[list[str]]] | None:
    from ...measurements.layers import layer_guesses

    def make() -> tuple[Guesses, list[list[str]]]:
        guesses = layer_guesses(bench.lm, tokens)
        return guesses, [bench.lm.token_texts(row.tolist()) for row in guesses.tokens]

    return readings.value(bench, ("guesses", tokens), make, "Asking every layer what it would say next")


def show_layers(bench: Workbench, text: Text) -> None:
    """Draw each layer's projection of each token on a direction, and each layer's guess of the next token."""
    names = {"direction": "Along a direction", "guess": "What each layer would say next"}
    view = st.segmented_control(
        "By layer", list(names), default="direction", format_func=names.__getitem__, key="tokens_layers",
        required=True, bind="query-params", label_visibility="collapsed",
    )  # fmt: skip
    with clear_errors():
        point = _directions(bench, text) if view == "direction" else _say_next(bench, text)
        select(int(point["x"]) if point else None)


def directions(lm: Model) -> dict[str, str]:
    """The directions that fit a model, value -> shown name; two texts come first where there is no chat template."""
    everything = direction_choices()
    sets = [f"pairs:{name}" for name in suitable(lm)]
    others = [key for key in everything if not key.startswith("pairs:")]
    keys = [*sets, *others] if lm.has_chat_template else [*others[::-1], *sets]
    return {key: everything[key].removeprefix("general ") for key in keys if key in everything}


def _directions(bench: Workbench, text: Text) -> dict | None:
    lm = bench.lm
    choices = directions(lm)
    left, right = st.columns([1, 2], gap="medium", vertical_alignment="bottom")
    options = list(choices)
    step = current.step()
    current.follow("tokens_direction", step and step.direction, options[0], options)
    source = left.selectbox(
        "Direction", options, format_func=lambda o: option(choices[o]), key="tokens_direction",
        bind="query-params",
    )  # fmt: skip
    positive = negative = ""
    if source == "texts":
        a, b = right.columns(2, gap="small")
        positive = a.text_input("Toward", HAPPY, key="tokens_positive", bind="query-params", max_chars=2000) or ""
        negative = b.text_input("Away from", SAD, key="tokens_negative", bind="query-params", max_chars=2000) or ""
    scores = _scores(bench, text, source, positive, negative)
    if scores is None:
        return None
    values, saved = scores
    limit = 1.0 if saved else max(1.5, min(3.0, float(abs(values[:, 1:]).max()) if values.shape[1] > 1 else 1.5))
    unit = "cosine" if saved else "of the way to a class"
    caption = (
        "Cosine of each token's activation with the saved direction."
        if saved
        else "+1: where the positive texts are on average, -1: where the negative ones are, 0: halfway. Each layer has "
        "a direction of its own, the mean difference there. The first token is far off in most models."
    )
    figure = matrices.token_grid(
        values.tolist(), [str(i) for i in range(lm.n_layers)], [visible(t) for t in text.texts], theme.palette(),
        limit=limit, unit=unit, selected=selected(text),
    )  # fmt: skip
    return chart(
        figure, title="Which way each token points, layer by layer", caption=caption, key="tokens_grid", select=True
    )


def _scores(bench: Workbench, text: Text, source: str, positive: str, negative: str) -> tuple[np.ndarray, bool] | None:
    """The numbers of the heatmap, and whether they are cosines with a saved direction; None until they are computed."""
    from ...measurements.layers import class_scores, direction_scores
    from ...sites import Site

    lm = bench.lm
    if source.startswith("saved:"):
        sites: Sequence[Site] = [Site(layer) for layer in range(lm.n_layers)]
        return direction_scores(lm, text.prompt, saved_direction(source.removeprefix("saved:")), sites), True
    sides = _sides(bench, source, positive, negative)
    return None if sides is None else (class_scores(lm, text.prompt, sides), False)


def window(count: int, at: int, width: int = WORDS) -> range:
    """The places of at most `width` tokens: those up to the one looked at, and what follows where that is few."""
    start = max(0, min(at + 1 - width, count - width))
    return range(start, min(count, start + width))


def spread(n_layers: int, most: int = LAYERS) -> list[int]:
    """At most `most` layers in equal steps, the last one always among them."""
    step = -(-n_layers // most)
    return sorted(range(n_layers - 1, -1, -step))


def _say_next(bench: Workbench, text: Text) -> dict | None:
    lm, found = bench.lm, _guesses(bench, text.tokens)
    if found is None:
        return None
    guesses, words = found
    at, layers = selected(text), spread(lm.n_layers)
    places = window(len(text.texts), at)
    left, right = st.columns([3, 1], gap="medium")
    with right:
        _column(text, at, guesses, words)
    with left:
        figure = matrices.token_grid(
            [[float(guesses.probabilities[layer][place]) for place in places] for layer in layers],
            [str(layer) for layer in layers], [visible(text.texts[place]) for place in places], theme.palette(),
            cells=[[visible(words[layer][place]) for place in places] for layer in layers], unit="probability",
            selected=at - places.start,
        )  # fmt: skip
        point = chart(
            figure,
            title="What each layer would say next",
            caption="Each cell: the token that the layer would write after the one below. Logit lens: the stream after "
            "the layer through the final norm and the unembedding. The top row is the model's own next token; lower "
            "rows show when it makes up its mind."
            + (f" The {len(places)} tokens up to the one that you look at." if len(places) < len(text.texts) else "")
            + (
                f" {len(layers)} of {lm.n_layers} layers; all of them on the right."
                if len(layers) < lm.n_layers
                else ""
            ),
            key="tokens_lens",
            select=True,
            says=f"After “{visible(text.texts[at])}”: "
            + ", ".join(f"layer {layer} “{visible(words[layer][at])}”" for layer in layers),
        )
    return {**point, "x": int(point["x"]) + places.start} if point else None


def _column(text: Text, at: int, guesses: Guesses, words: list[list[str]]) -> None:
    """List what every layer would say after the token that is looked at."""
    st.markdown(f"**After “{literal(visible(text.texts[at]), 20)}”**")
    rows = [
        {
            "Layer": layer,
            "Says next": visible(words[layer][at]),
            "Chance": 100 * float(guesses.probabilities[layer][at]),
        }
        for layer in reversed(range(len(words)))
    ]
    st.dataframe(
        rows,
        hide_index=True,
        height=min(38 + 35 * len(rows), 420),
        column_config={"Chance": st.column_config.NumberColumn(format="%.0f%%")},
    )
