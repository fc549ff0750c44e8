"""Build / Direction: the pairs in an editor, from a bundled set, a file or by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from ...checkpoints.bundled import trained_here
from ..shared import current
from ..widgets.basics import clear_errors, literal

if TYPE_CHECKING:
    from ...directions.pairs import PairSet
    from ...models.model import Model

TABLE, VERSION, LOADED = "direction_table", "direction_version", "direction_loaded"
OWN = "own"
COLUMNS = ("use", "prompt", "positive", "negative")
SIDES = ("positive_prompt", "negative_prompt")
EXAMPLE = (
    ("One day", " the sun was warm and everybody was happy.", " the rain was cold and everybody was sad."),
    ("The little dog", " played and laughed with his friends.", " cried because he was all alone."),
    ("Tom opened the box and", " smiled. It was a wonderful gift!", " cried. It was empty and broken."),
    ("Lily went to the park and", " had so much fun with her mom.", " fell and hurt her knee."),
    ("The girl looked at her cat and", " hugged it with joy.", " was afraid it would die."),
    ("At the end of the day", " they were all glad and thankful.", " they were all angry and tired."),
    ("The bird sang", " a happy song and everyone danced.", " a sad song and nobody listened."),
    ("When he came home", " his family gave him a big hug.", " nobody was there and it was dark."),
)


def choose_pairs(lm: Model) -> PairSet | None:
    """Draw source, upload and editor; return the pairs that are switched on, or None where there are too few."""
    left, right = st.columns([3, 2], vertical_alignment="bottom", gap="small")
    options = [*suitable(lm), OWN] if lm.has_chat_template else [OWN, *suitable(lm)]
    step = current.step()
    current.follow("direction_source", step and step.direction.removeprefix("pairs:"), options[0], options)
    source = left.selectbox(
        "Pairs", options, key="direction_source", bind="query-params", format_func=_source_name,
        help="Two texts that differ in what the direction is to capture. Edit any cell; your changes stay yours.",
    )  # fmt: skip
    with right.popover("Upload", width="stretch"):
        _upload()
    _load(source)
    with clear_errors():
        rows = _edit()
        pairs = pairs_of(rows, "" if source == OWN else source)
        _remarks(pairs)
        return pairs
    return None


def suitable(lm: Model) -> list[str]:
    """The bundled sets for a model: those in the bundled models' own small language, or the general ones."""
    from ...directions.pairs import bundled_pairs

    own = trained_here(lm.name)
    names = [name for name in bundled_pairs() if name.startswith("general_") != own]
    return sorted(names, key=lambda name: ("sycophancy" not in name, name))


def _source_name(source: str) -> str:
    return "Your own pairs" if source == OWN else source.removeprefix("general_").replace("_", " ")


def _load(source: str) -> None:
    """Fill the table when another source was chosen; keep an edited one."""
    if st.session_state.get(LOADED) == source:
        return
    from ...directions.pairs import PairSet

    if source == OWN:
        kept = st.session_state.get(f"{TABLE}_{OWN}")
        fill(kept if kept is not None else _frame([dict(zip(COLUMNS[1:], row, strict=True)) for row in EXAMPLE]))
    else:
        fill(_frame(PairSet.load(source).rows()))
    st.session_state[LOADED] = source


def fill(table: pd.DataFrame) -> None:
    """Put a table into the editor, which starts again from it."""
    st.session_state[TABLE] = table
    st.session_state[VERSION] = st.session_state.get(VERSION, 0) + 1


def _frame(rows: list[dict[str, str]]) -> pd.DataFrame:
    """The table of a set's rows: the completions, their own prompts where a set has them, and a tick to use each."""
    found = []
    for row in rows:
        own = "positive_completion" in row
        cells = {"use": True, "prompt": row.get("prompt", "")}
        cells["positive"] = row["positive_completion"] if own else row["positive"]
        cells["negative"] = row["negative_completion"] if own else row["negative"]
        if own:
            cells |= {"positive_prompt": row["positive"], "negative_prompt": row["negative"]}
        found.append(cells)
    table = pd.DataFrame(found)
    return table.fillna("").astype({name: str for name in table.columns if name != "use"})


