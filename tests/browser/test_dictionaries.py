"""Train small dictionaries in a real browser, stop one, watch two, compare them feature by feature, and browse one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

TEXT = "\n\n".join(
    f"The cat sat on the mat and looked at the moon, {n} times; the dog was not happy." for n in range(40)
)


def stopped_and_deleted(visitor, page) -> None:
    """A training that would take long is stopped while its curves grow, offered to go on, and deleted."""
    samples = page.get_by_role("slider", name="Samples")
    samples.press("End")
    visitor.idle()
    expect(page.get_by_text(re.compile("About .* on this machine"))).to_be_visible()
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.locator(".st-key-dictionaries_curves .js-plotly-plot")).to_be_visible()
    page.locator("[class*='st-key-dictionaries_stop_'] button").click()
    expect(page.get_by_text("is not finished.")).to_be_visible()
    expect(page.get_by_role("button", name="Go on")).to_be_enabled()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Nothing was trained on this model yet.")).to_be_visible()
    samples.press("Home")
    visitor.idle()
    expect(page.get_by_text(re.compile("About .* on this machine"))).to_be_visible()


def test_train_watch_compare_and_browse(visitor, checkpoint: Callable[[str], Path]):
    page = visitor.open("dictionaries", model=str(checkpoint("llama")))
    page.get_by_role("radio", name="Paste").click()
    box = page.get_by_role("textbox", name="Texts, blank lines between")
    box.fill(TEXT)
    box.press("Control+Enter")
    visitor.idle()
    page.get_by_text("More", exact=True).first.click()
    seeds = page.get_by_role("spinbutton", name="Seeds")
    seeds.fill("2")
    seeds.press("Enter")
    visitor.idle()
    expect(page.get_by_text(re.compile("About .* on this machine"))).to_be_visible()
    stopped_and_deleted(visitor, page)
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("button", name=re.compile("^Browse"))).to_have_count(2)
    expect(page.locator(".st-key-dictionaries_curves .js-plotly-plot")).to_be_visible()
    visitor.idle()
    page.get_by_role("radio", name="Compare").click()
    expect(page.get_by_text(re.compile("matched features are the same"))).to_be_visible()
    expect(page.locator("[class*='st-key-dictionaries_left_'] .tok").first).to_be_visible()
    visitor.idle()
    page.get_by_role("radio", name="Train", exact=True).click()
    page.get_by_role("button", name=re.compile("^Browse")).first.click()
    expect(page.locator("[class*='st-key-feature_card_']").first).to_be_visible()
