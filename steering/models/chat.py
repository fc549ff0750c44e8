"""Differences between families in chats and text: system prompts, ends of turns, incomplete characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

# Tokens that end a turn, for checkpoints whose generation config names only the end of a text.
END_OF_TURN = ("<end_of_turn>", "<|eot_id|>", "<|im_end|>", "<|end|>", "<|endofturn|>")


def without_system(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The messages with the system prompt put in front of the first user message, for families that know no system."""
    system = "\n\n".join(str(message["content"]) for message in messages if message["role"] == "system")
    rest = [dict(message) for message in messages if message["role"] != "system"]
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system}, *rest]
    return [{"role": "user", "content": f"{system}\n\n{rest[0]['content']}"}, *rest[1:]]


def shown_piece(piece: str) -> str:
    """The text of a token that is a part of a character: what is whole as it is, the other bytes as `\\xe6`.

    Byte-level vocabularies write each byte as a letter of GPT-2's alphabet; SentencePiece writes `<0xE6>`.
    """
    if piece.startswith("<0x") and piece.endswith(">"):
        return f"\\x{piece[3:-1].lower()}"
    alphabet = _byte_alphabet()
    if not all(letter in alphabet for letter in piece):
        return piece
    return bytes(alphabet[letter] for letter in piece).decode("utf-8", errors="backslashreplace")


@cache
def _byte_alphabet() -> dict[str, int]:
    """GPT-2's letter for each byte, inverted: printable bytes are themselves, the others come from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def chat(user: str, system: str | None = None) -> list[dict[str, str]]:
    """A prompt of one user message (and a system message), for a model with a chat template."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    return [*messages, {"role": "user", "content": user}]
