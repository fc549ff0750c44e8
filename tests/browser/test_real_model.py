"""The first screen on the real chat model, in a real browser: one press, and the steered answer is the true one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from served_app import PATIENCE, Server, Visitor, serving

from steering.checkpoints.bundled import bundled_models

needs_smollm2 = pytest.mark.skipif("smollm2" not in bundled_models(), reason="its package could not be installed")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app as it starts where the real model is installed."""
    with serving(tmp_path_factory.mktemp("real"), TILLER_MODEL="smollm2") as server:
        yield server


@needs_smollm2
def test_a_professor_is_believed_until_the_model_is_steered(browser: Browser, real: Server):
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    visitor = Visitor(page, real)
    visitor.open()
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".st-key-tokens_0 .tv")).to_contain_text("Canberra, not Sydney")
    visitor.idle()
    assert "indeed Sydney" in visitor.text(-1) and "Canberra" not in visitor.text(-1)
    visitor.check()
    context.close()
