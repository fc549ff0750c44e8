"""The Library page shows what the data folder holds when asked, and cleans what can be made again."""

from __future__ import annotations

import os
import time

import pytest
from open_pages import fine, open_page

from steering.checkpoints.confined import confine
from steering.jobs.files import home
from steering.ui.library import space as page

pytestmark = pytest.mark.usefixtures("clean_caches")


def test_the_library_cleans_what_can_be_made_again() -> None:
    old = home() / "measure" / "old.jsonl"
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_bytes(b"x" * 1000)
    os.utime(old, (time.time() - 9999,) * 2)
    at = fine(open_page("pages/library/library.py"))
    at.session_state["library_space"] = True
    fine(at.run())
    fine(at.button(key="library_clean").click().run())
    assert not old.exists() and any("freed" in one.value for one in at.success)


def test_a_path_in_a_link_is_refused_on_a_shared_server(folder: str) -> None:
    confine([])
    try:
        at = fine(open_page("pages/steer/compare.py", folder))
        assert any("not in a folder" in one.value for one in at.error)
    finally:
        confine(None)


def test_a_visitor_of_a_shared_server_cannot_clean() -> None:
    confine([])
    try:
        at = fine(open_page("pages/library/library.py", "organism"))
        at.session_state["library_space"] = True
        assert "library_clean" not in [one.key for one in fine(at.run()).button]
    finally:
        confine(None)
    assert page.FREED not in at.session_state
