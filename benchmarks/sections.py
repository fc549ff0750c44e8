"""Sections of RESULTS.md that have commands of their own: each is replaced alone, and kept when the rest is written."""

from __future__ import annotations

from pathlib import Path

LAST = "## How to read this"  # sections stand before it


def section(text: str, title: str) -> str:
    """The section of that title, from its heading to the next one; empty if there is none."""
    lines, found = text.splitlines(), []
    for line in lines:
        if line.startswith("## "):
            if found:
                break
            if line == f"## {title}":
                found.append(line)
        elif found:
            found.append(line)
    return "\n".join(found).strip()


def with_section(text: str, title: str, new: str) -> str:
    """The text with that section replaced, or put before the last one where there was none."""
    old = section(text, title)
    if old:
        return text.replace(old, new.strip())
    before, heading, after = text.partition(LAST)
    return f"{before.rstrip()}\n\n{new.strip()}\n\n{heading}{after}"


def replace_section(path: Path, title: str, new: str) -> None:
    """Writes a section into a file of results."""
    text = path.read_text(encoding="utf-8") if path.is_file() else f"# What Tiller costs and saves\n\n{LAST}\n"
    path.write_text(with_section(text, title, new), encoding="utf-8")
