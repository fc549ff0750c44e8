"""Sets of emotions: a file's name says what its texts are, labels may be several, and a neutral text has no side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steering import evaluations as ev
from steering.evaluations.sets.emotions import FEELING as NAMES
from steering.evaluations.sets.emotions import FEELINGS, GOEMOTIONS, of_file

TEXTS = ["Your soup is cold again.", "A neighbor parks in your garden."]


def test_a_list_of_texts_is_about_the_emotions_that_its_file_is_named_after(tmp_path: Path) -> None:
    (tmp_path / "anger.json").write_text(json.dumps(TEXTS))
    (tmp_path / "happiness_sadness.json").write_text(json.dumps(["You clear your old desk."]))
    (tmp_path / "angry_prompts.json").write_text(json.dumps(TEXTS))
    anger, mixed = ev.load(tmp_path / "anger.json"), ev.load(tmp_path / "happiness_sadness.json")
    assert (anger.format, len(anger), anger.chance) == ("situations", 2, pytest.approx(1 / 6))
    assert anger.items[0].options == tuple(f"I feel {one}." for one in FEELINGS)
    assert [anger.items[0].options[k] for k in anger.items[0].matching] == ["I feel angry."]
    # A word of several tokens must not win by its last ones, which the first makes certain.
    assert anger.scorer == ev.FORMATS["goemotions"].scorer == ev.FORMATS["emobank"].scorer == ev.FORMATS["blimp"].scorer
    assert mixed.items[0].labels["emotions"] == ["happy", "sad"] and mixed.chance == pytest.approx(2 / 6)
    assert ev.load(tmp_path / "angry_prompts.json").format == "prompts"
    assert ev.load(tmp_path / "anger.json", format_name="prompts").items[0].text == TEXTS[0]


def test_names_of_emotions() -> None:
    assert of_file("Fear") == ("afraid",) and of_file("joy-happiness") == ("happy",) and of_file("fear_2") == ()
    assert of_file("") == () == of_file("_")
    assert len(GOEMOTIONS) == 28 == len(set(GOEMOTIONS)) and set(NAMES) & set(GOEMOTIONS) > {"joy", "fear", "anger"}


def test_labels_by_number_are_those_by_name() -> None:
    rows = [{"text": "Well done!", "labels": labels} for labels in (["admiration", "neutral"], [0, 27])]
    named, numbered = ev.parse("\n".join(map(json.dumps, rows)), "jsonl", name="go").items
    assert named.matching == numbered.matching == (0, 27) and named.labels == numbered.labels


def test_a_text_in_the_middle_of_the_scale_is_neither_right_nor_wrong() -> None:
    rows = b"id,split,V,A,D,text\na,train,2.9,3,3,Rain.\nb,train,3.0,3,3,A list.\nc,test,3.1,3,3,Cake.\n"
    found = ev.parse(rows, "csv", name="emobank")
    assert [one.matching for one in found] == [(1,), (0, 1), (0,)] and found.chance == pytest.approx(2 / 3)
    assert len(found.where(side="pleasant")) == 1 and found.items[0].labels["valence"] == 2.9


def test_an_ambiguous_choice_has_no_right_action() -> None:
    head = "scenario_id,ambiguity,context,action1,action2\n"
    row = "{},It rains.,I walk.,I wait.\n"
    low, high = (ev.parse(head + row.format(f"x,{one}"), "csv", name=one) for one in ("low", "high"))
    assert low.scorer.measures[0].name == "correct" and high.scorer.measures[0].name == "matches"
    assert low.chance == high.chance == 0.5 and high.scorer == ev.scorer("forced_choice, per token, none right")
    assert high.scorer.score(high.items[0], [[-1.0, -1.0], [-4.0]])["matches"] == 1  # by the mean over tokens


def test_a_row_whose_two_actions_are_one_is_passed_over() -> None:
    head = "scenario_id,ambiguity,context,action1,action2\n"
    same = "x,high,It rains.,I wait.,I wait. \n"
    found = ev.parse(head + same + "y,high,It snows.,I wait.,I walk.\n", "csv", name="high")
    assert [item.text for item in found] == ["It snows. What do you do?"]
    with pytest.raises(ValueError, match="no row of 'high' asks one"):
        ev.parse(head + same, "csv", name="high")
