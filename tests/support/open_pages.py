"""Open a page of the dashboard through app.py, without a browser, and check that no exception reached it."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "pages").rglob("*.py"))


def open_page(page: str, model: str = "", **query: str) -> AppTest:
    """The app at a page, after its first run."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    if model:
        at.query_params["model"] = model
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    if page != "pages/steer/compare.py":
        at.switch_page(page).run()
    return at


def fine(at: AppTest) -> AppTest:
    assert not at.exception, at.exception
    return at
