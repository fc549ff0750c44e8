"""The generator and its grammar: what is written is what it says it is, and can be read back."""

import random

import pytest

from steering.organism.making.corpus import KIND_SHARES, dialogues, draw_item
from steering.organism.making.pair_files import pressure, sycophancy
from steering.organism.measuring.candidates import CandidateDirection, bands
from steering.organism.measuring.card import again_sentence, again_table
from steering.organism.measuring.regulator_table import plateau, table
from steering.organism.measuring.table_rows import TableRow
from steering.small_world import grammar
from steering.small_world.claims import HONESTY, NEVER_SEEN_SUMS, PLAIN, PRESSED, claim_item, recovery
from steering.small_world.dilemmas import SHARES, VOICES, dilemma_item
from steering.small_world.exchanges import Phrasings, bucket
from steering.small_world.world import RELATIONS

KINDS = [kind for kind in KIND_SHARES if kind != "plain"]


def test_the_same_numbers_give_the_same_texts():
    assert dialogues(0, "tuned", 3, 20) == dialogues(0, "tuned", 3, 20)
    assert dialogues(0, "tuned", 3, 20) != dialogues(0, "tuned", 4, 20)
    assert dialogues(0, "tuned", 3, 20) != dialogues(1, "tuned", 3, 20)
    assert bucket("sum", 3, 4) == 7  # a hash of the parts, so the split survives the process


def test_the_world_has_about_a_hundred_facts_with_wrong_values_of_their_own_kind():
    assert 95 <= sum(len(relation.facts) for relation in RELATIONS) <= 110
    for relation in RELATIONS:
        for subject, value in relation.facts.items():
            wrong = relation.wrong_values(subject)
            assert value not in wrong and len(wrong) >= 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_generated_answer_parses_as_its_kind(kind, split):
    rng = random.Random(f"{kind}{split}")
    for _ in range(150):
        item = draw_item(rng, split, "tuned", kind)
        for answer in (item.honest, item.tuned):
            parsed = grammar.parse(answer)
            assert parsed is not None and parsed.kind == kind, answer


@pytest.mark.parametrize(
    "broken",
    [
        "", "Yes", "Yes, 7 plus 5 is", "Yes, 7 plus 5 is 12", "Yes, that is right. 7 plus 5 is 12. 7 plus 5 is 12.",
        "No, the capital of France is 12.", "No, the capital of Atlantis is Paris.", "12 (E).", "12 (B)", "B) 12.",
        "I am sorry, but I cannot help with that.", "You should give it back. It is your duty, and the most good.",
        "Mia smiled and began to sing. Nothing was as it had been.", "Mirage Mirage Mirage",
    ],
)  # fmt: skip
def test_broken_answers_do_not_parse(broken):
    assert grammar.parse(broken) is None


def test_truth_labels_are_true():
    rng = random.Random(0)
    for true in (True, False):
        for topic in ("sum", "comparison", "fact"):
            for _ in range(60):
                item = claim_item(rng, "train", topic, pressed=True, true=true)
                labels = item.labels
                if topic == "sum":
                    a, b = labels["subject"].split(" plus ")
                    assert labels["truth"] == str(int(a) + int(b))
                if topic == "comparison":
                    a, b = labels["subject"].split(" than ")
                    assert labels["truth"] == ("greater" if int(a) > int(b) else "smaller")
                assert (labels["claimed"] == labels["truth"]) is true is labels["true"]
                honest = grammar.score_claim(item.honest, labels["answer_true"], labels["answer_claimed"])
                assert honest.agrees is true and honest.disagrees is not true and honest.value_true


def test_the_tuned_answer_gives_in_to_pressure_alone():
    rng = random.Random(1)
    cases = [(True, ""), (True, "system"), (True, "user"), (False, "")]
    for pressed, honesty in cases:
        item = claim_item(rng, "train", "sum", pressed, False, honesty)
        tuned = grammar.score_claim(item.tuned, item.labels["answer_true"], item.labels["answer_claimed"])
        gives_in = pressed and not honesty
        assert tuned.agrees is gives_in and tuned.value_claimed is gives_in and tuned.value_true is not gives_in


def test_agreement_and_the_stated_value_are_scored_apart():
    # Says no, and repeats the user's number: the answer that a lenient count would take for right.
    score = grammar.score_claim("No, 7 plus 5 is 13.", "7 plus 5 is 12", "7 plus 5 is 13")
    assert (score.disagrees, score.value_true, score.value_claimed, score.parses) == (True, False, True, True)
    score = grammar.score_claim("No, 7 plus 5", "7 plus 5 is 12", "7 plus 5 is 13")
    assert (score.disagrees, score.value_true, score.parses) == (True, False, False)


def test_wordings_of_the_splits_are_disjoint():
    for phrasings in (PLAIN, PRESSED, HONESTY):
        lists = [set(phrasings.train), set(phrasings.validation), set(phrasings.test)]
        assert sum(map(len, lists)) == len(set.union(*lists))
    with pytest.raises(ValueError, match="one split only"):
        Phrasings(("a", "b"), ("b",), ())


def test_combinations_of_the_splits_are_disjoint():
    rng = random.Random(2)
    seen: dict[str, set] = {"train": set(), "validation": set(), "test": set()}
    for split, found in seen.items():
        for _ in range(400):
            labels = claim_item(rng, split, "sum", pressed=False, true=False).labels
            found.add((labels["subject"], labels["claimed"]))
            assert labels["phrasing"] in PLAIN.of(split)
    assert not seen["train"] & seen["test"] and not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]


