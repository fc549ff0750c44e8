"""A real server and a real Chromium. Every test fails on an outside request, a page error, an exception on the page,
or a traceback in the server's log."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlparse

import pytest
from chromium import find
from playwright.sync_api import Browser
from served_app import PATIENCE, Server, Visitor, serving


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict:
    path = find()
    assert path, "no Chromium was found; `make test` installs one"
    return {"executable_path": path}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app of all journeys, offline."""
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Callable[..., Visitor]]:
    """visit() -> a new visitor with a browser of its own; checked at the end of the test."""
    visitors: list[Visitor] = []

    def make(**options: object) -> Visitor:
        options = {"viewport": {"width": 1440, "height": 1000}, **options}
        page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
        page.set_default_timeout(PATIENCE)
        visitor = Visitor(page, server)

        def watch(route) -> None:
            if urlparse(route.request.url).hostname in ("127.0.0.1", "localhost"):
                route.continue_()
            else:
                visitor.outside.append(route.request.url)
                route.abort()

        page.route(re.compile(r"^https?://"), watch)
        page.on("pageerror", lambda error: visitor.errors.append(str(error)))
        page.on("dialog", lambda dialog: (visitor.errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        visitors.append(visitor)
        return visitor

    yield make
    for visitor in visitors:
        visitor.check()
        visitor.page.context.close()


@pytest.fixture
def visitor(visit: Callable[..., Visitor]) -> Visitor:
    return visit()
