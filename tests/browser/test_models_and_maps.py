"""Journeys with an own model and own pairs: a GGUF file, the best cell of a map, a job that is stopped."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from gguf_models import write_gguf
from playwright.sync_api import expect


def test_a_gguf_file_is_opened_from_the_models_page_and_steered(visitor, checkpoint: Callable[[str], Path], tmp_path):
    file = write_gguf("llama", checkpoint("llama"), tmp_path / "mine.gguf")
    page = visitor.open("models", models_view="A folder")
    box = page.get_by_role("textbox", name="Folder of a model or an SAE")
    box.fill(str(file))
    box.press("Enter")
    card = page.locator(".st-key-card_model")
    expect(card).to_contain_text("mine.gguf")
    card.get_by_role("button", name="Load").click()
    card.get_by_role("button", name="Use this model").click()
    expect(page.get_by_text("You are using this model")).to_be_visible()
    visitor.idle()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Compare", exact=True).click()
    page.locator(".st-key-first_more button").first.click()
    expect(page.get_by_role("button", name="Less")).to_be_visible()
    visitor.idle()
    page.get_by_role("button", name="Generate").click()
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


def test_a_job_that_is_stopped_says_so_and_keeps_what_it_has(visitor):
    page = visitor.open("direction", direction_asked="1", direction_view="Layer and strength")
    page.get_by_role("button", name="Measure the map").click()
    main = page.get_by_test_id("stMain")
    expect(main.locator(".js-plotly-plot").first).to_be_visible()  # the first layer is there
    main.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Measure it again")).to_be_visible()
    expect(main.get_by_role("button", name="Stop")).to_have_count(0)
    expect(main.locator(".js-plotly-plot").first).to_be_visible()
    expect(page.get_by_test_id("stSidebar").get_by_test_id("stProgress")).to_have_count(0)
