"""The tokens of a continuation after its prompt, which differ from those of the continuation alone.

Tokenizers join, split and prefix at the border: " time" alone is two tokens for SentencePiece, and one after "Once upon
a". So prompt and continuation are tokenized as one text, and cut at the border.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .model import Model, Prompt
from .tokenizing import encode, well_formed

_TAIL = 24  # tokens of a prompt of ids that are read back as text; only the last word bears on what follows


@dataclass(frozen=True)
class Passage:
    """The tokens of a prompt and a completion: `tokens[first:start]`, after a BOS, and `tokens[start:end]`."""

    tokens: tuple[int, ...]
    start: int
    end: int
    first: int = 0


def passage(lm: Model, prompt: str, completion: str, *, chat: bool | None = None) -> Passage:
    """The tokens of a prompt followed by a completion, and which of them are the completion's.

    The whole is tokenized at once, as the model would meet it; a token across the border counts as the completion's.
    With `chat` the prompt is the user's message and the completion the beginning of the assistant's; None means
    yes where the model has a template and there is a prompt.

    Raises:
        ValueError: nothing to read, too long, or chat without a template or a prompt, or with a template that rewrites
            the assistant's text.
    """
    prompt, completion = well_formed(prompt), well_formed(completion)
    if chat is None:
        chat = lm.has_chat_template and bool(prompt)
    if not chat:
        return _located(lm, prompt + completion, len(prompt), special=True)
    if not prompt:
        raise ValueError("A chat needs a user's message; this text has no prompt. Use chat=False.")
    if not lm.has_chat_template:
        raise ValueError(f"chat=True needs a chat template; {lm.name} has none. Use chat=False.")
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
    text = lm.rendered(messages, continue_final=True)
    # Templates may trim what they are given.
    versions = (completion, completion.lstrip(), completion.rstrip(), completion.strip())
    shown = next((version for version in versions if text.endswith(version)), None)
    if shown is None:
        raise ValueError(f"The chat template of {lm.name} rewrites the completion. Read it with chat=False.")
    return _located(lm, text, len(text) - len(shown), special=False)


def _located(lm: Model, text: str, border: int, *, special: bool) -> Passage:
    """The tokens of a text; the completion is what ends after `border`, in characters."""
    found = encode(lm.tokenizer, text, special=special)
    tokens = lm.checked(found.ids)
    first = lm.leading(tokens)
    if found.ends is None:  # without offsets: the tokens that the prompt alone shares with the whole
        start = _shared(encode(lm.tokenizer, text[:border], special=special).ids, tokens) if border else first
        inside = list(range(start, len(tokens)))
    else:
        inside = [i for i, end in enumerate(found.ends) if end > border]
    if not inside:
        raise ValueError(f"A completion holds at least one token; {text[border:]!r} has none.")
    return Passage(tuple(tokens), inside[0], inside[-1] + 1, first)


def in_context(lm: Model, prompt: Prompt, continuation: str) -> tuple[list[int], list[int]]:
    """The tokens of a prompt, and those that a continuation has after it.

    After chat messages the continuation is what the assistant says, written as the template writes it: as a rule
    without a space in front.

    Raises:
        ValueError: a bad prompt, an empty continuation, or a border that falls inside a token.
    """
    before, (after,), healed = _split(lm, prompt, [continuation])
    if healed:
        raise ValueError(
            f"The border between prompt and continuation falls inside a token ({lm.token_texts(after[:1])[0]!r}), so "
            f"{continuation!r} has no tokens of its own there. Move the end of the prompt (as a rule a space) to the "
            "beginning of the continuation."
        )
    return before, after


def choices(
    lm: Model, prompt: Prompt, options: Sequence[str], *, continue_final: bool = False
) -> tuple[list[int], list[list[int]]]:
    """The tokens of a prompt, and those of each option after it: what a forced choice compares.

    Where the border falls inside a token of an option ("Answer: " and "Yes" are " Yes" together), the prompt of all of
    them ends before that token, so that all probabilities are of what follows the same tokens.

    Raises:
        ValueError: a bad prompt or an empty option.
    """
    before, after, _ = _split(lm, prompt, options, continue_final=continue_final)
    return before, after


def _split(
    lm: Model, prompt: Prompt, options: Sequence[str], *, continue_final: bool = False
) -> tuple[list[int], list[list[int]], bool]:
    """Prompt, options, and whether the prompt had to give up tokens for a border that fell inside one."""
    for option in options:
        if not option:
            raise ValueError("A continuation holds at least one token; got an empty text.")
    ids = lm.tokens(prompt, continue_final=continue_final)
    options, special = [well_formed(option) for option in options], False
    if isinstance(prompt, str):
        text, special = well_formed(prompt), True
    elif prompt and isinstance(prompt[0], Mapping):
        messages: Sequence[Mapping[str, str]] = prompt  # type: ignore[assignment]
        text = lm.rendered(messages, continue_final=continue_final)
        if not continue_final:
            options = [_as_said(lm, messages, text, option) for option in options]
    else:
        text = lm.text(ids[-_TAIL:], special=True)
    alone = encode(lm.tokenizer, text, special=special).ids
    wholes = [encode(lm.tokenizer, text + option, special=special).ids for option in options]
    shared = min(_shared(alone, whole) for whole in wholes)
    lost = len(alone) - shared
    kept = len(ids) - lost
    if kept < 1:
        raise ValueError(
            f"The prompt {text!r} and what follows are one token for {lm.name}'s tokenizer, so there is no border "
            "between them. Give a longer prompt."
        )
    # Ids that no text is tokenized to (half a character, a word cut elsewhere) cannot be read back: `lost` counts none.
    if alone[-lost - 1 :] != ids[-lost - 1 :]:
        raise ValueError(
            "A prompt of token ids is followed by text only where its last tokens are those of its own text; these "
            "end inside a character or a word. Give the continuation as token ids too, or the prompt as text."
        )
    after = [whole[shared:] for whole in wholes]
    if not all(after):
        raise ValueError(f"A continuation holds at least one token; {options[after.index([])]!r} has none.")
    return ids[:kept], after, lost > 0


def _as_said(lm: Model, messages: Sequence[Mapping[str, str]], before: str, option: str) -> str:
    """An option as the assistant's turn has it after the generation prompt: with the template's own white space."""
    bare = option.strip() or option
    try:
        whole = lm.rendered([*messages, {"role": "assistant", "content": bare}], continue_final=True)
    except ValueError:
        whole = ""
    said = whole[len(before) :] if whole.startswith(before) else ""
    # Some templates write more than the text there (an empty thought); what is compared is the answer itself.
    return said if said.strip() == bare.strip() else option.lstrip() or option


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of the common prefix of two sequences."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def pieces(lm: Model, tokens: Sequence[int]) -> list[str]:
    """The text that each token adds to what is before it: with its leading space, which decoding it alone may drop.

    A character of several tokens is given to its last one.
    """
    found: list[str] = []
    begin = 0  # where the tokens of an unfinished character begin: some characters take several tokens
    for i in range(len(tokens)):
        before = list(tokens[max(0, begin - 1) : begin])
        joined = lm.text([*before, *tokens[begin : i + 1]], special=True)
        new = joined[len(lm.text(before, special=True)) :] if before else joined
        unfinished = new.endswith("\ufffd") and i + 1 < len(tokens) and i - begin < 3
        found.append("" if unfinished else new)
        begin = begin if unfinished else i + 1
    return found
