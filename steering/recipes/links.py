"""Recipes as short texts for links, and back."""

from __future__ import annotations

import base64
import json
import zlib

from .steps import Recipe, from_data, to_data

MAX_BYTES = 200_000


def encode(recipe: Recipe) -> str:
    """The recipe as a short text for a link."""
    text = json.dumps(to_data(recipe), separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")


def decode(text: str) -> Recipe:
    """The recipe of a link's text, also of links that an earlier version made.

    Raises:
        ValueError: the link was cut or changed.
    """
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        # A few bytes can unpack to gigabytes, and links come from strangers.
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(packed, MAX_BYTES)
        if unpacker.unconsumed_tail:
            raise ValueError("too long")
        data = json.loads(raw.decode())
    except (ValueError, zlib.error, UnicodeDecodeError, RecursionError):
        raise ValueError(
            "The recipe in this link cannot be read; it may have been cut. The example is shown."
        ) from None
    return from_data(data)
