"""`python -m benchmarks.first_word`: seconds from starting the server, as `make run` does, to the first steered words.

The server starts with an empty data folder and the real chat model; a browser, open already, loads the page as soon as
it is served, presses Generate, and waits for "Canberra" in the steered card.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATIENCE = 180.0  # seconds
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass(frozen=True)
class FirstWord:
    """Seconds from the start to the button, and to the words; and the server's memory then, in bytes."""

    button: float
    words: float
    memory: int


def first_word() -> FirstWord:
    """Starts a server, presses Generate in a browser, and waits for the steered answer."""
    import psutil
    from playwright.sync_api import expect, sync_playwright

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    with tempfile.TemporaryDirectory(prefix="first-word-") as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(1000 * PATIENCE)
        environment = {
            **os.environ, "TILLER_HOME": home, "TILLER_MODEL": "smollm2", "TILLER_BROWSER": "0", "OMP_WAIT_POLICY":
            "PASSIVE", "GOMP_SPINCOUNT": "2000", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        environment.pop("OMP_NUM_THREADS", None)
        options = {"cwd": ROOT, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        start = time.perf_counter()
        warmup = subprocess.Popen([sys.executable, "steering/ui/shared/warmup.py", port], **options)
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", port, "--server.headless", "true"],
            **options,
        )
        try:
            _served(int(port), server)
            page.goto(f"http://127.0.0.1:{port}")
            button = page.get_by_role("button", name="Generate")
            button.click()
            pressed = time.perf_counter() - start
            expect(page.locator(".player > .cards > .steered .text")).to_contain_text(
                "Canberra", timeout=1000 * PATIENCE
            )
            words = time.perf_counter() - start
            memory = psutil.Process(server.pid).memory_info().rss
            browser.close()
        finally:
            for process in (server, warmup):
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
    return FirstWord(pressed, words, memory)


def _served(port: int, server: subprocess.Popen) -> None:
    """Waits until something answers at a port."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"The server ended with {server.returncode} before it served anything.")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"Nothing answered at port {port} within {PATIENCE:.0f} s.")


if __name__ == "__main__":
    found = first_word()
    print(
        f"Server started to the first steered words on screen: {found.words:.1f} s (Generate was pressed at "
        f"{found.button:.1f} s); the server holds {found.memory / 2**30:.2f} GB then."
    )
