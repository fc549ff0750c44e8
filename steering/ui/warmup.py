"""Runs the app once when the server has started: `python -m steering.ui.warmup PORT`, in the background.

The first visitor then does not wait for the imports, and Streamlit knows every page: without a first run, a link to
any page but the first opens with "page not found".
"""

from __future__ import annotations

import contextlib
import sys
import time
import urllib.request


def main(port: str, patience: float = 120.0) -> bool:
    """Whether the app answered within `patience` seconds."""
    end = time.monotonic() + patience
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server is this machine
    while time.monotonic() < end:
        with (
            contextlib.suppress(OSError),
            opener.open(f"http://127.0.0.1:{port}/_stcore/script-health-check", timeout=60) as answer,
        ):
            return answer.status == 200
        time.sleep(0.3)
    return False


if __name__ == "__main__":
    main(sys.argv[1])
