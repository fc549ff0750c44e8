"""The refusal direction in a real browser: searched for, a cell clicked, and nothing harmful on the page."""

from __future__ import annotations

from playwright.sync_api import expect


def test_a_cell_of_the_grid_is_tried(visitor):
    page = visitor.open("direction", model="organism", direction_kind="Refusal")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_text("candidates passed").first).to_be_visible()
    visitor.idle()
    grid = page.locator(".st-key-refusal_grid .plot-container")
    box = grid.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.6)
    visitor.idle()
    expect(page.get_by_text("The candidate at layer").first).to_be_visible()
    page.get_by_role("button", name="Try it on two requests").click()
    expect(page.get_by_text("hidden until asked for")).to_be_visible()
    visitor.idle()
    expect(page.get_by_text("Not advice")).not_to_be_visible()
    expect(page.get_by_role("button", name="Write the folder")).not_to_be_visible()
