"""Explore / Features: which feature is open, how the list is searched and sorted, and the index that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from ..building.pair_table import suitable
from ..shared import objects as services
from ..shared.indexes import find_index
from ..widgets.basics import literal
from . import gallery, indexing

if TYPE_CHECKING:
    import numpy as np

    from ...features import FeatureIndex, FeatureRow, TextFeatures
    from ...models.model import Model
    from ...saes.sae import Sae

FEATURE = "feature"
PAGE = "pages/explore/features.py"
SORTS = {
    "match": "Best match",
    "maximum": "Maximum activation",
    "density": "Density",
    "mean": "Mean activation",
    "pairs": "Separates a pair set",
    "text": "Fires on your text",
}
EXAMPLE_TEXT = "Is it true that seven plus five is thirteen? The professor says so."
LIMIT = 200


# The index and what is computed with it -----------------------------------------------------------------------------


def require_index(lm: Model, sae: Sae) -> FeatureIndex:
    """The feature index of an SAE; if there is none, draw the form that builds it and stop the page."""
    problem = None
    try:
        index = find_index(lm, sae)
    except ValueError as error:
        index, problem = None, str(error)
    if index is None:
        indexing.offer(lm, sae, problem)
        st.stop()
    return index


# Both are kept on the workbench, within its bound of memory, and go with the model and the SAE.


def separation_by(lm: Model, pairs: str) -> np.ndarray:
    """How well each feature of the visitor's SAE separates the two sides of a bundled pair set (AUROC)."""
    from ...directions.activations import of_pairs
    from ...directions.pairs import PairSet, bundled_pairs
    from ...features import separation

    if pairs not in bundled_pairs():
        raise ValueError(f"There is no pair set {pairs!r}; there are {', '.join(bundled_pairs()) or 'none'}.")
    bench = services.workbench(lm.name)
    sae = bench.need_sae("A separation of features")

    def make() -> np.ndarray:
        return separation(*of_pairs(bench.lm, PairSet.load(pairs), [sae.site], sae=sae)[sae.site])

    with st.spinner("Reading the pair set through the SAE"):
        return bench.kept(("features that separate", pairs), make)


def features_of(lm: Model, text: str | tuple[int, ...]) -> TextFeatures:
    """The features on every token of a text (or of token ids), by the visitor's SAE.

    Raises:
        ValueError: the text is empty or too long.
    """
    from ...features import features_of_text

    bench = services.workbench(lm.name)
    sae = bench.need_sae("Reading features")
    return bench.kept(("features of a text", text), lambda: features_of_text(bench.lm, sae, text))


# The list -----------------------------------------------------------------------------------------------------------


