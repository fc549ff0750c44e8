"""Tokens to text as they come: a character made of several tokens is held back until it is whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..models.model import Model


class TextStream:
    """The text of tokens as they come; an incomplete multi-byte character is held back until it is whole."""

    def __init__(self, model: Model, prompt: Sequence[int]) -> None:
        self.model, self.tokens, self.shown, self.prompt = model, [], "", list(prompt)
        backend = getattr(model.tokenizer, "backend_tokenizer", None)
        self._step: Callable[[int], str | None] = self._whole
        if backend is not None:
            from tokenizers.decoders import DecodeStream

            stream: Any = DecodeStream(ids=list(prompt)[-8:], skip_special_tokens=True)
            self._step = lambda token: stream.step(backend, token)

    def push(self, token: int) -> str:
        """The text that this token completes."""
        self.tokens.append(token)
        try:
            new = self._step(token) or ""
        except Exception:  # the stream gives up on some odd byte sequences; the whole text is right then
            self._step = self._whole
            new = self._whole(token)
        self.shown += new
        return new

    def rest(self) -> str:
        """The text that was held back, once no more tokens come."""
        new = self._whole(-1, final=True)
        self.shown += new
        return new

    def _whole(self, token: int, final: bool = False) -> str:
        # Decoded after the prompt, because tokenizers drop the leading space of the first token.
        before = self.model.text(self.prompt)
        text = self.model.text([*self.prompt, *self.tokens])[len(before) :]
        if (text.endswith("�") and not final) or not text.startswith(self.shown):
            return ""
        return text[len(self.shown) :]
