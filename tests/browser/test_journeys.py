"""Journeys through the app in a real browser, as a visitor takes them. Nothing sleeps: each step waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from served_app import PATIENCE, Visitor

from steering.recipes.links import encode
from steering.recipes.steps import Step, Variant

TEXTS = Step(
    "add",
    direction="texts",
    positive="A happy day. Everybody laughed.",
    negative="A sad day. Everybody cried.",
    alpha=0.2,
)
RECIPE = encode((Variant("Bright", (TEXTS,)),))


def compare(visitor: Visitor, prompt: str = "Please continue: Finn went to the harbor.", **query: str) -> Page:
    """Compare with a recipe that every model can run, not yet run."""
    return visitor.open(compare_prompt=prompt, recipe=RECIPE, compare_chat="false", **{"compare_tokens": "30", **query})


def generate(page: Page) -> None:
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".st-key-tokens_0 .tv")).to_be_visible()


def test_everything_is_one_press_from_the_first_screen_and_one_click_from_a_result(visitor):
    page = visitor.open()
    page.get_by_role("button", name="More", exact=True).click()
    expect(page.get_by_role("textbox", name="Prompt")).not_to_be_empty()
    expect(page.get_by_role("radiogroup", name="Random controls")).to_be_visible()
    visitor.idle()  # the first screen has a Generate of its own; a press on it while it is taken away is lost
    generate(page)
    expect(page.locator(".st-key-compare_along .js-plotly-plot")).to_be_visible()
    assert visitor.text(-1) != visitor.text(0)


def test_a_slider_moved_in_the_middle_of_a_stream_restarts_it(visitor):
    page = compare(visitor, compare_tokens="200", compare_temperature="1.0")
    page.get_by_role("button", name="Generate").click()
    stream = page.locator(".st-key-stream_0")
    slider = page.get_by_role("slider", name="Alpha, in layer norms")
    slider.focus()
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    expect(page.get_by_text("+0.22", exact=True).first).to_be_visible()
    expect(page.locator(".st-key-tokens_0 .tv")).to_be_visible()
    expect(stream).to_be_visible()
    visitor.idle()
    assert "recipe=" in page.url and "run=1" in page.url


def test_a_copied_link_opens_to_the_same_screen_in_a_fresh_browser(visit):
    first, second = visit(), visit()
    page = compare(first, compare_seed="3", compare_temperature="0.9")
    generate(page)
    second.page.goto(page.url)
    expect(second.page.locator(".st-key-tokens_0 .tv")).to_be_visible()
    assert [second.text(card) for card in (-1, 0)] == [first.text(card) for card in (-1, 0)]
    expect(second.page.get_by_role("spinbutton", name="Seed")).to_have_value("3")


def test_a_run_is_saved_found_after_a_reload_and_replays_as_equal(visitor):
    page = compare(visitor)
    generate(page)
    visitor.idle()
    page.locator(".st-key-compare_save_box button").click()
    name = page.get_by_role("textbox", name="Name")
    name.fill("harbor")
    name.press("Enter")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Run saved in the Library")).to_be_visible()
    page = visitor.open("library", library_shelf="Runs")
    page.reload()
    grid = page.get_by_test_id("stDataFrame")
    expect(grid).to_be_visible()
    box = grid.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 17, box["y"] + 52)
    expect(page.get_by_role("heading", name="harbor")).to_be_visible()
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_text("Equal: every row came out the same")).to_be_visible()
    page.locator(".st-key-library_delete_runs button").click()
    page.get_by_role("button", name="Undo").click()
    expect(grid).to_be_visible()


HOSTILE = (
    "<img src=x onerror=alert(1)> </span><script>alert(2)</script> ![a](http://x.example/p.png) :red[x] \u202eabc $$x$$"
)


def test_a_hostile_prompt_stays_text(visitor):
    page = compare(visitor, prompt=HOSTILE)
    generate(page)
    page.locator(".st-key-tokens_-1 .fold").click()
    shown = visitor.text(-1)
    assert "onerror=alert(1)" in shown.replace(" ", "") and "⟨U+202E⟩" in shown
    assert page.evaluate("document.querySelectorAll('img[src=x], script[src*=example], img[src*=example]').length") == 0


def test_hostile_names_in_a_link_stay_text(visitor):
    recipe = encode((Variant(HOSTILE[:80], (TEXTS,)),))
    page = visitor.open(compare_prompt="Hello", recipe=recipe, run="1", compare_tokens="5")
    expect(page.locator(".st-key-tokens_0 .tv")).to_be_visible()
    assert "<img src=x" in page.locator(".st-key-card_steered_0").inner_text()


def test_two_browsers_steer_differently_at_the_same_time(visit):
    happy, sad = visit(), visit()
    recipes = [encode((Variant("v", (TEXTS.but(alpha=alpha),)),)) for alpha in (0.35, -0.35)]
    pages = []
    for visitor, recipe in zip((happy, sad), recipes, strict=True):
        pages.append(visitor.open(compare_prompt="Please continue: Ann went home.", recipe=recipe, compare_tokens="40"))
    for page in pages:
        page.get_by_role("button", name="Generate").click()
    for page in pages:
        expect(page.locator(".st-key-tokens_0 .tv")).to_be_visible()
    assert happy.text(-1) == sad.text(-1)
    together = happy.text(0), sad.text(0)
    alone = visit()
    for recipe, text in zip(recipes, together, strict=True):
        alone.open(compare_prompt="Please continue: Ann went home.", recipe=recipe, compare_tokens="40", run="1")
        expect(alone.page.locator(".st-key-tokens_0 .tv")).to_be_visible()
        assert alone.text(0) == text


def test_tokens_are_reached_by_keyboard_and_say_what_they_are(visitor):
    page = compare(visitor, run="1")
    first = page.locator('.st-key-tokens_0 .tok[tabindex="0"]')
    expect(first).to_be_visible()
    first.focus()
    page.keyboard.press("End")
    tip = page.locator(".st-key-tokens_0 .tip")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("log-probability")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator(".st-key-tokens_0 .tok.selected")).to_be_visible()


def test_tau_is_moved_by_keyboard(visitor):
    page = compare(visitor, run="1", compare_view="Threshold")
    handle = page.get_by_role("slider", name="tau")
    expect(handle).to_be_visible()
    before = handle.get_attribute("aria-valuenow")
    handle.focus()
    page.keyboard.press("PageUp")
    expect(handle).not_to_have_attribute("aria-valuenow", before or "")
    visitor.idle()


def test_chat_answers_on_both_sides(visitor):
    page = visitor.open("chat", chat_tokens="12")
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill("Hello! How are you?")
    box.press("Enter")
    expect(page.get_by_text("Steered: ").first).to_be_visible()
    expect(page.get_by_role("button", name="Regenerate")).to_be_enabled()
    box.fill("And now?")
    box.press("Enter")
    expect(page.locator('[class*="st-key-stream_chat_steered_1"]')).not_to_have_text("…")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_nothing_is_cut_off_at_any_width(visit: Callable[..., Visitor], width: int, scheme: str):
    visitor = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = compare(visitor, run="1")
    expect(page.locator(".st-key-tokens_0 .tv")).to_be_visible()
    visitor.idle()
    over = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth - window.innerWidth")
    assert over <= 0, f"the page is {over} px wider than the window"


def test_nothing_moves_while_text_streams(visitor):
    page = compare(visitor, compare_tokens="120", compare_temperature="1.0")
    place = "document.querySelector('.st-key-card_steered_0').getBoundingClientRect().bottom"
    top = page.evaluate(place)
    page.get_by_role("button", name="Generate").click()
    page.wait_for_function(
        "document.querySelector('.st-key-stream_0').innerText.length > 120 || "
        "document.querySelector('.st-key-tokens_0')",
        timeout=PATIENCE,
    )
    now = page.evaluate(place)
    assert abs(now - top) <= 1
    expect(page.locator(".st-key-tokens_0 .tv")).to_be_visible()
    visitor.idle()
    assert abs(page.evaluate(place) - top) <= 1


def test_a_card_shows_the_answer_and_its_prompt_on_demand(visitor):
    page = compare(visitor, prompt="Please continue: Finn went to the harbor.")
    generate(page)
    fold = page.locator(".st-key-tokens_0 .fold")
    expect(fold).to_contain_text("tokens, show")
    assert "harbor" not in visitor.text(0)[:60]
    fold.click()
    expect(page.locator(".st-key-tokens_0 .tv")).to_contain_text("went to the harbor")
    fold.click()
    scrolls = """[...document.querySelectorAll('[class*="st-key-stream_"], [class*="st-key-stream_"] *')]
        .filter((e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowY)).length"""
    assert page.evaluate(scrolls) == 0, "a card has no scroll bar of its own"
