"""Text with every character in sight: none that is invisible, or that turns the direction of writing, acts unseen."""

from __future__ import annotations

import unicodedata

_SIGNS = {"\n": "⏎", "\t": "⇥"}


def visible(text: str, keep: str = "") -> str:
    """The text with newlines as ⏎, tabs as ⇥ and every other invisible or direction-turning character as ⟨U+....⟩.

    Args:
        keep: characters that stay as they are, such as newlines in a text that is shown with its lines.
    """
    return "".join(_shown(char, keep) for char in text)


def _shown(char: str, keep: str) -> str:
    if char == " " or char in keep:
        return char
    if char in _SIGNS:
        return _SIGNS[char]
    hidden = unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp", "Zs")
    return f"⟨U+{ord(char):04X}⟩" if hidden else char
