"""A recipe, or other plain data, as a short text for a link."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from .steps import Recipe, from_data, to_data

MAX_BYTES = 200_000


def encode(recipe: Recipe) -> str:
    """The recipe as a short text for a link."""
    return pack(to_data(recipe))


def decode(text: str) -> Recipe:
    """The recipe of a link's text, also of links that an earlier version made.

    Raises:
        ValueError: the link was cut or changed.
    """
    try:
        data = unpack(text)
    except ValueError:
        raise ValueError(
            "The recipe in this link cannot be read; it may have been cut. The example is shown."
        ) from None
    return from_data(data)


def pack(data: Any) -> str:
    """JSON data as a short text for a link."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(zlib.compress(text.encode("utf-8", "surrogatepass"), 9)).decode().rstrip("=")


def unpack(text: str) -> Any:
    """The JSON data of a link's text.

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
        return json.loads(raw.decode("utf-8", "surrogatepass"))
    except (ValueError, zlib.error, UnicodeDecodeError, RecursionError):
        raise ValueError("This part of the link cannot be read; it may have been cut.") from None
