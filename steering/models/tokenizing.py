"""Text to tokens and back, the same for every tokenizer: special tokens once, at the front only, and chat templates.

Tokenizers differ in what they add to a text (BOS, [CLS], [gMASK]<sop> before, EOS or [SEP] after) and in whether they
add it again if the text already has it. Here a text that a model is to continue gets what its tokenizer adds before it,
once, and nothing after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .chat import shown_piece, without_system


class Encoded(NamedTuple):
    """Token ids of a text.

    Attributes:
        ends: for each token the character of the text after which it ends, 0 for special tokens that were added; None
            where the tokenizer does not say.
        note: what was left out of the text or of the tokenizer's own special tokens, in one sentence, or "".
    """

    ids: list[int]
    ends: list[int] | None
    note: str = ""


def well_formed(text: str) -> str:
    """The text with every half of a character (a lone surrogate, from text cut in the middle) replaced by U+FFFD."""
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def all_well_formed(value: Any) -> Any:
    """`well_formed` for every text in lists, tuples and mappings (their keys too); other values as they are."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, Mapping):
        return {all_well_formed(key): all_well_formed(one) for key, one in value.items()}
    return type(value)(map(all_well_formed, value)) if type(value) in (list, tuple) else value


def added(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens that a tokenizer puts before a text and those that it puts after it."""
    bare, full = tokenizer.encode("a", add_special_tokens=False), tokenizer.encode("a")
    for start in range(len(full) - len(bare) + 1):
        if bare and full[start : start + len(bare)] == bare:
            return tuple(full[:start]), tuple(full[start + len(bare) :])
    return (), ()


def encode(tokenizer: Any, text: str, *, special: bool = True) -> Encoded:
    """The tokens of a text.

    Args:
        special: put the tokenizer's own special tokens in front; without, the text is a rendered chat template, which
            brings its own.
    """
    given, text = text, well_formed(text)
    notes = ["Half a character (a lone surrogate) was replaced by U+FFFD."] if text != given else []
    front, back = added(tokenizer) if special else ((), ())
    skipped = 0
    if front:
        # As text, not as tokens: the text after a typed BOS is then tokenized as after the tokenizer's own BOS.
        opening = "".join(tokenizer.convert_ids_to_tokens(list(front)))
        rest, typed = text, 0
        while rest.lstrip().startswith(opening):
            rest, typed = rest.lstrip()[len(opening) :], typed + 1
        if typed:
            skipped, text = len(text) - len(rest), rest
            notes.append(f"The text begins with {opening}, which the tokenizer puts there itself; it is read once.")
    if back:
        closing = "".join(map(str, tokenizer.convert_ids_to_tokens(list(back))))
        notes.append(f"The tokenizer would end the text with {closing}; it was left out, so that the text can go on.")
    if getattr(tokenizer, "is_fast", False):
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids, ends = list(found["input_ids"]), [end + skipped for _, end in found["offset_mapping"]]
    else:
        ids, ends = list(tokenizer.encode(text, add_special_tokens=False)), None
    bos = tokenizer.bos_token_id
    while not special and bos is not None and bos != tokenizer.eos_token_id and ids[:2] == [bos, bos]:
        ids, ends = ids[1:], None if ends is None else ends[1:]  # written by the template and by the message
    return Encoded([*front, *ids], None if ends is None else [*([0] * len(front)), *ends], " ".join(notes))


def rendered(tokenizer: Any, name: str, messages: Sequence[Mapping[str, str]], *, continue_final: bool = False) -> str:
    """Chat messages through the model's template, ready for the assistant's turn, or inside it with `continue_final`.

    A system prompt goes in front of the first user message where the template refuses the role.

    Raises:
        ValueError: no template, messages without text, or a template that refuses these messages or has a fault.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(f"Chat messages need a chat template; {name} has none. Give the prompt as plain text.")
    given = [
        {key: well_formed(value) if isinstance(value, str) else value for key, value in message.items()}
        for message in messages
    ]
    if not any(str(message.get("content", "")) for message in given):
        raise ValueError("A chat prompt holds at least one message with text; all of them are empty.")
    attempts = [given, without_system(given)] if any(m.get("role") == "system" for m in given) else [given]
    refusal: Exception | None = None
    for attempt in attempts:
        try:
            return tokenizer.apply_chat_template(
                attempt,
                tokenize=False,
                add_generation_prompt=not continue_final,
                continue_final_message=continue_final,
            )
        except Exception as error:  # a template is a program: jinja's errors, and any that Python has
            refusal = error
    roles = ", ".join(str(message.get("role")) for message in given)
    if "continue_final_message" in str(refusal):
        raise ValueError(
            f"The chat template of {name} rewrites the assistant's text or knows no assistant's turn, so its place "
            "cannot be found in what the template writes. Read it as plain text with chat=False."
        ) from refusal
    raise ValueError(
        f"The chat template of {name} refuses these messages ({refusal}); their roles are {roles}. Most "
        "templates want user and assistant in turns, with a system message, if any, in front; a template with a fault "
        "can be left out with chat=False (plain text)."
    ) from refusal


def token_texts(tokenizer: Any, tokens: Sequence[int]) -> list[str]:
    """The text of each token alone, with its leading space, special tokens included; for showing, not for joining.

    Each is decoded after another token: SentencePiece drops the space of whatever it decodes first. Bytes that are a
    part of a character only are shown as bytes.
    """
    any_token = tokenizer.encode("a", add_special_tokens=False)[-1:]
    before = tokenizer.decode(any_token)
    decoded = [tokenizer.decode([*any_token, token], clean_up_tokenization_spaces=False) for token in tokens]
    texts = [
        text[len(before) :] if text.startswith(before) else tokenizer.decode([token])
        for text, token in zip(decoded, tokens, strict=True)
    ]
    return [
        shown_piece(str(tokenizer.convert_ids_to_tokens(int(token)))) if "\ufffd" in text else text
        for text, token in zip(texts, tokens, strict=True)
    ]


def padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Token sequences padded on the left, the mask of real tokens and absolute positions, each [rows pos]."""
    width = max(len(prompt) for prompt in prompts)
    tokens = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
        mask[row, width - len(prompt) :] = True
    return tokens, mask, (mask.long().cumsum(-1) - 1).clamp(min=0)
