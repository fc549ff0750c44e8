"""The questionnaire by log-probability, in several orders of its scale; and which kind of ending is likeliest."""

from __future__ import annotations

import math

import pytest

from steering import evaluations as ev
from steering.evaluations.scoring.moral import ScaleRatings
from steering.evaluations.scoring.preference import EndingPreference
from steering.evaluations.sets.orders import in_orders

TEXT = "Part 1. How relevant?\n\n[0] = not\n[1] = a bit\n[2] = very\n\n______1. Someone suffered\n______6. Math\n"


def test_a_rating_is_the_mean_of_the_scale_by_hand() -> None:
    found = ev.parse(TEXT, "txt", name="q")
    assert found.scorer == ScaleRatings() and ScaleRatings().options(found.items[0]) == ("0", "1", "2")
    # P = 0.1, 0.1, 0.3: (0 * 0.1 + 1 * 0.1 + 2 * 0.3) / 0.5 = 1.4.
    answer = [[math.log(0.1)], [math.log(0.1)], [math.log(0.3)]]
    said = found.scorer.score(found.items[0], answer)
    assert said == {"scale_said": pytest.approx(0.5), "no_number": 0.0, "foundation: care": pytest.approx(1.4)}
    assert found.scorer.score(found.items[1], answer)["attention"] == 1.0  # math is rated below 1.5
    rare = [[math.log(0.01)]] * 3
    assert found.scorer.score(found.items[0], rare)["no_number"] == 1.0
    assert found.scorer.score(found.items[0], [[-1e4]] * 3) == {"scale_said": 0.0, "no_number": 1.0}


def test_orders_turn_the_scale_and_nothing_else() -> None:
    found = in_orders(ev.parse(TEXT, "txt", name="q"), 3)
    assert [item.labels["order"] for item in found] == [0, 1, 2, 0, 1, 2]
    first, turned, drawn = (item.text for item in found.items[:3])
    assert turned.index("[2] = very") < turned.index("[1] = a bit") < turned.index("[0] = not")
    assert sorted(first.split()) == sorted(turned.split()) == sorted(drawn.split())
    assert len({item.id for item in found}) == 6
    with pytest.raises(ValueError, match="at least one order"):
        in_orders(found, 0)
    with pytest.raises(ValueError, match="this item has none"):
        in_orders(ev.parse('{"prompt": "x?"}', "jsonl", name="x"), 2)


def test_the_likeliest_kind_of_ending_by_hand() -> None:
    scorer = EndingPreference("moods", "mood", ("happy", "sad"))
    item = ev.Item("q", labels={"endings": {"happy": "Joy.", "sad": "Tears."}})
    assert scorer.options(item) == ("Joy.", "Tears.")
    # Means -2 and -3: happy is likelier, by 1 nat a token.
    assert scorer.score(item, [[-1.0, -3.0], [-3.0]]) == {
        "mood: happy": 1.0, "mood: sad": 0.0, "lean: happy": 1.0, "lean: sad": -1.0,
    }  # fmt: skip
