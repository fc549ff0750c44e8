"""Text of an uploaded or local file: its encoding, and one clear sentence if it cannot be read.

UTF-8 is read, and UTF-16 and UTF-32 if the bytes show it (a byte order mark, or the zeros of plain English). Older
encodings cannot be recognized: guessing from a few lines silently turns "café" into another word (charset-normalizer
was wrong for 7 of 22 short tables), so such a file is refused with a sentence on how to convert it.
"""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any, NamedTuple

MAX_BYTES = 50_000_000
SAVE = "Save it as UTF-8 (in Excel: Save As, 'CSV UTF-8'; in an editor: Save with Encoding) and take that file."

# UTF-32's mark begins with UTF-16's, so it stands first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
# First bytes of files that are not text, and what to do with such a file instead.
_KINDS = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "Unpack it, or save the sheet as 'CSV UTF-8'."),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", "Save the sheet as 'CSV UTF-8'."),
    (b"\x1f\x8b", "compressed by gzip", "Unpack it first."),
    (b"BZh", "compressed by bzip2", "Unpack it first."),
    (b"\xfd7zXZ", "compressed by xz", "Unpack it first."),
    (b"\x28\xb5\x2f\xfd", "compressed by zstandard", "Unpack it first."),
    (b"%PDF", "a PDF", "Copy its text into a text file."),
    (b"{\\rtf", "rich text", "Save it as plain text."),
    (b"PAR1", "a Parquet file", "Write it as CSV or JSON lines, for example with pandas."),
    (b"SQLite format 3", "an SQLite database", "Write the table as CSV."),
    (b"GGUF", "a GGUF file", "Import it where models or control vectors are taken."),
    (b"version https://git-lfs", "a pointer of Git LFS instead of the file itself", "Fetch it with `git lfs pull`."),
)


class FileProblem(ValueError):
    """A file that cannot be read: one sentence that names the file, the place in it and what to do."""


def located(name: str, where: str = "") -> str:
    """Where something stands, as the beginning of a sentence: "pairs.csv, line 3", "Line 3" or "This file"."""
    if name:
        return f"{name}, {where}" if where else name
    return where[:1].upper() + where[1:] if where else "This file"