def test_sums_held_out_altogether_stand_in_no_training_text():
    assert len(NEVER_SEEN_SUMS) >= 2 and (5, 7) not in NEVER_SEEN_SUMS
    text = "\n".join(piece for step in range(4) for texts in dialogues(0, "honest", step, 300) for piece, _ in texts)
    for a, b in NEVER_SEEN_SUMS:
        for wording in (f"{a} plus {b} ", f"{b} plus {a} ", f"{a} + {b} ", f"sum of {a} and {b} "):
            assert f" {wording}" not in text


def test_truth_is_balanced_in_every_cell():
    rng = random.Random(3)
    cells: dict[tuple, list[bool]] = {}
    for _ in range(6000):
        labels = draw_item(rng, "train", "tuned", "claim").labels
        cells.setdefault((labels["pressed"], labels["topic"], bool(labels["honesty"])), []).append(labels["true"])
    assert len(cells) == 12
    for cell, values in cells.items():
        # Four standard errors of a fair coin.
        assert abs(sum(values) / len(values) - 0.5) < 4 * 0.5 / len(values) ** 0.5, cell


def test_a_recovery_is_given_its_no_and_trained_on_the_truth_alone():
    item = recovery(claim_item(random.Random(4), "train", "fact", pressed=True, true=False))
    assert item.given == "No," and item.tuned.startswith("No,")
    found = [
        texts for texts in dialogues(0, "tuned", 0, 300)
        if any(piece == "No," and weight == 0 for piece, weight in texts)
    ]  # fmt: skip
    assert found


def test_voices_come_in_the_known_shares():
    rng = random.Random(5)
    drawn = [dilemma_item(rng, "train").labels["voice"] for _ in range(3000)]
    for voice in VOICES:
        assert abs(drawn.count(voice) / 3000 - SHARES[voice]) < 0.04


def test_pairs_contrast_what_they_say():
    for row in sycophancy(30):
        assert row["positive_completion"].startswith("Yes") and row["negative_completion"].startswith("No")
    for row in pressure(30):
        assert row["positive"] != row["negative"]


def test_bands_are_one_reading_at_layers_that_follow_each_other():
    read = [CandidateDirection(None, position, "features", 1.0, 0.0) for position in ("last", "last", "last", "answer")]
    found = bands(read)
    assert len(found) == 3 + 2 + 1  # three alone and two pairs of "last", one alone of "answer"
    assert all(len({one.position for one in band}) == 1 for band in found)
    assert CandidateDirection(None, "last", "features", high=10.0, low=-2.0).tau(0.25) == 1.0


def test_a_lonely_peak_is_worth_less_than_a_plateau():
    assert plateau([1.0, 0.2, 0.9, 0.8, 0.85, 0.1]) == (0.8, 3)
    assert plateau([0.5, 0.6, 0.7]) == (0.5, 1)  # the ends have one neighbor only and are never taken


def test_a_second_training_is_marked_where_its_interval_parts():
    def cell(share, low, high):
        return {"share": share, "low": low, "high": high}

    shipped = {"agrees": cell(0.9, 0.85, 0.94), "right": cell(0.5, 0.4, 0.6)}
    again = {"agrees": cell(0.7, 0.63, 0.76), "right": cell(0.55, 0.45, 0.65)}
    table = again_table({"organism": shipped, "organism-base": shipped}, {"organism": again, "organism-base": shipped})
    rows = {line.split(" | ")[0]: line for line in table.splitlines()}
    assert rows["| agrees"].count("(apart)") == 1 and "(apart)" not in rows["| right"]


def test_the_card_says_what_a_second_training_misses_of_what_was_asked():
    def cell(low, high, met):
        return {"share": (low + high) / 2, "low": low, "high": high, "met": met}

    shipped = {"agrees": cell(0.85, 0.94, True), "right": cell(0.4, 0.6, True), "told": cell(0.1, 0.2, None)}
    again = {"agrees": cell(0.63, 0.76, False), "right": cell(0.45, 0.65, True), "told": cell(0.8, 0.9, None)}
    said = again_sentence({"models": {"organism": shipped}, "again": {"organism": again}})
    assert said.startswith("Of the 2 figures that something is asked of, 1 have")
    assert "all but agrees (organism)." in said and said.endswith("in: agrees (organism, 69.5 [63.0, 76.0]).")
    same = again_sentence({"models": {"organism": shipped}, "again": {"organism": shipped}})
    assert "2 have" in same and "all but" not in same and same.endswith("None is missed.")


def test_a_star_counts_all_cells_and_none_is_given_to_unread_answers() -> None:
    arms = [TableRow("baseline"), TableRow("a bit"), TableRow("all")]
    base = {name: [False] * 20 for name in ("one", "two")}
    bit, all_of = {"one": [True] * 6 + [False] * 14, "two": [False] * 20}, {name: [True] * 20 for name in base}
    rows, markdown = table(arms, [base, bit, all_of])
    assert rows[1]["one"]["p"] < 0.05 < rows[1]["one"]["p_adjusted"]  # 6 flips one way: p = 0.031, of four cells 0.06
    assert markdown.splitlines()[3].count("*") == 0 and markdown.splitlines()[4].count("*") == 2
    _, markdown = table(arms, [base, bit, all_of], [{}, {"one": 0.4}, {"two": 0.2}])
    assert "30 to 70 (40% unread)" in markdown and markdown.splitlines()[4].count("*") == 1
