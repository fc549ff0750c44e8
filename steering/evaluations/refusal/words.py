"""What a refusal looks like: the template's tokens after an instruction, the tokens that begin refusals, the score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ...engine.decoding import generate
from ...engine.requests import Request
from ...models.chat import chat
from ...models.model import Model, Prompt
from ...showing.one_line import one_line, quoted
from ..scoring.stance import refuses

# Instructions that end differently in a letter, a sign and a digit: what their prompts share at the end is the
# template's. A tokenizer may join the end of one of them with what follows, but not of all.
_PROBES = ("Describe a tree", "What is rain?", "Count to 12", "Write a list:\n- one")
MIN_SHARE = 0.05  # of the refusals that a token begins
EPSILON = 1e-8


def asked(lm: Model, instruction: str) -> Prompt:
    """The instruction as a chat where the model has a template, as text where it has none."""
    return chat(instruction) if lm.has_chat_template else instruction


def post_instruction(lm: Model) -> tuple[int, ...]:
    """The tokens that the chat template puts after an instruction, by what differently ending prompts have in common.

    Without a chat template nothing follows an instruction, and the last token of the prompt stands for it: ().
    """
    if not lm.has_chat_template:
        return ()
    ends = [lm.tokens(asked(lm, text))[::-1] for text in _PROBES]
    shared = 0
    for column in zip(*ends, strict=False):
        if len(set(column)) > 1:
            break
        shared += 1
    return tuple(ends[0][:shared][::-1])


def refusal_score(logits: Float[Tensor, "*batch vocab"], tokens: Sequence[int]) -> Float[Tensor, "*batch"]:
    """log(P + 1e-8) - log(1 - P + 1e-8), P the probability that the next token is one of `tokens`; float64.

    The log-odds of a refusal (Arditi et al. 2024, arXiv 2406.11717, appendix B).

    Raises:
        ValueError: no tokens, or one outside the vocabulary.
    """
    if not tokens or min(tokens) < 0 or max(tokens) >= logits.shape[-1]:
        raise ValueError(
            f"Refusing tokens are one or more ids from 0 to {logits.shape[-1] - 1}; got {list(tokens)[:8]}."
        )
    p = logits.double().softmax(-1)[..., list(dict.fromkeys(tokens))].sum(-1)
    return (p + EPSILON).log() - ((1 - p).clamp_min(0) + EPSILON).log()


@dataclass(frozen=True)
class RefusingToken:
    """A token that begins answers: how many refusals of harmful requests, and how many answers to harmless ones."""

    token: int
    text: str
    refusals: int
    of_refusals: int
    harmless: int
    of_harmless: int

    def __repr__(self) -> str:
        refusals, harmless = f"{self.refusals} of {self.of_refusals}", f"{self.harmless} of {self.of_harmless}"
        return one_line(self, quoted(self.text), f"begins {refusals} refusals, {harmless} harmless answers")

    @property
    def refusing(self) -> bool:
        """Whether it begins at least 5% of the refusals, and a larger share of them than of the harmless answers."""
        share = self.refusals / max(1, self.of_refusals)
        return share >= MIN_SHARE and share > self.harmless / max(1, self.of_harmless)


def greedy_answers(lm: Model, instructions: Sequence[str], *, max_new_tokens: int = 16) -> list[tuple[list[int], str]]:
    """The model's greedy answers to instructions: tokens and text."""
    found: list[tuple[list[int], str]] = []
    for start in range(0, len(instructions), 32):
        rows = [
            Request(asked(lm, text), max_new_tokens=max_new_tokens, top_alternatives=0).row(lm)
            for text in instructions[start : start + 32]
        ]
        generate(rows)
        found += [(list(row.generated), lm.text(row.generated)) for row in rows]
    return found


def opening_tokens(
    lm: Model, harmful: Sequence[str], harmless: Sequence[str], *, max_new_tokens: int = 16
) -> tuple[RefusingToken, ...]:
    """The first tokens of the model's own refusals, the most frequent first, with how often harmless answers begin so.

    A refusal is read by the twelve phrases of Arditi et al.; `RefusingToken.refusing` says which tokens speak for one.
    """
    refusals = [ids[0] for ids, text in greedy_answers(lm, harmful, max_new_tokens=max_new_tokens) if refuses(text)]
    plain = [
        ids[0] for ids, text in greedy_answers(lm, harmless, max_new_tokens=max_new_tokens) if ids and not refuses(text)
    ]
    first, other = Counter(refusals), Counter(plain)
    texts = lm.token_texts(list(first))
    found = [
        RefusingToken(token, text, first[token], len(refusals), other[token], len(plain))
        for token, text in zip(first, texts, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (-one.refusals, one.token)))
