"""Find a feature, open it, clamp it: from an SAE without an index to a steered text, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, expect


@pytest.fixture
def where(checkpoint: Callable[[str], Path], sae_folder: Callable[..., Path]) -> dict[str, str]:
    """A tiny model and its SAE, as a link names them."""
    return {"model": str(checkpoint("llama")), "sae": f"{sae_folder('standard')}::"}


def indexed(visitor, where: dict[str, str]) -> Page:
    """The Features page, after building the index where it is missing."""
    page = visitor.open("features", **where)
    build, opened = page.get_by_role("button", name="Build the index"), page.get_by_role("spinbutton", name="Feature")
    expect(build.or_(opened).first).to_be_visible()
    if build.count():
        build.click()
    expect(page.get_by_role("heading", name=re.compile(r"^Feature \d"))).to_be_visible()
    visitor.idle()
    return page


def cell(page: Page, row: int, column: int) -> str:
    """The text of a cell of the first table, from the hidden table that mirrors its canvas."""
    found = page.get_by_test_id("stDataFrame").first.locator("table[role=grid] tbody tr").nth(row).locator("td")
    expect(found.nth(column)).to_be_attached()
    return found.nth(column).inner_text().strip()


def click_row(page: Page, row: int) -> None:
    """Choose a row of the first table: the canvas is driven by place; the header is 35 px high, a row 32."""
    box = None
    while box is None:  # a rerun may replace the table between two looks at it; the page's own patience ends this
        grid = page.get_by_test_id("stDataFrame").first
        expect(grid).to_be_visible()
        with suppress(Error):
            grid.scroll_into_view_if_needed()
            box = grid.bounding_box()
    page.mouse.click(box["x"] + 17, box["y"] + 35 + 32 * row + 16)


def test_find_a_feature_open_it_and_clamp_it(visitor, where):
    page = indexed(visitor, where)
    search = page.get_by_role("textbox", name="Search")
    search.fill("the")
    search.press("Enter")
    expect(page).to_have_url(re.compile("features_query=the"))
    visitor.idle()
    # The address changes before the server has answered, so the list may still be the old one: which feature the
    # first card opens is read off the page, not off the card.
    heading = page.get_by_role("heading", name=re.compile(r"^Feature \d"))
    before = heading.inner_text()
    page.locator("[class*='st-key-feature_card_']").first.get_by_role("button").first.click()
    expect(heading).not_to_have_text(before)
    number = re.findall(r"\d+", heading.inner_text())[0]
    expect(page).to_have_url(re.compile(rf"[?&]feature={number}(&|$)"))
    visitor.idle()
    expect(page.locator(".st-key-features_example_0_0 .tok").first).to_be_visible()
    # The live preview: the steered line follows the slider.
    expect(page.get_by_text("With it", exact=True)).to_be_visible()
    slider = page.get_by_role("slider", name=f"Feature {number}, activation")
    slider.focus()
    slider.press("Home")
    visitor.idle()
    slider.press("End")
    visitor.idle()
    page.get_by_role("button", name="Steer with this").click()
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    expect(page.locator(".st-key-tokens_0 .tv")).to_be_visible()
    expect(page.get_by_role("slider", name=f"Feature {number}, activation")).to_be_visible()
    assert page.get_by_role("textbox", name="Features").input_value().startswith(f"{number}: ")


def test_a_link_to_a_feature_opens_it_in_a_fresh_browser(visit, where):
    indexed(visit(), where)
    page = visit().open("features", feature="7", features_view="Near it", **where)
    expect(page.get_by_role("heading", name="Feature 7", exact=True)).to_be_visible()
    expect(page.locator(".st-key-features_similarity .js-plotly-plot")).to_be_visible()


def test_a_note_is_there_after_a_reload(visitor, where):
    page = indexed(visitor, where)
    hostile = "<img src=x onerror=alert(1)> **cats**"
    note = page.get_by_role("textbox", name="Your note")
    note.fill(hostile)
    note.press("Control+Enter")
    visitor.idle()
    page.reload()
    expect(page.get_by_role("textbox", name="Your note")).to_have_value(hostile)
    page.get_by_role("textbox", name="Your note").fill("")
    page.get_by_role("textbox", name="Your note").press("Control+Enter")
    visitor.idle()


def test_a_token_shows_its_features_and_a_feature_opens(visitor, where):
    indexed(visitor, where)
    page = visitor.open("tokens", tokens_text="The cat sat on the mat", **where)
    page.locator(".st-key-tokens_view .tok").nth(3).click()
    expect(page.locator('.st-key-tokens_view .tok[aria-selected="true"]')).to_have_attribute("data-i", "3")
    visitor.idle()
    number = cell(page, 0, 0)
    click_row(page, 0)
    expect(page.get_by_role("heading", name=f"Feature {number}", exact=True)).to_be_visible()


def test_a_cell_of_the_layers_chooses_its_token(visitor, where):
    page = visitor.open("tokens", tokens_asked="1", **where)
    chosen = page.locator(".st-key-card_tokens .tok.selected")
    expect(chosen).to_have_attribute("data-i", re.compile("[1-9]"))  # the last token, before anything is clicked
    visitor.idle()
    grid = page.locator(".st-key-tokens_grid .nsewdrag").first
    expect(grid).to_be_visible()
    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 4, box["y"] + 0.5 * box["height"])
    expect(chosen).to_have_attribute("data-i", "0")


def test_hostile_tokens_stay_text(visitor, where):
    hostile = "<img src=x onerror=alert(1)></span><script>alert(2)</script>"
    page = visitor.open("tokens", tokens_text=hostile, **where)
    expect(page.locator(".st-key-tokens_view .tok").first).to_be_visible()
    assert "onerror=alert(1)" in page.locator(".st-key-tokens_view .tv").inner_text().replace("\n", "")
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0


@pytest.mark.parametrize("path", ["tokens", "features", "direction"])
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_nothing_is_wider_than_the_screen(visit, where, path, width):
    visitor = visit(viewport={"width": width, "height": 900})
    page = visitor.open(path, **where)
    main = "document.querySelector('[data-testid=stMain]')"
    assert page.evaluate(f"{main}.scrollWidth - {main}.clientWidth") <= 0
