"""Tables in CSV, TSV, JSON and JSON lines as rows of named columns, and back to CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .reading import MAX_BYTES, FileProblem, Sized, decoded, located, parse_json, short

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("jsonl", "json", "csv", "tsv")
_ALSO = {"ndjson": "jsonl"}
_DELIMITERS = ",;\t"
MAX_CELL = 1_000_000  # characters


class NamedRow(NamedTuple):
    """A row of a file: where it stands there ("line 3", "item 3"), and its values by column."""

    where: str
    values: Any


def table_rows(
    data: str | bytes,
    suffix: str,
    *,
    name: str = "",
    limit: int = MAX_BYTES,
    unnamed: Callable[[list[str]], bool] | None = None,
) -> list[NamedRow]:
    """The rows of a table. Rows without content are passed over, as a spreadsheet keeps them.

    Args:
        suffix: "csv", "tsv", "json" or "jsonl", with or without a dot.
        name: the file's name, for the messages.
        unnamed: whether the first row of a CSV is data already; then columns are called "0", "1", ...

    Raises:
        ValueError: another format, or a file that cannot be read; the sentence names the file, the line and the rule.
    """
    kind = suffix.lower().lstrip(".")
    kind = _ALSO.get(kind, kind)
    if kind not in FORMATS:
        raise FileProblem(f"A table comes as one of {', '.join('.' + f for f in FORMATS)}; got {suffix!r}.")
    if isinstance(data, bytes):
        text = decoded(data, name, limit)
    elif len(data) > limit:
        raise FileProblem(f"{located(name)} is larger than the {Sized(limit)} that are read. Split it.")
    else:
        text = data.removeprefix("\ufeff")
    if kind == "jsonl":
        lines = enumerate(text.split("\n"), start=1)  # not splitlines: a JSON text may hold U+2028
        return [NamedRow(f"line {n}", parse_json(line, name, f"line {n}")) for n, line in lines if line.strip()]
    if kind == "json":
        return _items(parse_json(text, name), name)
    return _cells(text, name, unnamed)


def _items(found: Any, name: str) -> list[NamedRow]:
    if isinstance(found, dict):  # {"pairs": [...]}, {"data": [...]} and the like
        lists = [value for value in found.values() if isinstance(value, list) and value]
        found = lists[0] if len(lists) == 1 else found
    if not isinstance(found, list):
        raise FileProblem(f"{located(name)}: a .json table is a list of objects; got {kind_of(found)}.")
    return [NamedRow(f"item {number}", row) for number, row in enumerate(found, start=1)]


def _cells(text: str, name: str, unnamed: Callable[[list[str]], bool] | None) -> list[NamedRow]:
    first, _, rest = text.partition("\n")
    if "\r" in first.rstrip("\r"):  # line ends of old Macs
        first, _, rest = text.partition("\r")
    skipped = 0
    said = first.strip().strip('"').lower()
    if said.startswith("sep=") and len(said) <= 5:  # Excel's way of naming the delimiter
        delimiter, text, skipped = said[4:] or "\t", rest, 1
    else:
        delimiter = _delimiter(text)
    if text.lstrip()[:1] in ("{", "[") and '"' in first and delimiter == ",":
        raise FileProblem(f"{located(name, 'line 1')}: this is JSON, not a table of cells. Name it .json or .jsonl.")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[NamedRow] = []
    names: list[str] | None = None
    start = 1
    csv.field_size_limit(MAX_CELL)
    try:
        for row in reader:
            where, start = f"line {start + skipped}", reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if names is None:
                if unnamed is None or not unnamed(row):
                    names = _names(row, name, where)
                    continue
                names = [str(k) for k in range(len(row))]
            found.append(NamedRow(where, _row(row, names, name, where)))
    except csv.Error as error:
        said = str(error)
        if "unexpected end" in said:
            said = "a text in double quotes that begins in this row never ends"
        elif "field larger" in said:
            said = f"a cell of more than {MAX_CELL} characters, or a double quote that never ends"
        raise FileProblem(f"{located(name, f'line {start + skipped}')}: not a CSV row ({said}).") from error
    return found


def _delimiter(text: str) -> str:
    """The delimiter that splits the first row into most cells, double-quoted text left aside."""

    def parts(delimiter: str) -> int:
        try:
            rows = csv.reader(io.StringIO(text[:100_000], newline=""), delimiter=delimiter)
            return len(next((row for row in rows if any(cell.strip() for cell in row)), []))
        except csv.Error:
            return 0

    return max(_DELIMITERS, key=parts)


def _names(row: list[str], name: str, where: str) -> list[str]:
    names = [cell.strip() for cell in row]
    while not names[-1]:
        names.pop()
    twice = next((one for one in names if one and names.count(one) > 1), None)
    if twice is not None:
        raise FileProblem(
            f"{located(name, where)}: every column has a name of its own; {twice!r} comes twice. Rename one of them."
        )
    return names


def _row(row: list[str], names: list[str], name: str, where: str) -> dict[str, str]:
    extra = row[len(names) :]
    if any(cell.strip() for cell in extra):
        raise FileProblem(
            f"{located(name, where)}: the header has {len(names)} columns; got {len(row)}. Put a text that holds a "
            "delimiter in double quotes."
        )
    return {column: cell for column, cell in zip(names, row, strict=False) if column}


def kind_of(value: object) -> str:
    """What kind of JSON value something is, for a sentence."""
    names: Iterable[tuple[type, str]] = ((dict, "an object"), (list, "a list"), (str, "a text"))
    return next((said for kind, said in names if isinstance(value, kind)), short(value))


# Writing --------------------------------------------------------------------------------------------------------------


def inert(value: Any) -> Any:
    """The value; a text that a spreadsheet would run as a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def to_csv(frame: pd.DataFrame) -> bytes:
    """A table as a CSV file that a spreadsheet opens without running what a model wrote; see `inert`."""
    import pandas as pd

    safe = frame.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = [inert(value) for value in safe[column]]
    safe.columns = [inert(str(column)) for column in safe.columns]
    return safe.to_csv(index=False).encode("utf-8", "replace")


def csv_text(head: Sequence[Any], body: Iterable[Sequence[Any]]) -> str:
    """Rows as the text of a CSV file, formulas made harmless."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([inert(cell) for cell in head])
    writer.writerows([inert(cell) for cell in row] for row in body)
    return out.getvalue()
