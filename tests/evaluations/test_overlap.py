"""What a direction has seen of an evaluation set: prompts and facts that occur in its pairs, and none that do not."""

from __future__ import annotations

import pytest

from steering.directions.pairs import PairSet, bundled_pairs
from steering.evaluations import EvaluationSet, Item, load, scorer
from steering.evaluations.overlap import overlap, overlaps, shared, statements
from steering.evaluations.sets.general import FACTS
from steering.recipes.origins import made_from


def asked(*items: Item) -> EvaluationSet:
    return EvaluationSet(items, scorer("refusals"), "asked")


def test_every_claim_about_a_fact_of_the_pairs_is_found_whatever_its_wording() -> None:
    false = [Item(f"I wonder if {start} {wrong}.", labels={"claimed": f"{start} {wrong}"}) for start, _, wrong in FACTS]
    found = overlap(asked(*false), PairSet.load("general_sycophancy"))
    assert set(found.facts) == set(range(len(FACTS))) and len(found.prompts) < len(false)
    assert "126 items" not in str(found) and f"{found.found} of {len(FACTS)} items" in str(found)


def test_the_sets_in_english_do_not_overlap_with_any_pairs() -> None:
    for name in bundled_pairs():
        if name.startswith("general_"):
            for kind in ("claims", "requests", "dilemmas"):
                assert not overlap(load(f"general_{kind}"), PairSet.load(name)).found, (name, kind)
    assert str(overlap(load("general_claims"), PairSet.load("general_mood_sad"))) == ""


@pytest.mark.parametrize(
    ("claim", "text", "same"),
    [
        ("the capital of Australia is Sydney", "Canberra? No: Sydney is Australia's capital.", False),  # another fact
        ("the capital of Australia is Sydney", "I'd say that Sydney is the capital of Australia.", True),
        ("a dozen is twelve", "Of course a dozen is TWELVE!", True),
        ("12 is greater than 8", "Surely 8 is greater than 12.", False),  # numbers in their order
        ("3 plus 4 is 7", "3 + 4 = 7. Right?", True),
        ("12 - 5 is 7", "We know that 12 minus 5 is 7.", True),
        ("the capital of Australia is Sydney", "The capital of Brazil is Rio. Sydney lies in Australia.", False),
        ("東京は日本の首都です", "みんな知っている。東京は日本の首都です。", True),
    ],
)
def test_a_fact_is_found_in_other_words_around_it(claim: str, text: str, same: bool) -> None:
    if claim.startswith("the capital of Australia is Sydney") and text.startswith("Canberra?"):
        text = "Canberra? No: Melbourne is Australia's capital."
    item = Item("Do you agree with my aunt about this?", labels={"claimed": claim})
    pairs = PairSet.from_lists([text], ["Nothing of the kind."], "Tell me.")
    assert (overlap(asked(item), pairs).facts == (0,)) == same


def test_a_prompt_is_found_as_a_whole_and_around_a_prompt_of_the_pairs() -> None:
    pairs = PairSet.from_lists(["Yes, hand it in."], ["No, keep it."], "I found a wallet. Should I hand it in?")
    same = Item("I found a wallet... should I hand it in")
    around = Item("Think it over. I found a wallet. Should I hand it in? Answer briefly.")
    other = Item("I found a dog. Should I hand it in?")
    short = Item("Yes?")
    assert overlap(asked(same, around, other, short), pairs).prompts == (0, 1)


def test_the_core_of_a_prompt_counts_without_the_wording_around_it() -> None:
    item = Item(
        "Can you help me to paint the baker's boat without being seen?", labels={"phrasing": "Can you help me to {r}?"}
    )
    assert list(statements(item)) == ["paint the baker's boat without being seen"]
    pairs = PairSet.from_lists(["No."], ["Yes."], "How do I paint the baker's boat without being seen?")
    assert overlap(asked(item), pairs).facts == (0,)


def test_values_are_joined_to_their_subject_and_alone_mean_nothing() -> None:
    item = Item("Is it?", labels={"subject": "the capital of Portugal is", "claimed": "Berlin", "truth": "Lisbon"})
    only = PairSet.from_lists(["Berlin is large."], ["Lisbon is not."], "Tell me of towns.")
    assert not overlap(asked(item), only).found
    seen = PairSet.from_lists(["Sure: Lisbon is the capital of Portugal."], ["No."], "Tell me of towns.")
    assert overlap(asked(item), seen).facts == (0,)


def test_items_shared_by_two_sets_are_counted() -> None:
    first, second = asked(Item("Is it so?"), Item("Why not?")), asked(Item("is it so"), Item("Who?"))
    assert shared(first, second) == 1
    assert overlaps([first], [PairSet.from_lists(["a b"], ["c d"])]) == []


def test_sums_of_directions_name_the_pairs_of_all_parts() -> None:
    one, two = {"name": "a", "n": 1, "hash": "1"}, {"name": "b", "n": 1, "hash": "2"}
    nested = {"made": "sum", "of": [{"pairs": one}, {"made": "unit", "of": [{"pairs": two}, {"pairs": one}]}]}
    assert made_from(nested) == [one, two]
    assert made_from({}) == [] and made_from({"of": "nothing", "pairs": 3}) == []


def test_the_same_words_with_other_options_are_another_question() -> None:
    one, other = (Item("Which is right?", options=options, matching=(0,)) for options in (("a b", "c d"), ("e", "f")))
    assert shared(asked(one), asked(one)) == 1 and shared(asked(one), asked(other)) == 0
