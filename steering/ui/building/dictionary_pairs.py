"""Build / Dictionaries: dictionaries beside each other: how good, how alike, what they share, what one lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ...plots import matrices
from ...plots import training as plots
from ...showing.visible import visible
from ..explore.feature_cards import example_view
from ..shared.indexes import index_bytes
from ..widgets import theme
from ..widgets.basics import chart, literal, option
from . import dictionary_table

if TYPE_CHECKING:
    from torch import Tensor

    from ...features import FeatureIndex
    from ...jobs.kept import Kept
    from ...models.model import Model
    from ...saes.comparing.comparison import FeatureComparison
    from ...saes.comparing.known import KnownDictionary

MOST = 8  # dictionaries in the table of all with all
CELLS = 40  # features in the heatmap of two
COUPLES = 5
ORDERS = {"most": "The most alike", "middle": "In the middle", "least": "The least alike"}


def known(lm: Model) -> list[KnownDictionary]:
    """The dictionaries of the visitor's model on this machine."""
    from ...jobs import files
    from ...saes.comparing.known import known_dictionaries

    return known_dictionaries(lm.name, files.home())


def show(lm: Model) -> None:
    """Draws the dictionaries of a model, how alike they are, and two of them feature by feature."""
    found = known(lm)
    dictionary_table.draw(found, key="dictionaries_all")
    if len(found) < 2:
        st.info("Two dictionaries are needed to compare. Train one under Train: another seed, kind or layer.")
        return
    names = {one.name: one for one in found}
    chosen = _two(found, list(names))
    if chosen is None:
        st.caption("Choose two different dictionaries.")
        return
    left, right = (names[name] for name in chosen)
    if _width(left) != _width(right):
        st.info("They read streams of different widths, so their features cannot be compared.")
        return
    result = _compared(_stamp(left), _stamp(right))
    _headline(left, right, result)
    view = st.segmented_control(
        "Show", ["Matched features", "Heatmap", "Missing", "Stability", "All dictionaries"],
        default="Matched features", key="dictionaries_show", required=True, label_visibility="collapsed", wrap=True,
        bind="query-params",
    )  # fmt: skip
    if view == "Heatmap":
        _heatmap(left, right, result)
    elif view == "Missing":
        _missing(lm, left, right, result)
    elif view == "Stability":
        _stability(found, left)
    elif view == "All dictionaries":
        _everything(found)
    else:
        _matched(left, right, result)


def _two(found: list[KnownDictionary], names: list[str]) -> tuple[str, str] | None:
    """The two that are compared; by default two of one site, where there are."""
    first = next((i for i, one in enumerate(found) if any(other.site == one.site for other in found[i + 1 :])), 0)
    second = next((i for i, one in enumerate(found) if i > first and one.site == found[first].site), first + 1)
    columns = st.columns(2, gap="medium")
    left = columns[0].selectbox("Left", names, first, key=f"dictionaries_left_{len(names)}")
    right = columns[1].selectbox("Right", names, second, key=f"dictionaries_right_{len(names)}")
    return None if left == right or left is None or right is None else (left, right)


# Computed -----------------------------------------------------------------------------------------------------------


def _stamp(one: KnownDictionary) -> tuple[str, float]:
    """A dictionary as a key: its folder, and when its weights were written."""
    return str(one.folder), (one.folder / "sae_weights.safetensors").stat().st_mtime


KEPT_BYTES = 2**29  # of decoders, of what is known of pairs of them, and of opened indexes


@st.cache_resource(show_spinner=False)
def _kept() -> Kept:
    """What was read and computed of dictionaries, within KEPT_BYTES."""
    from ...jobs.kept import Kept

    return Kept(KEPT_BYTES, index_bytes)


def _rows(folder: str, changed: float) -> Tensor:
    from safetensors import safe_open

    def read() -> Tensor:
        with safe_open(Path(folder) / "sae_weights.safetensors", "pt") as file:
            return file.get_tensor("W_dec").float()

    return _kept().get(("rows", folder, changed), read)


def _compared(left: tuple[str, float], right: tuple[str, float]) -> FeatureComparison:
    from ...saes.comparing.comparison import compare

    with st.spinner("Matching the features of both, one to one"):
        return _kept().get(("compared", left, right), lambda: compare(_rows(*left), _rows(*right)))


def _alike(stamps: tuple[tuple[str, float], ...]) -> list[list[float]]:
    from ...saes.comparing.comparison import alike

    with st.spinner("Comparing all dictionaries"):
        return _kept().get(("alike", stamps), lambda: alike([_rows(*stamp) for stamp in stamps]))


def _width(one: KnownDictionary) -> int:
    return int(_rows(*_stamp(one)).shape[1])


def _opened(folder: str, changed: float) -> FeatureIndex:
    from ...features import FeatureIndex

    return _kept().get(("index", folder, changed), lambda: FeatureIndex.open(folder))


def index_of(one: KnownDictionary) -> FeatureIndex | None:
    """The index beside a dictionary's weights, or None where it has none that can be read."""
    folder = one.folder / "index"
    base = folder / "features.sqlite"
    try:
        return _opened(str(folder), base.stat().st_mtime) if base.is_file() else None
    except ValueError:
        return None


# Shown --------------------------------------------------------------------------------------------------------------


