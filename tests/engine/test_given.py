"""Tokens given instead of chosen: those that would have been chosen change nothing, others are gone on from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from steering.directions.contrasts import mean_difference
from steering.directions.pairs import PairSet
from steering.engine.engine import Engine
from steering.engine.requests import Request
from steering.interventions import ActivationAddition
from steering.measurements.parting import parting, roads
from steering.models.model import Model
from steering.sites import Site

PAIRS = PairSet.from_lists(["I love the cat", "I love the dog"], ["I hate the cat", "I hate the dog"])
PROMPT = "She said that the cat"


@pytest.fixture(scope="module")
def engine(tiny_llama: Model) -> Iterator[Engine]:
    with Engine(tiny_llama, remember=0) as made:
        yield made


def push(engine: Engine, where: str = "all") -> ActivationAddition:
    return ActivationAddition(mean_difference(engine.model, PAIRS, Site(1)), 8.0, where=where)


@pytest.mark.parametrize("where", ["all", "generated", "from_last"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("cached", [True, False])
def test_tokens_that_would_be_chosen_change_nothing(engine: Engine, where: str, temperature: float, cached: bool):
    how = {"max_new_tokens": 8, "temperature": temperature, "seed": 3, "cached": cached}
    free = engine.submit(Request(PROMPT, push(engine, where), **how)).result()
    given = engine.submit(Request(PROMPT, push(engine, where), given=free.tokens[:4], **how)).result()
    assert given.tokens == free.tokens and given.text == free.text
    assert given.logprobs == pytest.approx(free.logprobs, abs=1e-5)
    assert [r.measured for r in given.receipts] == pytest.approx([r.measured for r in free.receipts], rel=1e-5)


def test_other_tokens_are_written_and_gone_on_from(engine: Engine):
    plain = engine.generate(PROMPT, max_new_tokens=6)[0]
    other = [(plain.tokens[0] + 1) % engine.model.d_vocab]
    forced = engine.submit(Request(PROMPT, given=other, max_new_tokens=6)).result()
    assert forced.tokens[:1] == other and len(forced.tokens) == 6
    after = engine.generate([*plain.prompt_tokens, *other], max_new_tokens=5)[0]
    assert forced.tokens[1:] == after.tokens
    assert forced.logprobs[0] == pytest.approx(engine.score(PROMPT, other)[0][0], abs=1e-4)


def test_a_given_row_is_not_mistaken_for_a_free_one_that_is_remembered(tiny_llama: Model):
    with Engine(tiny_llama) as engine:
        plain = engine.generate(PROMPT, max_new_tokens=4)[0]
        other = [(plain.tokens[0] + 1) % engine.model.d_vocab]
        assert engine.submit(Request(PROMPT, given=other, max_new_tokens=4)).result().tokens != plain.tokens


def test_the_roads_not_taken_cross(engine: Engine):
    plain, steered = engine.generate(PROMPT, [(), push(engine)], max_new_tokens=8)
    parted = parting(engine.model, plain, steered)
    assert parted is not None
    crossed = roads(engine, PROMPT, (push(engine),), plain.tokens, parted, max_new_tokens=8)
    assert [one.tokens[: parted.at] for one in crossed] == [plain.tokens[: parted.at]] * 2
    assert [one.tokens[parted.at] for one in crossed] == [parted.steered, parted.baseline]


def test_a_token_outside_the_vocabulary_is_refused(engine: Engine):
    with pytest.raises(ValueError, match="Token ids"):
        engine.submit(Request(PROMPT, given=[10**9]))
