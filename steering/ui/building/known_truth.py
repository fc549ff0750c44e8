"""Build / Dictionaries: what losses find where the true features are known, and what is polysemantic without them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...plots import training as plots
from ...plots.codes import code_card
from ..shared.state import ASSETS
from ..widgets import theme
from ..widgets.basics import chart

if TYPE_CHECKING:
    from ...saes.truth.polysemy import CodeMeasures, NeuronCode

RESULTS = ASSETS / "saes" / "synthetic" / "results.json"
SAYS = {
    "found": ("True features found", "Share of the true features that some learnt one points along (cosine 0.9)."),
    "variance": ("Explained variance", "On data with known features."),
    "model": ("Explained variance, organism", "On the organism's activations after layer 3: no truth is known there."),
}


@st.cache_data(show_spinner=False)
def _results(changed: float) -> dict[str, Any]:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


@st.cache_resource(show_spinner="Measuring five small codes")
def _codes() -> list[tuple[NeuronCode, CodeMeasures]]:
    from ...saes.truth.polysemy import codes, measure_code

    return [(code, measure_code(code)) for code in codes()]


def show() -> None:
    """Draws the bundled experiment's results and the codes."""
    if RESULTS.is_file():
        _experiment(_results(RESULTS.stat().st_mtime))
    st.subheader("One neuron, several features: not always superposition", anchor=False)
    st.caption(
        "A neuron that answers to several features is called polysemantic. Superposition is one reason; three others "
        "look alike at the neuron and differ in the plots beside it. Each code below is as small as it can be. "
        "On the right: solid, its own reader; dotted, a linear probe."
    )
    for number, (code, found) in enumerate(_codes()):
        with st.container(border=True, gap="xsmall", key=f"dictionaries_code_{number}"):
            chart(
                code_card(
                    code.vectors.tolist(), found.alignment.tolist(), found.interference.tolist(), found.linear,
                    found.own, theme.palette(),
                ),
                title=f"{code.name}: a neuron answers to {found.answers:.1f} of {code.features} features",
                caption=code.tells, key=f"dictionaries_code_plot_{number}",
            )  # fmt: skip


def _experiment(results: dict[str, Any]) -> None:
    from ...saes.truth.report import curves_of, mutual_table
    from ...saes.truth.world import FOUND

    about, world = results["experiment"], results["experiment"]["world"]
    st.markdown(
        f"**{world['features']} known features in {world['width']} dimensions**, about {world['active']:g} at a time, "
        f"correlated; {about['seeds']} seeds, bands are 95% intervals."
    )
    shown = [name for name in SAYS if name != "model" or "model" in results]
    for column, name in zip(st.columns(len(shown), gap="medium"), shown, strict=True):
        rows = results["model"] if name == "model" else results["losses"]
        measure = "variance" if name == "model" else name
        with column:
            title, caption = SAYS[name]
            figure = plots.pareto(curves_of(rows, measure), theme.palette(), y=title.lower())
            chart(figure, title=title, caption=caption, key=f"dictionaries_pareto_{name}")
    st.markdown("**Do features that several dictionaries find exist more often?**")
    st.markdown(mutual_table(results["mutual"]))
    st.caption(
        f"Groups of {about['group']} {about['mutual_loss']} dictionaries; weight 0 is independent training, the others "
        f"add mutual feature regularization. Stable: the mean of its best cosine in the others is at least {FOUND:g}. "
        "“Less 0” is the difference from independent training, seed by seed. "
        "python -m steering.saes truth makes these numbers."
    )
