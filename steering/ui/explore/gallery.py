"""Features as cards: a name, the best example, how often and how strongly it fires, what it promotes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from ...showing.visible import visible
from ..widgets.basics import literal
from ..widgets.tokens import Token, token_view

if TYPE_CHECKING:
    import numpy as np

    from ...features import Example, Feature, FeatureIndex, FeatureRow

PER_PAGE = 6
BEFORE, AFTER = 7, 4  # tokens of an example on a card
BLOCKS = "▁▂▃▄▅▆▇█"


def cards(
    index: FeatureIndex,
    rows: Sequence[FeatureRow],
    *,
    key: str,
    open_one: int,
    opens: Callable[[int], None],
    score: str | None = None,
    stable: np.ndarray | None = None,
) -> None:
    """Draws a page of features as cards; the button with a card's name opens that feature.

    Args:
        opens: called with the number of the feature that was chosen.
        score: what the rows' scores are called, if they have any to show.
    """
    pages = max(1, -(-len(rows) // PER_PAGE))
    at = f"features_page_{key}"
    page = min(int(st.session_state.get(at, 0)), pages - 1)
    with st.container(key="features_gallery", gap="small"):
        for row in rows[page * PER_PAGE : (page + 1) * PER_PAGE]:
            _card(index, row, row.index == open_one, opens, score, stable)
    if pages > 1:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.button("Back", key=f"{at}_back", disabled=page == 0, on_click=_turn, args=(at, page - 1),
                      icon=":material/chevron_left:")  # fmt: skip
            st.caption(f"{page + 1} of {pages}", width="content")
            st.button("Next", key=f"{at}_next", disabled=page == pages - 1, on_click=_turn, args=(at, page + 1),
                      icon=":material/chevron_right:")  # fmt: skip


def _turn(key: str, page: int) -> None:
    st.session_state[key] = page


def _card(
    index: FeatureIndex,
    row: FeatureRow,
    is_open: bool,
    opens: Callable[[int], None],
    score: str | None,
    stable: np.ndarray | None,
) -> None:
    feature = index.feature(row.index)
    with st.container(border=True, gap="xsmall", key=f"{'card_open' if is_open else 'feature_card'}_{row.index}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.button(
                literal(title(feature, row.name), 60), key=f"features_open_{row.index}", type="tertiary",
                on_click=opens, args=(row.index,), disabled=is_open,
            )  # fmt: skip
            extra = "" if score is None or row.score is None else f"{score} {row.score:.2f} · "
            steady = "" if stable is None else f"stable {stable[row.index]:.2f} · "
            st.caption(f"{extra}{steady}\\#{row.index}", width="content")
        if feature.bands and feature.bands[0].examples:
            best = short(feature.bands[0].examples[0])
            tokens = [Token(visible(t), v or None) for t, v in zip(best.tokens, best.activations, strict=True)]
            token_view(tokens, key=f"features_card_{row.index}", scale=feature.maximum, selected=best.peak,
                       label=f"Strongest example of feature {row.index}")  # fmt: skip
        promoted = "  ".join(f"“{visible(token.text).strip()}”" for token in feature.promoted[:4])
        st.caption(
            f"{spark(feature)}  {often(feature.density)}" + (f" · promotes {literal(promoted)}" if promoted else "")
        )


def title(feature: Feature, name: str) -> str:
    """A feature's name, or what it promotes until it has one."""
    if name:
        return name
    words = " ".join(visible(token.text).strip() for token in feature.promoted[:3])
    return f"promotes {words}" if words else f"Feature {feature.index}"


def short(example: Example) -> Example:
    """The part of an example around its peak that fits on a card."""
    from dataclasses import replace

    low, high = max(0, example.peak - BEFORE), example.peak + AFTER + 1
    return replace(
        example, tokens=example.tokens[low:high], activations=example.activations[low:high], peak=example.peak - low
    )


def spark(feature: Feature, bars: int = 8) -> str:
    """How strongly a feature fires where it fires, as a line of blocks from weak to strong."""
    counts = list(feature.histogram)
    used = [i for i, count in enumerate(counts) if count]
    if not used:
        return ""
    part = counts[max(used[0], used[-1] - bars + 1) : used[-1] + 1]
    most = max(part)
    return "".join(BLOCKS[min(7, int(7.99 * count / most))] if count else " " for count in part)


def often(density: float) -> str:
    """How often a feature fires, for a reader."""
    if density <= 0:
        return "never fired"
    return f"1 in {round(1 / density):,} tokens" if density < 0.2 else f"{density:.0%} of tokens"
