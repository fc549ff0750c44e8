"""Values on one line, for `repr`: what a notebook prints for a value should say what it is, not all that it holds."""

from __future__ import annotations

LONGEST = 200  # characters of a repr


def clipped(text: object, most: int = 60) -> str:
    """A text on one line, cut to `most` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 3] + "..."


def quoted(text: object, most: int = 60) -> str:
    """A text on one line in quotation marks, cut to about `most` characters."""
    return repr(clipped(text, most))


def counted(count: int, noun: str, plural: str = "") -> str:
    """ "1 pair", "3 pairs"; `plural` where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def one_line(value: object, *parts: object) -> str:
    """`Name(part, part)` with the name of the value's class, on one line of at most 200 characters; no empty parts."""
    inside = ", ".join(shown for part in parts if (shown := str(part)))
    return f"{type(value).__name__}({clipped(inside, LONGEST - len(type(value).__name__) - 2)})"
