"""A model comes from a hub (on loopback) into the dashboard, in a real browser: found, downloaded, watched, used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_hub import Hub
from playwright.sync_api import expect
from served_app import Server, serving

ID = "someone/tiny-gpt2"


@pytest.fixture(scope="module")
def hub(checkpoint: Callable[[str], Path]) -> Iterator[Hub]:
    """A hub with one model, slow enough to be watched."""
    with Hub(slow=0.12) as hub:
        hub.add(ID, checkpoint("gpt2"))
        yield hub


@pytest.fixture(scope="module")
def server(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An app that is online and knows only that hub, with a cache of its own."""
    folder = tmp_path_factory.mktemp("online")
    online = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "HF_TOKEN": ""}
    with serving(folder, HF_ENDPOINT=hub.url, HF_HOME=str(folder / "hub"), **online) as server:
        yield server


def test_a_model_is_found_downloaded_watched_and_used(visitor, hub: Hub):
    page = visitor.open("models")
    assert not hub.requests, "a page that is opened asks the hub nothing"
    other = page.get_by_role("textbox", name="Any other model of the hub")
    other.fill(ID)
    other.press("Enter")
    expect(page).to_have_url(re.compile("models_picked="))
    card = page.locator(".st-key-card_model")
    expect(card).to_contain_text("not on this machine yet")
    card.get_by_role("button", name="Download and use").click()
    expect(card.get_by_test_id("stProgress")).to_contain_text(re.compile(r"Downloading: [\d.]+ MB of [\d.]+ MB"))
    page.get_by_role("link", name="Library", exact=True).click()  # it goes on while another page is open
    sidebar = page.get_by_test_id("stSidebar")
    expect(page.get_by_role("heading", name="Library")).to_be_visible()
    expect(sidebar.locator(".st-key-loading_card_0")).to_be_visible()
    expect(sidebar.get_by_role("button", name="Use it")).to_be_visible()
    page.get_by_role("link", name="Models", exact=True).click()
    expect(page.get_by_text("You are using this model")).to_be_visible()
    expect(sidebar.locator(".st-key-model_card")).to_contain_text("tiny-gpt2")
    expect(page).to_have_url(re.compile(r"[?&]model=someone%2Ftiny-gpt2|[?&]model=someone/tiny-gpt2"))
    visitor.idle()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_nothing_is_wider_than_the_screen(visit, width: int, scheme: str):
    visitor = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    main = "document.querySelector('[data-testid=stMain]')"
    for view in ("Models", "All SAEs", "A folder"):
        page = visitor.open("models", models_view=view, models_picked="google/gemma-2-2b")
        assert page.evaluate(f"{main}.scrollWidth - {main}.clientWidth") <= 0