def choose(lm: Model, index: FeatureIndex) -> int:
    """Draw search, sort order and table; return the number of the open feature."""
    left, right = st.columns([5, 2], gap="small")
    query = left.text_input(
        "Search",
        key="features_query",
        bind="query-params",
        placeholder="a word of its texts, tokens or notes, or a number",
        help="Looks at names, the texts on which a feature fires most, the tokens it promotes, and your notes. "
        "Each word may be the beginning of one.",
    )
    sort, score, descending = _order(lm, index)
    stable = stability_of(lm)
    least = _least_stable(stable)
    rows, total = index.search(
        query or "", sort=sort if score is None else score, descending=descending, limit=LIMIT,
        among=stable >= least if stable is not None and least > 0 else None,
    )  # fmt: skip
    shown = f"first {len(rows)} of {total}" if total > len(rows) else str(total)
    st.caption(f"{shown} features" if total else "No feature matches. Search needs letters or digits.")
    if FEATURE not in st.session_state and FEATURE not in st.query_params and rows:
        st.session_state[FEATURE] = rows[0].index
    number = _number(index, right)
    view = st.segmented_control(
        "As", ["Cards", "Table"], default="Cards", key="features_as", required=True, bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    which = f"{hash((query, sort, descending, least)) & 0xFFFFFF:x}"
    if view == "Table":
        table(rows, key=f"features_table_{which}", score=_score_name(sort), height=560)
    else:
        gallery.cards(
            index, rows, key=which, open_one=number, opens=open_feature, score=_score_name(sort), stable=stable
        )
    return number


def _least_stable(stable: np.ndarray | None) -> float:
    """The stability from which features are listed, after drawing its slider where it is known."""
    if stable is None:
        return 0.0
    return float(st.slider(
        "At least this stable", 0.0, 1.0, 0.0, 0.05, key="features_stable",
        help="How well other dictionaries of this layer have the feature too: the mean of its best cosine there. "
        "Stable features are better things to steer.",
    ))  # fmt: skip


@st.cache_resource(max_entries=8, show_spinner="Comparing with the other dictionaries of this layer")
def _stability(folders: tuple[tuple[str, float], ...], model: str) -> np.ndarray | None:
    from pathlib import Path

    from ...jobs import files
    from ...saes.comparing.known import at_site, known_dictionaries, stability_of

    known = known_dictionaries(model, files.home())
    mine = next((one for one in known if one.folder == Path(folders[0][0])), None)
    found = None if mine is None else stability_of(mine, at_site(known, mine))
    return None if found is None else found.numpy()


def stability_of(lm: Model) -> np.ndarray | None:
    """How stable each feature of the visitor's SAE is over the other dictionaries of its layer, where there are any."""
    from ...jobs import files
    from ...saes.comparing.known import WEIGHTS, at_site, known_dictionaries

    sae = services.maybe_sae(lm.name)
    known = [] if sae is None or sae.folder is None else known_dictionaries(lm.name, files.home())
    mine = next((one for one in known if sae is not None and one.folder == sae.folder), None)
    if mine is None or not (others := at_site(known, mine)):
        return None
    stamps = tuple((str(one.folder), (one.folder / WEIGHTS).stat().st_mtime) for one in (mine, *others))
    return _stability(stamps, lm.name)


def _number(index: FeatureIndex, place: Any) -> int:
    """Draw the number field, which alone holds the open feature in the session and in the link; return the number."""
    last = index.n_features - 1
    if FEATURE in st.session_state:
        st.session_state[FEATURE] = min(int(st.session_state[FEATURE]), last)
    return int(place.number_input("Feature", 0, last, key=FEATURE, bind="query-params", help=f"0 to {last}"))


def _order(lm: Model, index: FeatureIndex) -> tuple[str, np.ndarray | None, bool]:
    """How the list is sorted: a name, numbers where they do not come from the index, and which end first."""
    sets = suitable(lm)
    options = [name for name in SORTS if name != "pairs" or sets]
    left, right = st.columns([3, 2], vertical_alignment="bottom", gap="small")
    sort = left.selectbox("Sort by", options, key="features_sort", bind="query-params", format_func=SORTS.__getitem__)
    lowest = right.toggle("Lowest", key="features_lowest", bind="query-params", help="The lowest first")
    try:
        if sort == "pairs":
            pairs = st.selectbox("Pair set", sets, key="features_pairs", bind="query-params")
            return sort, separation_by(lm, pairs), not lowest
        if sort == "text":
            text = st.text_area("Your text", EXAMPLE_TEXT, key="features_text", bind="query-params", height=80)
            return sort, features_of(lm, text).score(index.maximum), not lowest
    except ValueError as error:
        st.error(literal(str(error), 300))
        return "maximum", None, not lowest
    return sort, None, not lowest


def _score_name(sort: str) -> str | None:
    return {"pairs": "AUROC", "text": "On text"}.get(sort)


def table(
    rows: Sequence[FeatureRow],
    *,
    key: str,
    score: str | None = None,
    height: int | str = "content",
    opens: bool = False,
) -> None:
    """Draw features as a table in which a click opens a feature (with `opens`, on its own page)."""
    columns: dict[str, Any] = {
        "#": st.column_config.NumberColumn(width=48),
        "Fires on": st.column_config.NumberColumn(format="%.2f%%", width=70, help="Share of tokens on which it fires."),
        "Max": st.column_config.NumberColumn(format="%.1f", width=56),
        "Promotes": st.column_config.TextColumn(width=120, help="Tokens it makes more likely (logit lens)."),
        "Fires most on": st.column_config.TextColumn(
            width=260, help="Its strongest example; » stands before the peak."
        ),
    }
    if score:
        columns[score] = st.column_config.NumberColumn(format="%.2f", width=64)
    event = st.dataframe(
        [_cells(row, score) for row in rows],
        key=key,
        hide_index=True,
        column_config=columns,
        column_order=[
            "#",
            *([score] if score else [] if opens else ["Max"]),
            *([] if opens else ["Fires on"]),
            "Promotes",
            "Fires most on",
        ],
        on_select=lambda: _open_row(key, [row.index for row in rows]),
        selection_mode="single-row",
        height=height,  # type: ignore[arg-type]
        row_height=32,
    )
    if opens and event["selection"]["rows"]:
        st.switch_page(PAGE, query_params={})


def with_score(row: FeatureRow, score: float) -> FeatureRow:
    """The row with another score to show."""
    return replace(row, score=score)


def _cells(row: FeatureRow, score: str | None) -> dict[str, Any]:
    from ...showing.visible import visible

    before, peak, after = row.context
    cells = {
        "#": row.index,
        "Fires on": 100 * row.density,
        "Max": row.maximum,
        "Promotes": " ".join(visible(text).strip() for text in row.promoted[:5]),
        "Fires most on": visible(f"{before[-14:]}»{peak}{after}"),
    }
    return {**cells, score: row.score} if score else cells


def _open_row(key: str, numbers: Sequence[int]) -> None:
    picked = st.session_state[key]["selection"]["rows"]
    if picked and picked[0] < len(numbers):
        open_feature(numbers[picked[0]])


def open_feature(number: int) -> None:
    """Open a feature (a callback)."""
    st.session_state[FEATURE] = int(number)
