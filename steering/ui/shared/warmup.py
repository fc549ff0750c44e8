"""Run the app once when the server has started, then open a browser: `warmup.py PORT`, in the background.

The first visitor then does not wait for the imports, and Streamlit knows every page: without a first run, a link to
any page but the first opens with "page not found". TILLER_BROWSER=0 opens no browser.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Mapping


def main(port: str, patience: float = 120.0) -> bool:
    """Open the app in a browser, if this machine has a screen; return whether it answered within `patience` seconds."""
    end = time.monotonic() + patience
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server is this machine
    while time.monotonic() < end:
        with (
            contextlib.suppress(OSError),
            opener.open(f"http://127.0.0.1:{port}/_stcore/script-health-check", timeout=60) as answer,
        ):
            if answer.status == 200 and has_screen(os.environ, sys.platform):
                show(f"http://localhost:{port}")
            return answer.status == 200
        time.sleep(0.3)
    return False


def has_screen(environment: Mapping[str, str], platform: str) -> bool:
    """Whether to open a browser on this machine: not in CI, over SSH, or on a server without a screen."""
    if environment.get("TILLER_BROWSER", "1").strip().lower() in ("0", "no", "off", "false"):
        return False
    if any(environment.get(name) for name in ("CI", "SSH_CONNECTION")):
        return False
    # Without a display Python would fall back to a browser in the terminal, over the server's log.
    return platform in ("darwin", "win32") or any(environment.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY"))


def show(url: str) -> None:
    """Open the address in the visitor's browser; a failure is ignored, because the server's log shows the address."""
    with contextlib.suppress(OSError, webbrowser.Error):
        webbrowser.open(url)


if __name__ == "__main__":
    main(sys.argv[1])
