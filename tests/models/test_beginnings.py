"""Activations of texts that begin alike are those of each text alone, and what they have in common is read once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tiny_models as tiny
import torch

from steering.models.caching.beginnings import split
from steering.models.caching.reading import pieces
from steering.models.model import Model
from steering.sites import Site

SHOTS = "Question: what is the best way to steer a model? Answer: (A) with a vector (B) with a prompt"
TEXTS = [f"{SHOTS} {q} {a}" for q in ("Is 7 plus 5 equal to 13?", "I love you", "The dog") for a in ("Yes", "No, it")]


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("batch_tokens", [24, 4096])
def test_activations_are_those_of_each_text_alone(
    family: str, batch_tokens: int, model: Callable[[str], Model]
) -> None:
    lm = model(family)
    texts = [tuple(lm.tokens(text)) for text in [*TEXTS, "The cat sat", TEXTS[0]]]
    sites = [Site(layer, stream) for layer in (1, 3) for stream in lm.streams]
    seen = set()
    for piece in pieces(lm, texts, sites, [len(text) - 2 for text in texts], batch_tokens):
        for row, number in enumerate(piece.numbers):
            seen.add(number)
            alone, _ = lm.activations([texts[number]], sites)
            for site in sites:
                torch.testing.assert_close(piece.activations[site][row, -2:], alone[site][0, -2:], atol=2e-4, rtol=2e-4)
            assert bool(piece.real[row, -2:].all())
    assert seen == set(range(len(texts)))


def test_the_last_token_alone_is_read_at_one_layer(tiny_llama: Model) -> None:
    texts = [tuple(tiny_llama.tokens(text)) for text in TEXTS]
    for piece in pieces(tiny_llama, texts, [Site(1)], [len(text) - 1 for text in texts], 4096):
        for row, number in enumerate(piece.numbers):
            alone = tiny_llama.activations([texts[number]], [Site(1)])[0][Site(1)]
            torch.testing.assert_close(piece.activations[Site(1)][row, -1], alone[0, -1], atol=1e-4, rtol=1e-4)


def test_what_texts_have_in_common_is_read_once(tiny_llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [tuple(tiny_llama.tokens(text)) for text in TEXTS]
    most = [len(text) - 1 for text in texts]
    list(pieces(tiny_llama, texts[:2], [Site(1)], most[:2], 4096))  # asks once whether the family can
    read, forward = [], Model.forward

    def counted(self: Model, tokens: torch.Tensor, **options: object) -> object:
        read.append(tokens.numel())
        return forward(self, tokens, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "forward", counted)
    list(pieces(tiny_llama, texts, [Site(1)], most, 4096))
    assert sum(read) < 0.4 * sum(map(len, texts))
    read.clear()
    list(pieces(tiny_llama, texts, [Site(1)], [0] * len(texts), 4096))  # every token is asked for
    assert sum(read) >= sum(map(len, texts))


def test_a_beginning_is_worth_a_pass_only_if_texts_differ_after_it() -> None:
    shared = tuple(range(20))
    texts = {0: (*shared, 1, 2), 1: (*shared, 1, 3), 2: (*shared, 7, 8, 9), 3: (90, 91), 4: (90, 91)}
    most = {number: len(text) - 1 for number, text in texts.items()}
    groups, alone = split(texts, most)
    assert [(group.length, sorted(group.numbers)) for group in groups] == [(20, [0, 1, 2])] and sorted(alone) == [3, 4]
    inner = {n: text for n, text in texts.items() if n < 3}
    assert split(inner, most, 20) == ([], [0, 1, 2])  # one token more is not worth it
    assert split({0: texts[0], 5: texts[0]}, {0: 21, 5: 21})[0] == []  # the same text twice is no reason
    assert split(inner, dict.fromkeys(inner, 5))[0] == []  # too few tokens may be read apart
    assert split({}, {}) == ([], [])
