"""Journeys with an own model and own pairs: a GGUF file, the best cell of a map, a job that is stopped."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from gguf_models import write_gguf
from playwright.sync_api import expect

from steering.recipes.links import encode
from steering.recipes.steps import Step, Variant


def test_a_gguf_file_is_opened_from_the_models_page_and_steered(visitor, checkpoint: Callable[[str], Path], tmp_path):
    file = write_gguf("llama", checkpoint("llama"), tmp_path / "mine.gguf")
    page = visitor.open("models", models_view="A folder")
    box = page.get_by_role("textbox", name="Folder of a model or an SAE")
    box.fill(str(file))
    box.press("Enter")
    card = page.locator(".st-key-card_model")
    expect(card).to_contain_text("mine.gguf")
    card.get_by_role("button", name="Load and use").click()
    expect(page.get_by_text("You are using this model")).to_be_visible()
    visitor.idle()
    # The example's pairs are longer than the tiny model's context; two short texts are a direction too.
    step = Step("add", direction="texts", positive="the king", negative="a dog", alpha=0.3)
    recipe = encode((Variant("toward the king", (step,)),))
    visitor.open("", model=str(file), compare_prompt="the cat and", recipe=recipe, run="1")
    expect(page.locator(".st-key-tokens_0 .tv")).to_be_visible()
    expect(page.get_by_test_id("stSidebar")).to_contain_text("mine.gguf")


def test_own_pairs_are_steered_with_at_the_best_cell_of_the_map(visitor, checkpoint: Callable[[str], Path]):
    where = {"model": str(checkpoint("llama")), "direction_asked": "1"}
    page = visitor.open("direction", direction_view="Layer and strength", **where)
    expect(page.get_by_text(re.compile("strengths: about"))).to_be_visible()
    page.get_by_role("button", name="Measure the map").click()
    expect(page.get_by_role("button", name="Measure it again")).to_be_visible()
    visitor.idle()
    chosen = page.locator(".st-key-direction_map_chosen").get_by_role("combobox")
    best = re.search(r"layer (\d+), ([+-][\d.]+)", chosen.input_value() or chosen.inner_text())
    assert best is not None
    page.get_by_role("button", name="Steer with this cell").click()
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    expect(page.locator(".st-key-tokens_0 .tv")).to_be_visible()
    expect(page.locator(".st-key-card_steered_0")).to_contain_text(f"layer {best[1]}")


def test_a_job_that_is_stopped_ends(visitor):
    page = visitor.open("direction", direction_asked="1", direction_view="Layer and strength")
    page.get_by_role("button", name="Measure the map").click()
    main = page.get_by_test_id("stMain")
    main.get_by_role("button", name="Stop").click()  # at once: a fast machine has the whole map in seconds
    expect(page.get_by_role("button", name=re.compile("Measure"))).to_be_visible()
    expect(main.get_by_role("button", name="Stop")).to_have_count(0)
    expect(page.get_by_test_id("stSidebar").get_by_test_id("stProgress")).to_have_count(0)
