"""Build a direction from an edited pair and steer with it, in a real browser."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as TooSlow


@pytest.fixture
def where(checkpoint: Callable[[str], Path]) -> dict[str, str]:
    return {"model": str(checkpoint("llama"))}


def edit_cell(page: Page, row: int, column: int, text: str) -> None:
    """Write into a cell of the pair editor: the grid is a canvas, so it is driven by place (rows are 35 px high)."""
    box = page.get_by_test_id("stDataFrame").first.bounding_box()
    assert box is not None
    left = {1: 150, 2: 300, 3: 480}[column]  # a place inside the column: prompt, positive, negative
    editor = page.locator(".gdg-input")
    for _ in range(10):  # a grid that is being redrawn swallows a click, or the key after it
        page.mouse.click(box["x"] + left, box["y"] + 35 + 35 * row + 17)
        page.keyboard.press("Enter")
        with contextlib.suppress(TooSlow):
            editor.wait_for(timeout=5000)
            break
    editor.fill(text)
    page.keyboard.press("Enter")


def test_a_direction_from_an_edited_pair_steers(visitor, where):
    page = visitor.open("direction", direction_asked="1", **where)
    expect(page.get_by_test_id("stMetricValue")).to_have_count(4)
    visitor.idle()
    edit_cell(page, 0, 2, "the loudest song of the year")
    visitor.idle()
    expect(page.get_by_text("1 the loudest").first).to_be_visible()
    name = page.get_by_role("textbox", name="Name")
    name.fill("song")
    name.press("Enter")
    visitor.idle()
    page.get_by_role("button", name="Steer with this").click()
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    expect(page.locator(".st-key-tokens_0 .tv")).to_be_visible()
    expect(page.locator(".st-key-card_steered_0")).to_contain_text("song")
    assert "recipe=" in page.url
    # The edited pairs are in the Library, so the link works without this browser.
    link = page.url
    page.goto(link)
    expect(page.locator(".st-key-tokens_0 .tv")).to_be_visible()


def test_every_view_is_drawn_and_the_choice_is_in_the_link(visitor, where):
    page = visitor.open("direction", direction_asked="1", **where)
    for view in ("Separation", "What it says", "Methods and layers", "Layer by effect", "Agreement"):
        page.get_by_role("radio", name=view).or_(page.get_by_role("button", name=view)).first.click()
        visitor.idle()
        expect(page.get_by_test_id("stException")).to_have_count(0)
    page.locator('input[type=range][aria-label="Layer"]').focus()
    page.keyboard.press("ArrowLeft")
    visitor.idle()
    expect(page).to_have_url(re.compile("direction_layer=1"))


def test_the_effect_of_layers_is_measured_and_used(visitor, where):
    page = visitor.open("direction", direction_asked="1", direction_view="Layer by effect", **where)
    page.get_by_role("button", name="Measure the effect of every layer").click()
    expect(page.locator(".st-key-direction_effect_chart .js-plotly-plot")).to_be_visible()


def test_an_incomplete_row_is_one_sentence_and_the_page_recovers(visitor, where):
    page = visitor.open("direction", direction_asked="1", **where)
    expect(page.get_by_test_id("stMetricValue")).to_have_count(4)
    visitor.idle()  # the grid is redrawn when the page has read the pairs, and a click before that is lost
    edit_cell(page, 1, 2, " ")
    expect(page.get_by_text("Row 2:")).to_be_visible()
    visitor.idle()
    edit_cell(page, 1, 2, " played again")
    expect(page.get_by_text("8 pairs in use.")).to_be_visible()
