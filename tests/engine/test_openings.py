"""What all chat prompts begin with is read once while rows are decoded, and every row is what it would be alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from steered_rows import decode, direction

from steering.engine.decoding import Decoder
from steering.engine.openings import Openings
from steering.engine.requests import Request
from steering.engine.rows import Row
from steering.interventions import ActivationAddition, DirectionalAblation, Intervention
from steering.models.chat import chat
from steering.models.model import Model

QUESTIONS = ("Is seven odd?", "The moon was red", "No", "Why do they all agree?", "Was it so?", "Is it a cat?")


@pytest.fixture(scope="module")
def lm(model: Callable[[str], Model]) -> Model:
    """A tiny chat model whose template opens with a system message of its own."""
    return model("qwen2")


def rows(lm: Model, questions: tuple[str, ...], *variants: tuple[Intervention, ...], **options) -> list[Row]:
    settings = {"max_new_tokens": 6, "ignore_eos": True, **options}
    return [Request(chat(q), variant, **settings).row(lm) for q in questions for variant in variants or ((),)]


def one_after_another(lm: Model, all_rows: list[Row], by: int) -> Decoder:
    """Rows join in groups, as visitors' requests do, while those before them are under way."""
    decoder = Decoder(lm)
    for start in range(0, len(all_rows), by):
        decoder.add(all_rows[start : start + by])
        decoder.step()
    while len(decoder):
        decoder.step()
    return decoder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens of prompts were given to the model, pass by pass."""
    found: list[int] = []
    forward = Model.forward

    def counted(self: Model, tokens: torch.Tensor, **options):
        if tokens.shape[1] > 1:
            found.append(tokens.numel())
        return forward(self, tokens, **options)

    monkeypatch.setattr(Model, "forward", counted)
    return found


def test_rows_that_join_are_what_they_are_alone(lm: Model) -> None:
    push, none = ActivationAddition(direction(), 4.0), DirectionalAblation(direction(seed=1))
    variants = ((), (push,), (none,), (ActivationAddition(direction(seed=2), 3.0, where="generated"),))
    together = rows(lm, QUESTIONS, *variants)
    one_after_another(lm, together, len(variants))
    for row in together:
        alone = decode(lm, list(row.prompt), row.interventions, max_new_tokens=6, ignore_eos=True)
        assert row.generated == alone.generated
        torch.testing.assert_close(torch.tensor(row.logprobs), torch.tensor(alone.logprobs), atol=2e-5, rtol=1e-5)
        for mine, theirs in zip(row.receipts(), alone.receipts(), strict=True):
            assert mine.agrees and theirs.agrees
            assert (mine.tokens, mine.positions) == (theirs.tokens, theirs.positions)


def test_the_opening_is_read_once_for_each_way_of_steering(lm: Model, read: list[int]) -> None:
    opening = len(Openings(lm).tokens)
    push = ActivationAddition(direction(), 4.0)
    one_after_another(lm, rows(lm, QUESTIONS, (), (push,)), 2)
    lengths = [len(lm.tokens(chat(question))) for question in QUESTIONS]
    assert len(read) == len(QUESTIONS) + 1  # one pass a question, and one for the opening
    whole, first = read[0], read[1]
    assert whole == lengths[0] and first == opening  # below the layer of the edit both ways are one row
    assert read[2:] == [n - opening for n in lengths[1:]]


def test_a_lone_prompt_costs_one_pass(lm: Model, read: list[int]) -> None:
    one_after_another(lm, rows(lm, QUESTIONS[:1], (), (ActivationAddition(direction(), 4.0),)), 2)
    assert len(read) == 1


def test_a_strength_of_its_own_is_not_read_twice(lm: Model, read: list[int]) -> None:
    variants = [(ActivationAddition(direction(), float(k)),) for k in range(1, 5)]
    one_after_another(lm, [row for v in variants for row in rows(lm, QUESTIONS[:1], v)], 1)
    assert len(read) == len(variants)


def test_nothing_is_kept_when_no_row_is_left(lm: Model, read: list[int]) -> None:
    decoder = one_after_another(lm, rows(lm, QUESTIONS), 2)
    before = len(read)
    decoder.add(rows(lm, QUESTIONS[:1]))
    assert read[before:] == [len(lm.tokens(chat(QUESTIONS[0])))]


def test_rows_that_are_recorded_are_read_whole(lm: Model, read: list[int]) -> None:
    recorded = rows(lm, QUESTIONS, record=(direction(),))
    one_after_another(lm, recorded, 1)
    assert read == [len(row.prompt) for row in recorded]
    assert all(row.traces for row in recorded)
