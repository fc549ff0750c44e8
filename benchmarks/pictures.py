"""`python -m benchmarks.pictures`: the pictures in the README, of the Compare page with an example run, light and dark.

The app is served with a data folder of its own and photographed in Chromium. Needs requirements-dev.txt.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from tests.support.chromium import find
from tests.support.served_app import PATIENCE, Server, Visitor, serving

FOLDER = Path(__file__).parent.parent / "assets" / "pictures"
SIZE = {"width": 1360, "height": 860}
LARGEST = 300_000  # bytes of a picture


def photographed(browser: Browser, server: Server, scheme: Literal["light", "dark"]) -> bytes:
    """Compare after one click on Generate, as a PNG."""
    context = browser.new_context(viewport=SIZE, color_scheme=scheme, device_scale_factor=1.5)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    visitor = Visitor(page, server)
    visitor.open()
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".player .film .turned").first).to_be_visible()
    visitor.idle()
    page.mouse.move(0, 0)
    picture = page.screenshot(animations="disabled")
    context.close()
    return picture


def reduced(picture: bytes) -> bytes:
    """The picture with at most 256 colors, which is enough for a page of text and charts."""
    out = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        out, "PNG", optimize=True
    )
    return out.getvalue()


def main() -> None:
    """Write both pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find())
        for scheme in ("light", "dark"):
            picture = reduced(photographed(browser, server, scheme))
            if len(picture) > LARGEST:
                raise SystemExit(f"A picture has at most {LARGEST} bytes; the {scheme} one has {len(picture)}.")
            (FOLDER / f"compare-{scheme}.png").write_bytes(picture)
            print(f"compare-{scheme}.png: {len(picture) / 1000:.0f} KB")


if __name__ == "__main__":
    main()
