"""Texts for a dictionary or an index: a file, a folder of files, or a data set on the hub, read one text at a time.

A `.txt` or `.md` file holds texts between blank lines; a `.jsonl` file holds `{"text": "..."}` a line. Nothing is read
into memory whole, so a file may be larger than it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoints.confined import allowed, may_open
from ..jobs.reading import SAVE, encoding_of, parse_json

MAX_LINE = 10_000_000  # characters; a file without line ends would be read whole
SUFFIXES = (".txt", ".md", ".jsonl")
HUB = "hub:"
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass(frozen=True)
class Texts:
    """Texts of files in order; each iteration reads the files again, `len` counts the texts by reading once."""

    files: tuple[Path, ...]
    key: str = "text"  # of a line of JSON

    def __iter__(self) -> Iterator[str]:
        for file in self.files:
            yield from _lines(file, self.key) if file.suffix == ".jsonl" else _paragraphs(file)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class HubTexts:
    """Texts of a data set on the hub, streamed; how many there are is not known beforehand."""

    name: str
    column: str = "text"
    split: str = "train"
    limit: int | None = None

    def __iter__(self) -> Iterator[str]:
        from datasets import load_dataset

        try:
            rows: Any = load_dataset(self.name, split=self.split, streaming=True)
            for number, row in enumerate(rows):
                if number == self.limit:
                    return
                if not isinstance(row.get(self.column), str):
                    raise ValueError(f"it has no column {self.column!r} of text; it has {', '.join(row)}")
                yield row[self.column]
        except (OSError, ValueError, RuntimeError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(f"The data set {self.name!r} could not be read: {first}.") from error


def texts_of(source: str | Path, *, limit: int | None = None, key: str = "text") -> Iterable[str]:
    """The texts of a file, of all text files in a folder (sorted, deep), or of "hub:owner/name[:column]".

    Args:
        limit: how many texts of a hub data set, which may be endless.
        key: where a line of JSON keeps its text.

    Raises:
        ValueError: there is no such file, or no text file in the folder.
    """
    if str(source).startswith(HUB):
        name, _, column = str(source).removeprefix(HUB).partition(":")
        if not _HUB_NAME.fullmatch(name) or Path(name).exists():  # what is here would be read in place of the hub's
            raise ValueError(f"A data set of the hub is named owner/name; got {name[:100]!r}.")
        return HubTexts(name, column or key, limit=limit)
    path = allowed(source)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and may_open(file))
        files = tuple(file for file in found if file.is_file())
        if not files:
            raise ValueError(f"A folder of texts holds {', '.join(SUFFIXES)} files; {str(path)!r} has none.")
        return Texts(files, key)
    if not path.is_file():
        raise ValueError(f"Texts are read from a file or a folder; there is none at {str(path)!r}.")
    return Texts((path,), key)


def _paragraphs(file: Path) -> Iterator[str]:
    lines: list[str] = []
    for _, line in _opened(file):
        if line.strip():
            lines.append(line.rstrip("\n"))
        elif lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _lines(file: Path, key: str) -> Iterator[str]:
    for number, line in _opened(file):
        if not line.strip():
            continue
        row = parse_json(line, file.name, f"line {number}")
        text = row.get(key) if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise ValueError(f'A line of {file.name} reads {{"{key}": "..."}}; line {number} does not.')
        yield text


def _opened(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, in the encoding that its beginning shows; see `jobs.reading`."""
    number = 0
    try:
        with file.open("rb") as opened:
            encoding = encoding_of(opened.read(4000), file.name)
        with file.open(encoding=encoding) as text:
            for number, line in enumerate(text, start=1):
                if len(line) > MAX_LINE:
                    raise ValueError(
                        f"A line of {file.name} has at most {MAX_LINE:,} characters; line {number} is longer."
                    )
                yield number, line
    except OSError as error:
        raise ValueError(f"{file.name} cannot be opened ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name}, after line {number}: not UTF-8 ({error.reason}). {SAVE}") from error