def _upload() -> None:
    file = st.file_uploader("A .csv, .tsv, .json or .jsonl with positive and negative", ["csv", "tsv", "json", "jsonl"])
    st.caption("Columns: positive, negative, and optionally prompt. CAA's and model-written-evals' columns work too.")
    if file is None or st.session_state.get("direction_upload") == file.file_id:
        return
    from ...directions.pairs import PairSet

    with clear_errors():
        name, _, kind = file.name.rpartition(".")
        pairs = PairSet.parse(file.getvalue(), kind, name=name, file=file.name)
        st.session_state["direction_upload"] = file.file_id
        st.session_state[f"{TABLE}_{OWN}"] = _frame(pairs.rows())
        st.session_state["direction_source"], st.session_state[LOADED] = OWN, None
        st.rerun()


def _edit() -> pd.DataFrame:
    """The rows as edited."""
    table: pd.DataFrame = st.session_state[TABLE]
    text = st.column_config.TextColumn
    config: dict[str, Any] = {
        "use": st.column_config.CheckboxColumn("Use", width=58, default=True),
        "prompt": text("Prompt", width=130, help="In front of both; may be empty."),
        "positive": text("Positive", width=190, help="Has what the direction is to capture."),
        "negative": text("Negative", width=190, help="Has it not."),
    }
    for side in SIDES:
        config[side] = text(f"{side.partition('_')[0].capitalize()}'s prompt", width=150)
    edited = st.data_editor(
        table,
        key=f"direction_editor_{st.session_state[VERSION]}",
        column_config=config,
        column_order=_order(table),
        num_rows="dynamic",
        hide_index=True,
        height=330,
    )
    st.session_state[f"{TABLE}_now"] = edited
    if st.session_state[LOADED] == OWN:
        st.session_state[f"{TABLE}_{OWN}"] = edited
    return edited


def _order(table: pd.DataFrame) -> list[str]:
    """The columns in the order shown: where each side has its own prompt, the prompts differ and come first."""
    if not set(SIDES) <= set(table.columns):
        return list(COLUMNS)
    shared = ["prompt"] if table["prompt"].str.strip().any() else []
    return ["use", *shared, "positive_prompt", "positive", "negative_prompt", "negative"]


def pairs_of(table: pd.DataFrame, name: str) -> PairSet:
    """The pairs of the rows in use; empty rows are skipped.

    Raises:
        ValueError: a row has one side only (by its number), or fewer than two are left.
    """
    from ...directions.pairs import PairSet, PromptPair

    found = []
    for number, row in enumerate(table.to_dict("records"), start=1):
        text = {key: "" if value is None or value != value else str(value) for key, value in row.items()}
        if row["use"] is False or not any(text.get(key, "").strip() for key in ("positive", "negative")):
            continue
        try:
            cells = (text["prompt"], text["positive"], text["negative"])
            found.append(PromptPair(*cells, *(text.get(side, "") for side in SIDES)))
        except ValueError as error:
            raise ValueError(f"Row {number}: {error}") from error
    if len(found) < 2:
        raise ValueError(f"A direction is made of at least two pairs; {len(found)} are complete and switched on.")
    return PairSet(tuple(found), name)


def _remarks(pairs: PairSet) -> None:
    problems = pairs.problems()
    more = f" And {len(problems) - 2} more." if len(problems) > 2 else ""
    st.caption(literal(f"{len(pairs)} pairs in use. " + " ".join(problems[:2]) + more, 400))


def drop(numbers: list[int]) -> None:
    """Switch pairs off, by their number among those in use (a callback)."""
    table: pd.DataFrame = st.session_state[f"{TABLE}_now"].copy()
    used = [
        at
        for at, row in enumerate(table.to_dict("records"))
        if row["use"] is not False and any(str(row[key] or "").strip() for key in ("positive", "negative"))
    ]
    for number in numbers:
        table.iloc[used[number], table.columns.get_loc("use")] = False
    fill(table.reset_index(drop=True))
