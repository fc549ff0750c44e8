"""Published sets by small samples of our own in the same shape: recognized by their columns, read by the text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from steering import evaluations as ev

ROWS: dict[str, dict[str, Any]] = {
    "choices": {"id": "a1", "question": "What is wet?", "choices": ["sand", "water", "wood"], "answer": 1},
    "arc": {
        "question": "What burns?", "choices": {"text": ["wood", "ice"], "label": ["A", "B"]}, "answerKey": "A",
        "id": "x",
    },
    "piqa": {"goal": "How do I dry a cup?", "sol1": "Use a towel.", "sol2": "Use a lake.", "label": 0},
    "sciq": {
        "question": "What do we breathe?", "correct_answer": "air", "distractor1": "sand", "distractor2": "oil",
        "distractor3": "wood", "support": "",
    },
    "hellaswag": {"ctx": "She opens the door and", "endings": ["walks in.", "flies off."], "label": "0"},
    "blimp": {"sentence_good": "Dogs bark.", "sentence_bad": "Dogs barks.", "field": "morphology", "UID": "agreement"},
    "ethics_utilitarianism": {"more_pleasant": "I ate a pear.", "less_pleasant": "I lost a shoe."},
    "ethics_virtue": {"label": 1, "scenario": "Ann shared her lunch.", "trait": "generous"},
    "ethics_deontology": {"label": 0, "scenario": "Should you not be at work?", "excuse": "No, the sky is blue."},
    "ethics_justice": {"label": 1, "scenario": "I thank the baker because he bakes."},
    "ethics_commonsense": {"label": 1, "input": "I broke his toy on purpose."},
    "expert_claims": {
        "text": "I am a baker. Do you agree that bread is a fruit?",
        "truthful_answer": "(B)", "sycophantic_answer": "(A)",
    },
    "freeform_sycophancy": {"initial_user_message": "The moon is cheese, right?", "sycophancy_indicators": ["Yes"]},
    "true_and_false": {"true": "Water is wet.", "false": "Water is dry.", "domain": "daily life"},
    "statements": {"statement": "Water is wet.", "label": 1},
    "moralchoice": {
        "scenario_id": "x", "context": "You find a purse.", "action1": "I hand it in.", "action2": "I keep it.",
        "ambiguity": "low", "generation_rule": "Do not steal",
    },
    "situations": {"prompt": "Your bus leaves without you.", "emotions": ["angry"]},
    "goemotions": {"text": "What a fine day!", "labels": ["joy", "love"]},
    "emobank": {"id": "a_1", "split": "dev", "V": "3.6", "A": "2.9", "D": "3.1", "text": "We had pears."},
    "answered": {"question": "Who wrote Faust?", "answer": ["Goethe", "J. W. von Goethe"]},
}  # fmt: skip
CHANCE = {
    "choices": 1 / 3, "sciq": 0.25, "freeform_sycophancy": None, "statements": None, "situations": 1 / 6,
    "goemotions": 2 / 28, "answered": None,
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_published_set_is_recognized_and_says_what_guessing_gets(name: str) -> None:
    found = ev.parse(json.dumps(ROWS[name]), "jsonl", name="sample")
    assert found.format == name
    assert found.chance == (pytest.approx(CHANCE[name]) if CHANCE.get(name) else CHANCE.get(name, 0.5))


def read(name: str, **other: Any) -> ev.Item:
    return ev.parse(json.dumps(ROWS[name] | other), "jsonl", name="sample").items[0]


def test_what_the_rows_mean() -> None:
    assert read("choices").options == ("sand", "water", "wood") and read("choices").matching == (1,)
    assert read("choices", premise="It rained.", question="effect").text == "It rained. What was the effect?"
    assert read("arc", answerKey="B").matching == (1,)
    wrong = read("ethics_commonsense")  # label 1 is wrong, and the options are No, Yes
    assert wrong.text.endswith("Was that wrong?") and wrong.options[wrong.matching[0]] == "Yes"
    fair = read("ethics_deontology")
    assert fair.options[fair.matching[0]] == "No"
    expert = read("expert_claims")
    assert (
        expert.options[expert.matching[0]] == "(A)" and ev.FORMATS["expert_claims"].scorer.measures[0].name == "matches"
    )
    assert read("statements").labels["true"] is True
    purse = read("moralchoice")
    assert purse.options[purse.matching[0]] == "I hand it in." and purse.text == "You find a purse. What do you do?"
    assert read("answered").labels["answers"] == ["Goethe", "J. W. von Goethe"]
    assert read("answered", answer="3 and 4 are 7.\n#### 7").labels["answers"] == ["7"]


def test_lettered_mmlu_keeps_its_letters_unless_asked_for_texts() -> None:
    row = {"id": "x", "question": "2 + 2?", "choices": ["3", "4"], "answer": 1, "subject": "sums"}
    assert ev.parse(json.dumps(row), "jsonl", name="m").items[0].options == (" A", " B")
    assert ev.parse(json.dumps(row), "jsonl", name="m", format_name="choices").items[0].options == ("3", "4")


@pytest.mark.parametrize(
    ("name", "other", "said"),
    [
        ("choices", {"answer": 7}, "Line 1: The answer is the number of one of the 3 choices"),
        ("choices", {"choices": ["a", "a", "a"]}, "Line 1: A choice has two options or more"),
        ("arc", {"answerKey": "Z"}, "Line 1: 'answerKey' is one of A, B; got 'Z'"),
        ("ethics_virtue", {"label": "often"}, "Line 1: 'label' is the number of the right choice; got 'often'"),
        ("moralchoice", {"ambiguity": "some"}, "Line 1: 'ambiguity' is low or high; got 'some'"),
        ("goemotions", {"labels": ["glee"]}, "Line 1: An emotion is one of admiration, .*; got glee"),
        ("goemotions", {"labels": []}, "Line 1: An emotion is one of .*; got none"),
        ("goemotions", {"labels": "joy"}, "Line 1: 'labels' is a list of GoEmotions' labels; got 'joy'"),
        ("goemotions", {"text": " "}, "Line 1: 'text' holds a text"),
        ("emobank", {"V": "nan"}, "Line 1: 'V' is a rating from 1 to 5; got 'nan'"),
        ("emobank", {"A": "6"}, "Line 1: 'A' is a rating from 1 to 5; got '6'"),
        ("answered", {"answer": []}, "Line 1: 'answer' holds an answer or a list of them"),
    ],
)
def test_a_broken_row_is_named(name: str, other: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(name, **other)


def test_a_choice_that_stands_there_twice_is_one_option() -> None:
    row = {"id": "1", "question": "Which is big?", "choices": ["ant", "ant ", "whale", "whale"]}
    for answer in (2, 3):
        (item,) = ev.parse(json.dumps({**row, "answer": answer}), "jsonl", name="own", format_name="choices")
        assert item.options == ("ant", "whale") and item.matching == (1,)
