"""The first screen of Compare, and unrolled sliders: one press writes every strength, and what was written is kept."""

from __future__ import annotations

import json

import pytest
from open_pages import fine, open_page
from streamlit.testing.v1 import AppTest

from steering.recipes.links import encode
from steering.recipes.steps import Step, Variant
from steering.showing.player import page, player_data
from steering.ui.shared import presenting
from steering.ui.steer import comparing, running
from steering.ui.strips import panel, playable

pytestmark = pytest.mark.usefixtures("clean_caches")

COMPARE = "pages/steer/compare.py"
TEXTS = {"direction": "texts", "positive": "The sun is warm.", "negative": "The rain is cold."}
WARM = (Variant("Warm", (Step("add", alpha=0.4, **TEXTS),)),)


def players(at: AppTest) -> list[dict]:
    """What the players on the page are drawn from."""
    found = [one for one in at.get("bidi_component") if one.proto.component_name == "tiller_player"]
    return [json.loads(one.proto.json) for one in found]


def test_one_press_writes_every_strength_and_another_look_costs_nothing(folder):
    query = {"compare_prompt": "Hello there", "recipe": encode(WARM), "first": "1", "compare_tokens": "5"}
    at = fine(open_page(COMPARE, folder, **query))
    (before,) = players(at)
    assert before["running"] and not any(dose["text"] for dose in before["doses"])
    fine(at.button(key="compare_go").click().run())
    (after,) = players(at)
    assert not after["running"] and after["doses"][0]["said"] == "0" and len(after["doses"]) == 7
    assert all(dose["text"] for dose in after["doses"]) and after["drawing"]["layers"] == 4
    assert at.query_params["first"] == "1" and at.query_params["run"] == "1"
    from steering.ui.shared import objects as services

    rows = services.shelf().engine(folder).decoded_rows
    fine(at.run())
    assert services.shelf().engine(folder).decoded_rows == rows


def test_more_and_less_keep_the_question_and_the_recipe(folder):
    at = fine(open_page(COMPARE, folder, compare_prompt="Hello there", recipe=encode(WARM), first="1"))
    fine(at.text_input(key="compare_prompt").set_value("Good morning").run())
    at.query_params["compare_prompt"] = "Good morning"  # a browser does this by itself
    fine(at.button(key="first_more").click().run())
    assert at.text_area(key="compare_prompt").value == "Good morning"
    fine(at.button(key="compare_less").click().run())
    assert at.text_input(key="compare_prompt").value == "Good morning"
    (step,) = at.session_state[comparing.RECIPE][0].variant.steps
    assert (step.alpha, step.positive) == (0.4, TEXTS["positive"])


def test_an_unrolled_slider_is_set_to_the_strength_that_was_pressed(folder):
    query = {"compare_prompt": "Hello there", "recipe": encode(WARM), "run": "1", "compare_tokens": "5"}
    at = fine(open_page(COMPARE, folder, compare_view="Strengths", **query))
    (data,) = players(at)
    assert data["can"] == {"use": True, "road": True}
    at.session_state[f"{panel.KEY}_strength"] = 0.05
    fine(at.run())
    assert at.session_state[comparing.RECIPE][0].variant.steps[0].alpha == 0.05


def test_a_direction_sent_from_another_page_begins_at_the_strength_that_its_strip_proposes(folder):
    query = {"compare_prompt": "Hello there", "recipe": encode(WARM), "run": "1", "compare_tokens": "5"}
    at = open_page(COMPARE, folder, **query)
    at.session_state[panel.SEEK] = True
    fine(at.run())
    alpha = at.session_state[comparing.RECIPE][0].variant.steps[0].alpha
    assert panel.SEEK not in at.session_state
    fine(at.segmented_control(key="compare_view").set_value("Strengths").run())
    (data,) = players(at)
    assert data["doses"][data["best"]]["said"] == f"{alpha:.4g}"


@pytest.mark.parametrize(
    "file", ["pages/steer/chat.py", "pages/build/discover.py", "pages/measure/evaluate.py", COMPARE]
)
def test_a_page_is_presented_with_its_controls_folded(folder, file):
    at = fine(open_page(file, folder, present="1"))
    assert any("font-size: clamp" in str(one.proto) for one in at.get("html"))
    assert presenting.PRESENT in at.query_params


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u202eabc"


def test_a_page_that_plays_holds_its_texts_escaped_and_nothing_from_outside():
    doses = [{"strength": None, "text": HOSTILE}, {"strength": 0.1, "text": "fine\nsecond line"}]
    made = page(player_data({"doses": doses}), title=HOSTILE, prompt=HOSTILE, about=HOSTILE)
    assert "<img" not in made and made.count("<script") == 2 and "⟨U+202E⟩" in made
    assert "http" not in made.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    packed = made.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(packed)["doses"][1]["text"] == "fine\nsecond line"
    assert len(made.encode()) < 300_000


def test_a_run_is_a_page_that_plays_too(folder):
    query = {"compare_prompt": "Hello there", "recipe": encode(WARM), "run": "1", "compare_tokens": "5"}
    at = fine(open_page(COMPARE, folder, **query))
    (result,) = at.session_state[running.RESULTS].values()
    data = playable.run_data(result)
    baseline, warm = data["doses"]
    assert (baseline["said"], warm["said"]) == ("Baseline", "Warm") and data["turned"] == [False, True]
    at_place = warm["at"]
    assert baseline["pieces"][:at_place] == warm["pieces"][:at_place]
    assert sum(one["took"][1] for one in warm["chances"]) == 1
    assert "Hello there" in playable.run_page(result)
