"""`python -m benchmarks.pages_bench`: how long the server's script runs when a visitor touches something on a page.

Each page is opened on the bundled model with its example run, through `app.py`, in this process (AppTest). What is
timed is Streamlit's own run of the script, the way the server does it (same options, imports frozen out of the garbage
collector's sight), without building AppTest's copy of the page and without the browser. Nothing is generated in the
timed reruns: results are remembered. With `--browser`, what a person waits for is measured instead (`pages_times.py`).
Both write their section of PAGES.md and leave the other one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parent.parent
AIM = 100.0  # milliseconds


@dataclass(frozen=True)
class Screen:
    """A page in one state: where it is, its address, and what is clicked before the reruns are timed."""

    name: str
    page: str
    query: tuple[tuple[str, str], ...] = ()
    act: Callable[[AppTest], AppTest] | None = None


@dataclass(frozen=True)
class Row:
    """What the reruns of a screen took, in milliseconds."""

    name: str
    wall: float
    slowest: float
    cpu: float


def _ask(at: AppTest) -> AppTest:
    return at.chat_input[0].set_value("Is it true that 7 plus 5 is 13?").run()


def _views(page: str, key: str, views: tuple[str, ...], **query: str) -> list[Screen]:
    file = f"pages/{page}.py"
    name = page.rpartition("/")[2].capitalize()
    return [Screen(f"{name}: {view}", file, (*query.items(), (key, view))) for view in views]


def screens() -> list[Screen]:
    """Every page, and of a page with several views each one."""
    from steering.ui.building import direction_panels
    from steering.ui.explore import feature_cards
    from steering.ui.steer import compared

    layers = ("Along a direction", "What each layer would say next")
    return [
        Screen("Compare, the first screen", "pages/steer/compare.py"),
        Screen("Compare, before the first run", "pages/steer/compare.py", (("first", "0"),)),
        *_views("steer/compare", "compare_view", compared.VIEWS, run="1"),
        Screen("Chat, one turn", "pages/steer/chat.py", (), _ask),
        *_views("explore/tokens", "tokens_layers", layers, tokens_asked="1"),
        *_views("explore/features", "features_view", feature_cards.VIEWS),
        *_views("build/direction", "direction_view", direction_panels.VIEWS, direction_asked="1"),
        Screen("Calibrate", "pages/measure/calibrate.py", (("calibrate_asked", "1"),)),
        Screen("Evaluate", "pages/measure/evaluate.py"),
        Screen("Evaluate: Your own", "pages/measure/evaluate.py", (("evaluate_kind", "Your own"),)),
        Screen("Library", "pages/library/library.py"),
        Screen("Library: Runs", "pages/library/library.py", (("library_shelf", "Runs"),)),
        Screen("Library: Measurements", "pages/library/library.py", (("library_shelf", "Measurements"),)),
        Screen("Models", "pages/library/models.py"),
        Screen("Models: All SAEs", "pages/library/models.py", (("models_view", "All SAEs"),)),
    ]


@contextmanager
def clocked():
    """A list that takes the wall and CPU seconds of every run of the script while the block lasts."""
    from streamlit.runtime.scriptrunner.script_runner import ScriptRunner

    plain, found = ScriptRunner._run_script, []

    def timed(self, *args, **keywords):
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return plain(self, *args, **keywords)
        finally:
            found.append((time.perf_counter() - wall, time.thread_time() - cpu))

    ScriptRunner._run_script = timed
    try:
        yield found
    finally:
        ScriptRunner._run_script = plain


def opened(screen: Screen) -> AppTest:
    """The page as a visitor has it in front of them, after its computations."""
    from streamlit.testing.v1 import AppTest

    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    for name, value in screen.query:
        at.query_params[name] = value
    at.run()
    if screen.page != "pages/steer/compare.py":
        at.switch_page(screen.page)
        for name, value in screen.query:  # a page switch empties the address
            at.query_params[name] = value
        at.run()
    if screen.act is not None:
        screen.act(at)
    assert not at.exception, (screen.name, at.exception)
    return at


def measured(screen: Screen, repeats: int) -> Row:
    """Milliseconds of the reruns of a screen, after three to warm it up."""
    at = opened(screen)
    with clocked() as found:
        for _ in range(3 + repeats):
            at.run()
    assert not at.exception and len(found) == 3 + repeats, (screen.name, at.exception, len(found))
    wall, cpu = ([1000 * seconds for seconds in times] for times in zip(*found[3:], strict=True))
    return Row(screen.name, statistics.median(wall), max(wall), statistics.median(cpu))


def report(rows: list[Row], options: argparse.Namespace, before: float) -> str:
    """The section as Markdown."""
    from .machine import load, processor

    slow = [row.name for row in rows if row.wall > AIM]
    said = f"Over {AIM:.0f} ms: {', '.join(slow)}." if slow else f"Every screen is under {AIM:.0f} ms."
    command = f"python -m benchmarks.pages_bench --repeats {options.repeats}"
    lines = [
        "# Reruns of the pages",
        "",
        f"`{command}` on {time.strftime('%Y-%m-%d')}: {processor()}, {os.cpu_count()} cores; load {before:.1f} when "
        f"it began, {load()} when it ended (the benchmark alone makes about 1). The bundled model. Time of the script "
        "on the server when a visitor touches something and nothing new is generated or measured; each row is one "
        f"screen, {options.repeats} reruns after three to warm it up. CPU time is the number to compare on a machine "
        "that is busy with other work.",
        "",
        f"{said} The aim is a median under {AIM:.0f} ms. The most CPU time that any screen takes is "
        f"{max(row.cpu for row in rows):.0f} ms.",
        "",
        "| screen | median, ms | slowest, ms | CPU, median ms |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {row.name} | {row.wall:.0f} | {row.slowest:.0f} | {row.cpu:.0f} |" for row in rows]
    return "\n".join([*lines, ""])


def write(file: Path, section: str) -> None:
    """Puts a section into a file of sections, in place of the one with the same heading."""
    title = section.partition("\n")[0]
    old = file.read_text(encoding="utf-8") if file.is_file() else ""
    parts = [f"# {part}".strip() for part in old.removeprefix("# ").split("\n# ") if part.strip()]
    kept = [section.strip() if part.startswith(title) else part for part in parts]
    if section.strip() not in kept:
        kept.append(section.strip())
    file.write_text("\n\n".join(kept) + "\n", encoding="utf-8")


def main() -> None:
    """Measures every screen and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages_bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--browser", action="store_true", help="what a person waits for, in Chromium, on smollm2")
    parser.add_argument("--only", default="", help="screens whose name holds this; nothing is written then")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "PAGES.md")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    os.chdir(ROOT)  # Streamlit's options are read from here
    if options.browser:
        from .pages_times import measured as waited
        from .pages_times import section

        with tempfile.TemporaryDirectory(prefix="pages-bench-") as home:
            write(options.out, section(waited(Path(home)), before))
        return
    with tempfile.TemporaryDirectory(prefix="pages-bench-") as home:
        os.environ["TILLER_HOME"] = home
        os.environ["TILLER_MODEL"] = "organism"  # its figures are about the small model
        rows = []
        for screen in screens():
            if options.only.lower() in screen.name.lower():
                rows.append(measured(screen, options.repeats))
                print(f"{screen.name}: {rows[-1].wall:.0f} ms, CPU {rows[-1].cpu:.0f} ms", flush=True)
    if not options.only:
        write(options.out, report(rows, options, before))


if __name__ == "__main__":
    main()
