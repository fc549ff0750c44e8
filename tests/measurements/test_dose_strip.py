"""Dose strips: the baseline first, rows equal to rows alone, and the places where an answer turns and a text breaks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from steering.directions.contrasts import mean_difference
from steering.directions.pairs import PairSet
from steering.engine.engine import Engine
from steering.interventions import ActivationAddition
from steering.measurements.dose_strip import (
    Dose,
    DoseStrip,
    dose_strip,
    finer,
    first_sentence,
    marked,
    trimmed,
    turned,
)
from steering.measurements.parting import first_difference, parting
from steering.models.model import Model
from steering.sites import Site

PAIRS = PairSet.from_lists(["I love the cat", "I love the dog"], ["I hate the cat", "I hate the dog"])
PROMPT = "She said that the cat"
STRENGTHS = (0.5, 2.0, 8.0)


@pytest.fixture(scope="module")
def engine(tiny_llama: Model) -> Iterator[Engine]:
    with Engine(tiny_llama) as made:
        yield made


def push(engine: Engine):
    direction = mean_difference(engine.model, PAIRS, Site(1))
    return lambda alpha: (ActivationAddition(direction, alpha),)


def dose(strength: float | None, text: str, surprise: float = 1.0, repetition: float = 0.0) -> Dose:
    words = text.split()
    return Dose(strength, text, tuple(range(len(words))), tuple(words), surprise, repetition)


def strip_of(*texts: str, surprise: tuple[float, ...] = ()) -> DoseStrip:
    costs = surprise or (1.0,) * len(texts)
    return marked([dose(0.1 * k if k else None, text, costs[k]) for k, text in enumerate(texts)])


# Laws ---------------------------------------------------------------------------------------------------------------


def test_every_dose_is_the_row_that_it_would_be_alone(engine: Engine):
    made = push(engine)
    strip = dose_strip(engine, PROMPT, made, STRENGTHS, max_new_tokens=8, refine=False)
    assert [one.strength for one in strip.doses] == [None, *STRENGTHS]
    for one in strip.doses:
        alone = engine.generate(PROMPT, [() if one.strength is None else made(one.strength)], max_new_tokens=8)[0]
        assert one.text == alone.text and list(one.tokens) == alone.tokens


def test_surprise_is_that_of_the_unsteered_model(engine: Engine):
    """Of the baseline's own greedy text it is the mean of the log-probabilities that it was written with."""
    strip = dose_strip(engine, PROMPT, push(engine), STRENGTHS, max_new_tokens=8, refine=False)
    plain = engine.generate(PROMPT, max_new_tokens=8)[0]
    assert strip.doses[0].surprise == pytest.approx(-sum(plain.logprobs) / len(plain.logprobs), abs=1e-4)
    strong = strip.doses[-1]
    (scored,) = engine.score(PROMPT, list(strong.tokens))
    assert strong.surprise == pytest.approx(-sum(scored) / len(scored), abs=1e-4)
    assert strong.surprise > strip.doses[0].surprise


def test_a_strength_of_zero_is_the_baseline(engine: Engine):
    strip = dose_strip(engine, PROMPT, push(engine), (0.0, 8.0), max_new_tokens=8, refine=False)
    assert strip.doses[1].tokens == strip.doses[0].tokens and strip.doses[1].parting is None


def test_where_the_paths_part_both_have_read_the_same(engine: Engine):
    made = push(engine)
    plain, steered = engine.generate(PROMPT, [(), made(8.0)], max_new_tokens=8)
    found = parting(engine.model, plain, steered)
    assert found is not None
    assert plain.tokens[: found.at] == steered.tokens[: found.at]
    assert (found.baseline, found.steered) == (plain.tokens[found.at], steered.tokens[found.at])
    chances = {one.token: one for one in found.chances}
    assert chances[found.baseline].baseline == pytest.approx(math.exp(plain.logprobs[found.at]))
    assert chances[found.steered].steered == pytest.approx(math.exp(steered.logprobs[found.at]))
    assert parting(engine.model, plain, plain) is None
    with pytest.raises(ValueError, match="different ones"):
        parting(engine.model, plain, engine.generate("Another", max_new_tokens=2)[0])