def _headline(left: KnownDictionary, right: KnownDictionary, result: FeatureComparison) -> None:
    from ...saes.comparing.comparison import SAME

    found = result.matching
    st.markdown(
        f"**{result.shared:.0%} of {len(found.cosine):,} matched features are the same** (cosine of at least "
        f"{SAME:g}); mean cosine {found.mean:.2f}. A random direction's nearest feature has at most "
        f"{result.chance:.2f} (99 of 100 times)."
    )
    chart(
        plots.cosine_histogram(found.cosine.tolist(), theme.palette(), chance=result.chance),
        title="How alike the matched features are",
        caption="Every feature on the left has one partner on the right, chosen so that the cosines add up to most.",
        key="dictionaries_cosines",
    )


def _matched(left: KnownDictionary, right: KnownDictionary, result: FeatureComparison) -> None:
    import numpy as np

    order = str(st.segmented_control(
        "Which", list(ORDERS), default="most", format_func=ORDERS.__getitem__, key="dictionaries_order", required=True,
        label_visibility="collapsed",
    ))  # fmt: skip
    places = np.argsort(-result.matching.cosine, kind="stable")
    start = {"most": 0, "middle": max(0, len(places) // 2 - COUPLES // 2), "least": max(0, len(places) - COUPLES)}[
        order
    ]
    for place in places[start : start + COUPLES]:
        one, other = int(result.matching.left[place]), int(result.matching.right[place])
        with st.container(border=True, gap="small"):
            st.caption(f"cosine {result.matching.cosine[place]:.3f}")
            columns = st.columns(2, gap="medium")
            _feature(columns[0], left, one, f"left_{one}")
            _feature(columns[1], right, other, f"right_{other}")


def _feature(column, dictionary: KnownDictionary, number: int, key: str) -> None:
    """Draws a feature's number and name, what it promotes and its two best examples."""
    index = index_of(dictionary)
    with column:
        if index is None:
            st.markdown(f"**Feature {number}**")
            st.caption("No examples: this dictionary has no index yet. Open it under Features to build one.")
            return
        feature = index.feature(number)
        words = "  ".join(f"“{visible(token.text)}”" for token in feature.promoted[:4])
        name = index.name(number)
        st.markdown(f"**Feature {number}**" + (f" · {literal(name, 60)}" if name else ""))
        st.text(f"promotes {words}" if words else "promotes nothing in particular")
        for i, example in enumerate(feature.bands[0].examples[:2] if feature.bands else ()):
            example_view(example, feature.maximum, key=f"dictionaries_{key}_{i}")
        if feature.dead:
            st.caption("Fired on none of the texts of its index.")


def _heatmap(left: KnownDictionary, right: KnownDictionary, result: FeatureComparison) -> None:
    from ...saes.comparing.comparison import table_of

    values, places = table_of(_rows(*_stamp(left)), _rows(*_stamp(right)), result, CELLS)
    rows, columns = ([str(n) for n in side[places]] for side in (result.matching.left, result.matching.right))
    figure = matrices.heatmap(
        values.tolist(), rows, columns,
        theme.palette(), x=option(right.name, 60), y=option(left.name, 60), height=640, numbers=False,
    )  # fmt: skip
    chart(
        figure, title=f"{len(places)} couples from the most alike to the least",
        caption="Couples lie on the diagonal. Color beside it: a feature of one is split, or shared, among several of "
        "the other.",
        key="dictionaries_heatmap",
    )  # fmt: skip


def _missing(lm: Model, left: KnownDictionary, right: KnownDictionary, result: FeatureComparison) -> None:
    columns = st.columns(2, gap="medium")
    for column, mine, other, is_left in ((columns[0], left, right, True), (columns[1], right, left, False)):
        column.markdown(f"**In {literal(mine.name, 60)}, not in the other**")
        for number, best in result.lacking(is_left, COUPLES):
            with column.container(border=True, gap="xsmall"):
                st.caption(f"its nearest in {literal(option(other.name, 50))} has cosine {best:.2f}")
                _feature(st.container(), mine, number, f"missing_{is_left}_{number}")


def _stability(found: list[KnownDictionary], one: KnownDictionary) -> None:
    from ...saes.comparing.known import at_site
    from ...saes.comparing.matching import stability

    others = at_site(found, one)
    if not others:
        st.info("Stability compares with other dictionaries of the same layer; there is none for this one.")
        return
    values = stability(_rows(*_stamp(one)), [_rows(*_stamp(other)) for other in others]).numpy()
    chart(
        plots.cosine_histogram(values.tolist(), theme.palette(), x="stability"),
        title=f"{float((values >= 0.7).mean()):.0%} of the features of {literal(one.name)} are stable",
        caption=f"For each feature the mean of its best cosine in {len(others)} other dictionaries of this layer; at "
        "least 0.7 counts as stable. The Features page shows it on each card and can filter by it.",
        key="dictionaries_stability",
    )
    order = values.argsort(kind="stable")
    for title, numbers in (("The most stable", order[::-1][:3]), ("The least stable", order[:3])):
        st.markdown(f"**{title}**")
        for number in numbers:
            with st.container(border=True, gap="xsmall"):
                st.caption(f"stability {values[number]:.2f}")
                _feature(st.container(), one, int(number), f"stable_{title[4:8].strip()}_{number}")


def _everything(found: list[KnownDictionary]) -> None:
    shown = found[:MOST] if len({_width(one) for one in found[:MOST]}) == 1 else []
    if not shown:
        st.info("These dictionaries read streams of different widths.")
        return
    names = [option(one.name, 40) for one in shown]
    values = _alike(tuple(_stamp(one) for one in shown))
    chart(
        matrices.heatmap(values, names, names, theme.palette(), low=0.0, height=120 + 44 * len(names)),
        title="How much of a dictionary is found in another",
        caption="Mean over the features of the row's dictionary of the best cosine in the column's. Neighboring "
        "layers share more than far layers do.",
        key="dictionaries_alike",
    )
