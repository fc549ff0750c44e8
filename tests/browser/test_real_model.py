"""The first screen on the real chat model, in a real browser: one press, and the steered answer is the true one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect
from served_app import PATIENCE, Server, Visitor, serving

from steering.checkpoints.bundled import bundled_models

needs_smollm2 = pytest.mark.skipif("smollm2" not in bundled_models(), reason="its package could not be installed")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app as it starts where the real model is installed."""
    with serving(tmp_path_factory.mktemp("real"), TILLER_MODEL="smollm2") as server:
        yield server


@needs_smollm2
def test_a_professor_is_believed_until_the_model_is_steered(browser: Browser, real: Server, tmp_path: Path):
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    visitor = Visitor(page, real)
    visitor.open()
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".player .film")).to_contain_text("turns here")
    visitor.idle()
    baseline, steered = (page.locator(f".player > .cards > .{side} .text") for side in ("baseline", "steered"))
    expect(steered).to_contain_text("Canberra, not Sydney")
    expect(baseline).to_contain_text("indeed Sydney")
    assert "Canberra" not in baseline.inner_text()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as a page").click()
    file = tmp_path / "strip.html"
    saved.value.save_as(file)
    visitor.check()
    it_plays_offline(context, file)
    context.close()


def it_plays_offline(context: BrowserContext, file: Path) -> None:
    """The saved page opens without a network, and its slider moves from the one answer to the other."""
    context.set_offline(True)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    slider, steered = page.get_by_role("slider"), page.locator(".player > .cards > .steered .text")
    expect(steered).to_contain_text("Canberra, not Sydney")
    slider.focus()
    slider.press("Home")
    expect(steered).to_contain_text("indeed Sydney")
    assert not errors and file.stat().st_size < 300_000
