"""Evaluation sets from a bundled name, a file or an upload, in a published format or through a mapping of columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..scoring import scorers
from ..scoring.items import Item
from ..scoring.measure import Scorer, options_of
from .emotions import of_file
from .formats import FORMATS, Format, recognize
from .mapping import mapped, suited
from .records import Record, read_file, records
from .sets import EvaluationSet

T = TypeVar("T")
BUNDLED = Path(__file__).parents[3] / "assets" / "evals"


def load(
    source: str | Path,
    *,
    format_name: str | None = None,
    scorer: str | Scorer | None = None,
    mapping: Mapping[str, str] | None = None,
) -> EvaluationSet:
    """An evaluation set: a bundled name, or a file in a published format, recognized by its columns.

    Args:
        format_name: which published format, if the columns do not show it.
        scorer: another scorer than the format's.
        mapping: for other files, which column is what; see `mapped`.

    Raises:
        ValueError: no such set or file, no known format, or a broken row, by its place in the file.
    """
    path = BUNDLED / f"{source}.jsonl"
    if not path.is_file():
        path = Path(source).expanduser()
    if not path.is_file():
        raise ValueError(
            f"An evaluation set is a bundled name or a file; {str(source)!r} is neither. "
            f"Bundled: {', '.join(bundled_sets()) or 'none'}."
        )
    return read(read_file(path), name=path.stem, format_name=format_name, scorer=scorer, mapping=mapping)


def parse(
    data: bytes | str, suffix: str, *, name: str, format_name: str | None = None, scorer: str | Scorer | None = None,
    mapping: Mapping[str, str] | None = None,
) -> EvaluationSet:  # fmt: skip
    """An evaluation set from the content of a file, such as an upload; see `load`."""
    return read(records(data, suffix), name=name, format_name=format_name, scorer=scorer, mapping=mapping)


def read(
    rows: Sequence[Record], *, name: str, format_name: str | None = None, scorer: str | Scorer | None = None,
    mapping: Mapping[str, str] | None = None,
) -> EvaluationSet:  # fmt: skip
    """An evaluation set of a file's rows."""
    if mapping:
        own = partial(mapped, mapping=mapping)
        items = [_located(row, own) for row in rows]
        found = Format("own columns", (), own, suited(items[0]))
    else:
        rows = _felt(rows, name)
        found = recognize(rows[0].values) if format_name is None else FORMATS.get(format_name)
        if found is None:
            raise ValueError(
                f"A format is one of {', '.join(FORMATS)}; got {format_name!r}."
                if format_name
                else "The columns of this file are those of no known format: "
                f"{', '.join(map(str, list(rows[0].values)[:12]))}. Say which column is what."
            )
        read_rows = (_located(row, found.read) for row in rows)
        items = [item for item in read_rows if item is not None]
        if not items:
            raise ValueError(f"An evaluation set holds at least one question; no row of {name!r} asks one.")
        items = _named(items, name) if found.name == "refusal" else items
    chosen = scorers.scorer(scorer) if isinstance(scorer, str) else scorer or found.scorer_of(items[0])
    _readable(items, chosen, name)
    return EvaluationSet(tuple(items), chosen, name, found.name)


def _named(items: Sequence[Item], name: str) -> list[Item]:
    """Items labeled harmful or harmless by the name of their file, if nothing else says which they are."""
    said = re.search(r"harm(ful|less)", name.lower())
    if said is None:
        return list(items)
    return [replace(item, labels={"harmful": said[1] == "ful", **item.labels}) for item in items]


def _felt(rows: Sequence[Record], name: str) -> Sequence[Record]:
    """Rows that are texts alone, with the emotions that their file is named after, as RepE's situations are."""
    emotions = of_file(name)
    if not emotions or any(set(row.values) != {"prompt"} for row in rows):
        return rows
    return [row._replace(values={**row.values, "emotions": list(emotions)}) for row in rows]


def _readable(items: Sequence[Item], scorer: Scorer, name: str) -> None:
    """Raise ValueError if the items lack what the scorer reads."""
    for label in scorers.LABELS.get(scorer.name, ()):
        without = sum(label not in item.labels for item in items)
        if without:
            raise ValueError(
                f"The scorer {scorer.name!r} reads the label {label!r}; {without} of the {len(items)} items of "
                f"{name!r} have none. Choose another scorer, or say which column it is."
            )
    if scorer.needs == "options" and not all(options_of(scorer, item) for item in items):
        raise ValueError(f"The scorer {scorer.name!r} compares options; the items of {name!r} have none.")


def _located(row: Record, make: Callable[[dict[str, Any]], T]) -> T:
    try:
        return make(row.values)
    except (
        ValueError, TypeError, KeyError, IndexError, AttributeError, SyntaxError, OverflowError, RecursionError,
        MemoryError,
    ) as error:  # fmt: skip
        said = f"column {error} is missing" if isinstance(error, KeyError) else str(error)
        if not isinstance(error, ValueError | KeyError):
            said = f"a column holds something else than this format has there ({said})"
        raise ValueError(f"{row.where}: {said}") from error


def bundled_sets() -> list[str]:
    """The names of the sets that ship with Tiller."""
    return sorted(path.stem for path in BUNDLED.glob("*.jsonl"))
