"""axe-core on every page and in both themes: no serious fault, and every chart says in words what it shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from open_pages import PAGES
from playwright.sync_api import Page, expect
from served_app import Visitor

# States of pages that are no first sight: a result, a conversation, evidence.
STATES: dict[str, list[dict[str, str]]] = {
    "compare": [{}, {"run": "1", "compare_tokens": "8", "first": "0"}],
    "tokens": [{"tokens_layers": "What each layer would say next"}],
    "direction": [{"direction_asked": "1"}],
    "calibrate": [{"calibrate_asked": "1"}],
    "library": [{"library_shelf": "Runs"}],
    "models": [{}, {"models_view": "All SAEs"}],
}
# What Streamlit's own parts do, which a page cannot change: the rule, and a piece of the element's HTML.
NOT_OURS = (
    ("list", "stSidebarNavItems"),  # the menu's sections stand between the list and its entries
    ("listitem", '<li class="st-emotion-cache'),
)


def faults(page: Page) -> list[str]:
    """The serious faults that axe finds, a line each, without those that are not ours."""
    options = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}
    found = Axe().run(page, options=options)
    lines = []
    for fault in found.response["violations"]:
        for node in fault["nodes"] if fault["impact"] in ("serious", "critical") else []:
            html = node["html"]
            if not any(fault["id"] == rule and piece in html for rule, piece in NOT_OURS):
                lines.append(f"{fault['id']}: {fault['help']}: {node['target']} {html[:300]}")
    return lines


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_fault(visit: Callable[..., Visitor], scheme: str):
    visitor, problems = visit(color_scheme=scheme), []
    for path in PAGES:
        name = path.rpartition("/")[2].removesuffix(".py")
        for query in STATES.get(name, [{}]):
            page = visitor.open("" if name == "compare" else name, **query)
            if query.get("run"):
                expect(page.locator(".st-key-tokens_0 .tv")).to_be_visible()
                visitor.idle()
            problems += [f"{name} {query}: {line}" for line in faults(page)]
            silent = page.evaluate(
                "[...document.querySelectorAll('.js-plotly-plot')].filter((e) => !(e.closest('[aria-label]')"
                " || e.closest('[role=img]') || e.parentElement.querySelector('[aria-label]'))).length"
            )
            assert not silent, f"{name}: {silent} charts say nothing in words"
    assert not problems, "\n".join(problems)
