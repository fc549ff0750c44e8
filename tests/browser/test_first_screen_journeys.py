"""The first screen, its strip, presentation mode: as a newcomer and a teacher meet them, on the bundled model."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from served_app import Visitor

STEERED, BASELINE = ".player > .cards > .steered .text", ".player > .cards > .baseline .text"


def written(visitor: Visitor, **query: str) -> Page:
    """The first screen after one press, with its strip."""
    page = visitor.open(**query)
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".player .film .turned").first).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    visitor.idle()
    return page


def test_the_strip_is_scrubbed_in_the_browser_alone(visitor: Visitor):
    frames: list[object] = []
    visitor.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: frames.append(frame)))
    page = written(visitor)
    slider = page.get_by_role("slider", name="Push toward happy")
    slider.focus()
    sent = len(frames)
    slider.press("Home")
    expect(page.locator(STEERED)).to_have_text(page.locator(BASELINE).inner_text())
    slider.press("End")
    expect(page.locator(STEERED)).not_to_have_text(page.locator(BASELINE).inner_text())
    assert len(frames) == sent, "a moved slider sends nothing"


def test_where_the_paths_part_and_the_road_not_taken(visitor: Visitor):
    page = written(visitor)
    page.locator(".player > .cards > .steered .mark").click()
    parted = page.locator(".player .parted")
    expect(parted).to_contain_text("both have read the same words")
    expect(parted.locator("em.took")).to_have_count(2)
    page.get_by_role("button", name="Show the road not taken").click()
    expect(parted.locator(".card")).to_have_count(2)
    expect(parted.locator(".card.baseline h4")).to_contain_text("made to say")
    taken = page.locator(".player > .cards > .steered .mark").inner_text()
    assert parted.locator(".card.baseline mark").inner_text()[0] == taken[0], "it begins with the other one's token"


def test_a_class_guesses_first_and_the_clicker_goes_on(visit):
    visitor = visit(viewport={"width": 1920, "height": 1080})
    page = written_large(visitor)
    cover = page.locator(".player > .cards .cover")
    expect(cover).to_be_visible()
    expect(page.get_by_test_id("stSidebar")).to_be_hidden()
    page.keyboard.press("PageDown")
    expect(cover).to_be_hidden()
    size = page.locator(STEERED).evaluate("(e) => parseFloat(getComputedStyle(e).fontSize)")
    assert size >= 36, f"an answer is written {size} pixels high"
    at = page.locator(".player output").inner_text()
    page.keyboard.press("PageDown")
    expect(page.locator(".player output")).not_to_have_text(at)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("stSidebar")).to_be_visible()


def written_large(visitor: Visitor) -> Page:
    page = visitor.open(present="1")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".player.running")).to_have_count(0)
    expect(page.locator(".player > .cards .cover")).to_be_visible()
    visitor.idle()
    return page
