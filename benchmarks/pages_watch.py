"""A visitor in a real browser with a stopwatch: when something changes on the page, and how long nothing does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent
WAIT = 150_000  # milliseconds after which a line is given up
SIZE = {"width": 1440, "height": 1000}

WATCH = """() => {
  if (window.watch) return
  // Components of our own live in shadow trees, which neither innerText nor a selector looks into.
  const shadows = () => [...document.querySelectorAll("[data-testid=stMain] *")].filter((e) => e.shadowRoot)
  window.deep = (selector) => {
    const found = shadows().map((e) => e.shadowRoot.querySelector(selector)).find((e) => e)
    return document.querySelector(selector) || found
  }
  const seen = () => {
    const parts = ["stMain", "stSidebar"].map((id) => document.querySelector(`[data-testid=${id}]`)?.innerText || "")
    const bars = [...document.querySelectorAll("[role=progressbar]")].map((e) => e.getAttribute("aria-valuenow"))
    const inside = shadows().map((e) => [...e.shadowRoot.children].map((one) => one.textContent).join())
    return parts.join() + inside.join() + bars.join() + document.querySelectorAll(".js-plotly-plot, canvas").length
  }
  window.watch = {
    start() {
      const now = performance.now()
      Object.assign(this, {t0: now, last: now, longest: 0, first: null, text: seen()})
      clearInterval(this.timer)
      this.timer = setInterval(() => this.look(), 50)
    },
    look() {
      const text = seen(), now = performance.now()
      if (text === this.text) return
      this.text = text
      this.longest = Math.max(this.longest, now - this.last)
      this.last = now
      this.first ??= now - this.t0
    },
    stop() {
      clearInterval(this.timer)
      this.look()
      return {first: (this.first ?? 0) / 1000, silence: this.longest / 1000}
    },
  }
}"""
IDLE = "document.querySelector('[data-test-script-state]')?.dataset.testScriptState === 'notRunning'"
DRAWN = f"{IDLE} && !document.querySelector('[data-testid=stSkeleton], [data-testid=stSpinner]')"


def heading(title: str) -> str:
    """A condition in the page: its title is drawn."""
    return f"[...document.querySelectorAll('h1')].some((e) => e.innerText.trim() === '{title}')"


def there(selector: str) -> str:
    """A condition in the page: something is drawn and can be seen."""
    return f'!!document.querySelector("{selector}")?.offsetParent'


@dataclass
class Line:
    """A line of the table: what was done, what it took before (from ux notes), and what it takes now."""

    what: str
    before: str
    now: str = ""
    silence: float | None = None


@dataclass
class Clock:
    """A visitor whose presses are timed."""

    page: Page
    url: str
    lines: list[Line] = field(default_factory=list)

    def open(self, path: str = "", **query: str) -> None:
        """Go to a page and waits until it is drawn."""
        from urllib.parse import urlencode

        self.page.goto(f"{self.url}/{path}" + (f"?{urlencode(query)}" if query else ""))
        self.until(f"{there('h1')} && {DRAWN}")
        self.page.evaluate(WATCH)

    def until(self, condition: str) -> None:
        """Wait until a condition holds in the page."""
        self.page.wait_for_function(f"() => {condition}", timeout=WAIT, polling=50)

    def timed(self, act: Callable[[], object], *until: str) -> list[float]:
        """Seconds from a press to each of some conditions, and the longest silence until the last."""
        self.page.evaluate(WATCH)
        self.page.evaluate("watch.start()")
        act()
        found = []
        for condition in until:
            self.until(condition)
            found.append(self.page.evaluate("(performance.now() - watch.t0) / 1000"))
        return [*found, self.page.evaluate("watch.stop()")["silence"]]

    def menu(self, name: str) -> Callable[[], object]:
        """Press a link of the menu."""
        return lambda: self.page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()

    def press(self, name: str) -> Callable[[], object]:
        """Press a button."""
        return lambda: self.page.get_by_role("button", name=name).first.click()

    def choose(self, name: str) -> Callable[[], object]:
        """Press a choice among several."""
        role = self.page.get_by_role
        return lambda: role("radio", name=name, exact=True).or_(role("button", name=name, exact=True)).first.click()


class Table:
    """The lines, each measured by a function; one that fails says so and the others go on."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def add(self, what: str, before: str, measure: Callable[[], tuple[str, float | None]]) -> None:
        """Measure a line."""
        line = Line(what, before)
        began = time.monotonic()
        try:
            line.now, line.silence = measure()
        except Exception as error:  # a line that cannot be measured must not cost the others
            line.now = f"not measured: {str(error).strip().splitlines()[0][:90]}"
            traceback.print_exc(limit=3)
        self.lines.append(line)
        print(f"{what}: {line.now} ({line.silence}) [{time.monotonic() - began:.1f} s]", flush=True)


def s(*seconds: float) -> str:
    """Seconds for the table."""
    return " / ".join(f"{one:.2f}" if one < 1 else f"{one:.1f}" for one in seconds) + " s"


@contextmanager
def cold_server(folder: Path) -> Iterator[str]:
    """A server that nobody has visited yet, as `make run` starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ, "TILLER_HOME": str(folder / "home"), "TILLER_MODEL": "smollm2", "HF_HUB_OFFLINE": "1",
        "TILLER_BROWSER": "0",
    }  # fmt: skip
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5)
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def visitor(browser: Browser, url: str) -> Clock:
    """A new visitor."""
    page = browser.new_context(viewport=SIZE).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(20_000)
    return Clock(page, url)
