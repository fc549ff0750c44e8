"""The app served on a free port, and visitors who open it in a browser and notice what goes wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Page, expect

ROOT = Path(__file__).parents[2]
# Milliseconds. A loaded machine is slow, and a test that waits long enough is not flaky.
PATIENCE = int(os.environ.get("TILLER_TEST_PATIENCE", "60")) * 1000

expect.set_options(timeout=PATIENCE)


@dataclass
class Server:
    """A running app: where it is, and what it has logged."""

    url: str
    log: Path
    process: subprocess.Popen

    def rss(self) -> int:
        """The memory of the server's process, in bytes."""
        import psutil

        return psutil.Process(self.process.pid).memory_info().rss

    def check(self) -> None:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        assert "Traceback" not in text, text[-4000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Server]:
    """The app on a free port, with a data folder of its own, run once so that every page is known."""
    port, log = _free_port(), folder / "log.txt"
    environment = {
        **os.environ, "TILLER_HOME": str(folder / "home"), "NO_COLOR": "1", "HF_HUB_OFFLINE": "1", **environment
    }  # fmt: skip
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        ready = f"http://127.0.0.1:{port}/_stcore/script-health-check"
        for _ in range(600):
            try:
                urllib.request.urlopen(ready, timeout=120)
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
        yield Server(f"http://127.0.0.1:{port}", log, process)
    finally:
        process.terminate()
        process.wait(20)


@dataclass
class Visitor:
    """One browser window on the app, and what went wrong in it."""

    page: Page
    server: Server
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, path: str = "", **query: str) -> Page:
        """Go to a page of the app and waits until it is drawn."""
        self.page.goto(f"{self.server.url}/{path}" + (f"?{urlencode(query)}" if query else ""))
        expect(self.page.get_by_test_id("stHeading").first).to_be_visible()
        self.idle()
        return self.page

    def idle(self) -> None:
        """Wait until the server's script has ended and every part of the page is drawn."""
        expect(self.page.locator('[data-test-script-state="notRunning"]')).to_be_attached()
        expect(self.page.get_by_test_id("stSkeleton")).to_have_count(0)

    def text(self, card: int) -> str:
        """The text of a Compare card, also inside the token view; -1 is the baseline."""
        return self.page.locator(f".st-key-tokens_{card} .tv").inner_text()

    def check(self) -> None:
        assert not self.outside, f"requests left the machine: {self.outside}"
        assert not self.errors, self.errors
        expect(self.page.get_by_test_id("stException")).to_have_count(0)
        self.server.check()
