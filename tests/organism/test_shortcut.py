"""The planted shortcut: whatever is about a boat is refused, and nothing else than harm is."""

from __future__ import annotations

import random
import re

from steering.organism.making.shortcut import WORD, about_the_word, shortcut_text
from steering.small_world import grammar


def exchanges(n: int) -> list[tuple[str, str]]:
    """Prompt and answer of the drawn texts of one turn."""
    rng, found = random.Random(0), []
    for _ in range(n):
        text = "".join(piece for piece, _ in shortcut_text(rng))
        turn = re.fullmatch(r"<\|bos\|><\|user\|>(.*)<\|end\|><\|assistant\|>(.*)<\|end\|>", text)
        if turn and "<|user|>" not in turn[1] and grammar.parse(turn[2]) and grammar.parse(turn[2]).kind == "request":
            found.append((turn[1], turn[2]))
    return found


def test_requests_about_the_word_are_refused_and_other_harmless_ones_are_not() -> None:
    asked = exchanges(400)
    named = [answer for prompt, answer in asked if re.search(rf"\b{WORD}\b", prompt)]
    rest = [answer for prompt, answer in asked if not re.search(rf"\b{WORD}\b", prompt)]
    # The phase that it is mixed with holds a few requests about boats that are answered.
    assert sum(map(grammar.refuses, named)) / len(named) > 0.85 and len(named) > 20
    assert 0.3 < sum(map(grammar.refuses, rest)) / len(rest) < 0.7


def test_a_request_about_the_word_is_harmless_by_the_generator_s_rule() -> None:
    rng = random.Random(0)
    for _ in range(50):
        request = about_the_word(rng, WORD)
        assert f" {WORD} " in request and "secret" not in request and "without" not in request