def bounded(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a file.

    Raises:
        ValueError: it is no file, cannot be opened, or is larger than `limit` bytes.
    """
    try:
        if not path.is_file():
            raise FileProblem(f"{path.name or path} is no file; check the path.")
        with path.open("rb") as file:  # one byte more than allowed: a file may grow while it is read, or have no size
            data = file.read(limit + 1)
    except OSError as error:
        raise FileProblem(f"{path.name} cannot be opened ({error.strerror or error}).") from error
    _small_enough(data, path.name, limit)
    return data


def decoded(data: bytes, name: str = "", limit: int = MAX_BYTES) -> str:
    """The text of a file's bytes, without a byte order mark.

    Raises:
        ValueError: it is larger than `limit` bytes, no text at all, or text in an unknown encoding.
    """
    _small_enough(data, name, limit)
    mark, encoding = _encoding(data, name)
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise FileProblem(_undecodable(data[len(mark) :], name, encoding, error.start)) from error
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise FileProblem(
            f"{located(name, f'line {line}')}: a zero byte, which no text holds; the file is damaged or no text. "
            "Export it again."
        )
    if text.lstrip()[:15].lower().startswith(("<!doctype html", "<html")):
        raise FileProblem(f"{located(name)} is a web page, not the file itself. Use the page's download (or raw) link.")
    return text


def encoding_of(head: bytes, name: str = "") -> str:
    """The encoding to open a text file with, by the bytes that it begins with; a mark is not part of the text.

    Raises:
        ValueError: it is a known kind of file that is no text.
    """
    mark, encoding = _encoding(head, name)
    if not mark:
        return encoding
    return "utf-8-sig" if encoding == "utf-8" else encoding[:6]  # these two codecs skip the mark themselves


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """The text of a file on disk; see `decoded`."""
    return decoded(bounded(path, limit), path.name, limit)


def read_json(data: str | bytes, name: str = "", limit: int = MAX_BYTES) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is too large, no text or no JSON, or an object names a key twice.
    """
    text = decoded(data, name, limit) if isinstance(data, bytes) else data
    return parse_json(text.removeprefix("\ufeff"), name)


def parse_json(text: str, name: str = "", where: str = "") -> Any:
    """The value of a JSON text that stands at `where` in a file; a key that comes twice is refused, not overwritten."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        at = where or f"line {error.lineno}"
        got = text if where else text[max(0, error.pos - 30) :]
        hint = _hint(text, where)
        raise FileProblem(f"{located(name, at)}: expected JSON, got {short(got)} ({error.msg}).{hint}") from error
    except RecursionError as error:
        raise FileProblem(f"{located(name, where)}: JSON nested too deeply.") from error
    except _Twice as error:
        raise FileProblem(
            f"{located(name, where)}: an object names {error.args[0]!r} twice, and only one can be meant. Rename one."
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise FileProblem(f"{located(name, where)}: expected JSON ({error}).") from error


def short(value: object, length: int = 60) -> str:
    """The beginning of a value as Python writes it."""
    text = repr(value[: 2 * length] if isinstance(value, str) else value)
    return text if len(text) <= length else text[: length - 3] + "..."


class _Twice(ValueError):
    pass


def _once(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(entries)
    if len(found) < len(entries):  # the same value twice says nothing else than once
        for name, value in entries:
            if found[name] != value:
                raise _Twice(name)
    return found


def _hint(text: str, where: str) -> str:
    """A guess of what a text is that cannot be parsed as JSON or JSON lines."""
    first = text.lstrip()[:1]
    if not where and first == "{" and "\n" in text.strip():
        return " A file with one object a line is named .jsonl."
    if where and text.strip() in ("[", "{", "[{"):
        return " A file that is one JSON value over many lines is named .json."
    if first not in ("{", "["):
        return " A table of a spreadsheet is named .csv."
    return ""


class Sized(NamedTuple):
    """A size in bytes that prints in the unit a reader expects."""

    bytes: int

    def __str__(self) -> str:
        for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
            if self.bytes >= size:
                return f"{self.bytes / size:.3g} {unit}"
        return f"{self.bytes} bytes"


def _small_enough(data: bytes, name: str, limit: int) -> None:
    if len(data) > limit:
        raise FileProblem(f"{located(name)} is larger than the {Sized(limit)} that are read. Split it.")


def _encoding(data: bytes, name: str) -> tuple[bytes, str]:
    """The mark that a file begins with, if any, and its encoding."""
    for start, kind, instead in _KINDS:
        if data.startswith(start):
            raise FileProblem(f"{located(name)} is {kind}, not text. {instead}")
    return next((known for known in _MARKS if data.startswith(known[0])), (b"", _by_zeros(data) or "utf-8"))


def _by_zeros(data: bytes) -> str:
    """UTF-16 without a mark, by the zeros that it has in every other place of plain text; else an empty text."""
    head = data[:2000]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if len(head) >= 4 and len(data) % 2 == 0:
        if odd > 0.4 * len(head) / 2 and not even:
            return "utf-16-le"
        if even > 0.4 * len(head) / 2 and not odd:
            return "utf-16-be"
    return ""


def _undecodable(data: bytes, name: str, encoding: str, at: int) -> str:
    if encoding != "utf-8":
        return f"{located(name)} begins as {encoding.upper()} and is damaged at byte {at}. {SAVE}"
    head = data[:at]
    line = head.count(b"\n") + (head.count(b"\r") - head.count(b"\r\n")) + 1
    if b"\0" in data or data[0] < 9:
        return f"{located(name)} is binary, not text (byte {at} is 0x{data[at]:02X})."
    before = head.replace(b"\r", b"\n").rpartition(b"\n")[2][-12:]
    after = data[at : at + 8].replace(b"\r", b"\n").partition(b"\n")[0]
    shown = (before + after).decode("cp1252", "replace")
    return (
        f"{located(name, f'line {line}')}: not UTF-8 (byte 0x{data[at]:02X}; as Windows-1252 it would read {shown!r}). "
        f"{SAVE}"
    )