def test_refining_keeps_what_is_known_and_the_number_of_doses(engine: Engine):
    strip = dose_strip(engine, PROMPT, push(engine), STRENGTHS, max_new_tokens=8)
    given = [one.strength for one in strip.doses]
    assert given[0] is None and given[1:] == sorted(given[1:], key=float)  # type: ignore[arg-type]
    assert len(given) <= 7
    coarse = dose_strip(engine, PROMPT, push(engine), STRENGTHS, max_new_tokens=8, refine=False)
    known = {one.strength: one.text for one in coarse.doses}
    assert all(one.text == known[one.strength] for one in strip.doses if one.strength in known)


# Where it turns and where it breaks, by hand --------------------------------------------------------------------------

SYDNEY = "Yes, it is indeed Sydney. It lies at the sea."
CANBERRA = "It is Canberra, not Sydney."


def test_an_answer_turns_where_its_first_sentence_has_other_words():
    strip = strip_of(SYDNEY, "Yes, it is indeed Sydney! A large town.", CANBERRA, "a l c a")
    assert strip.turn == 2 and strip.breaks is None
    assert first_sentence("Yes. It is so, I think. Really") == "yes it is so i think"


def test_a_word_to_look_for_says_what_counts_as_an_answer():
    assert turned(CANBERRA, SYDNEY, "canberra") and not turned("No, Perth is.", SYDNEY, "Canberra")
    assert not turned(CANBERRA, CANBERRA, "Canberra"), "a word that the baseline has too says nothing"


def test_a_text_breaks_where_it_surprises_by_a_nat_more_or_repeats_itself():
    strip = strip_of(SYDNEY, SYDNEY, CANBERRA, "a l c", surprise=(1.0, 1.5, 1.9, 2.1))
    assert (strip.breaks, strip.reason) == (3, "surprise")
    loops = marked([dose(None, SYDNEY), dose(0.1, "so so so so so", 0.3, 0.67), dose(0.2, CANBERRA)])
    assert (loops.breaks, loops.reason) == (1, "repetition")
    silent = marked([dose(None, SYDNEY), dose(0.1, "")])
    assert silent.breaks == 1, "a text that is gone is broken"


def test_the_strength_to_begin_with_has_turned_and_holds():
    strip = strip_of(SYDNEY, SYDNEY, CANBERRA, CANBERRA, CANBERRA, "a l", surprise=(1.0, 1.0, 1.0, 1.0, 1.0, 9.0))
    assert (strip.turn, strip.breaks, strip.best) == (2, 5, 3)
    assert strip_of(SYDNEY, SYDNEY, SYDNEY).best == 2, "nothing turns: the strongest that holds"
    assert strip_of(SYDNEY, "a l", surprise=(1.0, 9.0)).best == 1, "nothing holds: the weakest"


def test_an_answer_may_turn_back():
    strip = marked([dose(None, SYDNEY), dose(0.1, CANBERRA), dose(0.2, CANBERRA), dose(0.4, SYDNEY)], "Canberra")
    assert (strip.turned, strip.turn, strip.best) == ((False, True, True, False), 1, 1)


def test_finer_strengths_lie_between_those_where_something_happens():
    strip = strip_of(SYDNEY, SYDNEY, CANBERRA, CANBERRA, "a l", surprise=(1.0, 1.0, 1.0, 1.0, 9.0))
    assert finer(strip) == [0.15, 0.35]
    first = strip_of(SYDNEY, CANBERRA)
    assert finer(first) == [0.05], "between nothing and the first one"
    falling = marked([dose(None, SYDNEY), dose(40.0, CANBERRA), dose(-10.0, CANBERRA)])
    assert finer(falling) == [], "a threshold's first dose has nothing before it"


def test_what_lies_beyond_the_break_goes_first():
    texts = (SYDNEY, SYDNEY, CANBERRA, "a", "b", "c", "d", "e")
    strip = trimmed(strip_of(*texts, surprise=(1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0)), 5)
    assert [one.text for one in strip.doses] == [SYDNEY, SYDNEY, CANBERRA, "a", "b"]


def test_bad_strengths_are_said(engine: Engine):
    with pytest.raises(ValueError, match="strengths that differ"):
        dose_strip(engine, PROMPT, push(engine), ())
    with pytest.raises(ValueError, match="strengths that differ"):
        dose_strip(engine, PROMPT, push(engine), (1.0, 1.0))


def test_first_difference():
    assert first_difference([1, 2, 3], [1, 5, 3]) == 1
    assert first_difference([1, 2], [1, 2, 3]) is None
