"""How long a person waits on the pages, in a real browser: every line of the table that the first newcomers made.

A server is started as `make run` starts it, with a data folder of its own, and visited in Chromium. In the page a watch
looks twenty times a second at what can be read: the first change after a press, the last one, and the longest time
between two of them, which is the longest silence. `python -m benchmarks.pages_bench --browser` runs it.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from steering.checkpoints.bundled import chat_model_file
from tests.support.chromium import find

from .pages_watch import DRAWN, IDLE, Clock, Line, Table, cold_server, heading, s, there, visitor

# The player of the first screen: an answer has begun; the strip says where it turns.
ANSWERS = "window.deep && deep('.player > .cards .text')?.textContent.trim().length > 2"
STRIP = "window.deep && !!deep('.player .film .turned') && !deep('.player.running')"
STREAMS = "document.querySelector('.st-key-stream_0')?.innerText.trim().length > 2"
TOKENS = there(".st-key-tokens_0 .tv") + " || " + there(".st-key-tokens_0")
EVIDENCE = there(".js-plotly-plot")
NAMES = ("Chat", "Tokens", "Features", "Direction", "Calibrate", "Evaluate", "Library", "Models", "Compare")


def first_screens(table: Table, browser: Browser, url: str) -> None:
    """A server's first visitor, and the next one."""
    for what, before in (
        ("first screen, cold server: title / drawn", "3.5 / 6.3 s"),
        ("first screen, warm server, new visitor: title / drawn", "0.5-2.7 / 1.0-3.1 s"),
    ):

        def measure() -> tuple[str, float | None]:
            one = visitor(browser, url)
            began = time.monotonic()
            one.page.goto(url)
            one.until(there("h1"))
            title = time.monotonic() - began
            one.until(DRAWN)
            drawn = time.monotonic() - began
            one.page.context.close()
            return s(title, drawn), None

        table.add(what, before, measure)


def generated(one: Clock) -> tuple[str, float | None]:
    """First token, all text colored, charts, and the end of the script after a press on Generate."""
    first, colored, plots, idle, silence = one.timed(one.press("Generate"), STREAMS, TOKENS, EVIDENCE, DRAWN)
    return s(first, colored, plots, idle), silence


def switches(table: Table, one: Clock, model: str, before: str, drawn_before: str) -> None:
    """From page to page by the menu: the title, then everything drawn for the first time."""
    titles: list[str] = []
    drawn: list[str] = []
    worst = 0.0

    def measure() -> tuple[str, float | None]:
        nonlocal worst
        for name in NAMES:
            title, all_of_it, silence = one.timed(one.menu(name), heading(name), f"{heading(name)} && {DRAWN}")
            titles.append(f"{name} {title:.2f}")
            drawn.append(f"{name} {all_of_it:.1f}")
            worst = max(worst, silence)
        return ", ".join(titles) + " s", worst

    table.add(f"{model}: page switch, title", before, measure)
    table.add(
        f"{model}: page switch, everything drawn, first time", drawn_before, lambda: (", ".join(drawn) + " s", worst)
    )


def organism(table: Table, browser: Browser, url: str) -> None:
    """The lines about the small bundled model."""
    one = visitor(browser, url)
    one.open(model="organism", first="0")
    table.add(
        "organism: Generate to first words / colored / with plots / script idle", "0.6 / 0.8 / 1.1-1.9 / 3.2 s",
        lambda: generated(one),
    )  # fmt: skip
    slider = one.page.get_by_role("slider").first

    def step() -> tuple[str, float | None]:
        slider.focus()
        old = one.page.evaluate("document.querySelector('[class*=st-key-card_steered_0]').innerText")
        changed = f"document.querySelector('[class*=st-key-card_steered_0]').innerText !== {old!r}"
        found = one.timed(lambda: slider.press("ArrowRight"), changed, f"{TOKENS} && {DRAWN}")
        return s(*found[:2]), found[-1]

    table.add("organism: slider step to new text / final view", "0.15-0.3 / 1.5-2 s", step)
    for view, before in (("Receipts", "0.5-0.8 s"), ("Similarity", "2.9 s")):
        table.add(
            f"organism: Compare, {view}", before,
            lambda view=view: split(one.timed(one.choose(view), DRAWN)),
        )  # fmt: skip
    switches(
        table, one, "organism", "0.2-0.4 s (Chat 0.6 s, back to Compare 0.9 s)",
        "Tokens 2.5, Features 0.9, Direction 3.3, Calibrate 8.8, Evaluate 1.0, Library 0.2, Models 5.3 s",
    )  # fmt: skip
    one.open("features", model="organism")

    def search() -> None:
        box = one.page.get_by_role("textbox", name="Search")
        box.fill("professor")
        box.press("Enter")

    shown = "location.search.includes('features_query=professor')"
    table.add("Features: search", "0.4 s", lambda: split(one.timed(search, f"{shown} && {DRAWN}")))
    table.add("Features: tab", "0.1-0.2 s", lambda: split(one.timed(one.choose("Near it"), DRAWN)))
    table.add(
        "Features: Steer with this to Compare with text", "1.4 s",
        lambda: split(one.timed(one.press("Steer with this"), f"{heading('Compare')} && ({TOKENS})")),
    )  # fmt: skip
    one.open("direction", model="organism", direction_asked="1", direction_view="Layer by effect")
    one.until(there("[class*=st-key-direction_effects]"))
    done = there(".st-key-direction_effect_chart")
    go = one.press("Measure the effect of every layer")
    table.add("organism: Layer by effect", "18 s", lambda: split(one.timed(go, done)))
    one.open("evaluate", model="organism")
    table.add("organism: bundled Evaluate run", "about 3.5 min", lambda: evaluated(one))
    one.page.context.close()


def split(found: list[float]) -> tuple[str, float]:
    """The seconds as text, and the silence."""
    return s(*found[:-1]), found[-1]


def evaluated(one: Clock) -> tuple[str, float | None]:
    """What the page says that a run takes once it has begun, and how fast it stops: the whole takes too long here."""
    running = there("[data-testid=stProgress]")
    began, silence = one.timed(one.press("Run the experiment"), running)
    one.page.wait_for_timeout(8000)
    said = one.page.evaluate(
        "[...document.querySelectorAll('[data-testid=stCaptionContainer]')].map((e) => e.innerText)"
        ".find((t) => /About .* left/.test(t)) || 'says no time yet'"
    )
    stopped, _ = one.timed(one.page.locator("[class*=st-key-stop_] button").first.click, f"!({running})")
    return f"progress after {s(began)}; after 8 s: “{said.split('.')[0]}”; stopped in {s(stopped)}", silence


def real_model(table: Table, browser: Browser, url: str) -> None:
    """The lines about a real chat model of 135 million parameters."""
    one = visitor(browser, url)
    file = chat_model_file()
    assert file is not None, "the real model's package is not installed"
    one.open("models", models_view="A folder", model="organism")

    def read() -> None:
        box = one.page.get_by_role("textbox", name="Folder of a model or an SAE")
        box.fill(str(file))
        box.press("Enter")

    ready = there("[class*=st-key-models_load] button") + " || " + there("[class*=st-key-models_use] button")

    def opened() -> tuple[str, float | None]:
        seen, first = one.timed(read, ready)
        used = f"document.body.innerText.includes('You are using') && {DRAWN}"
        loaded, second = one.timed(one.press("Load and use"), used)
        return s(seen, loaded), max(first, second)

    table.add("real model: read file / load, use it, drawn", "0.5 / 5-6.8 s", opened)
    one.page.context.close()

    one = visitor(browser, url)
    one.open()
    one.page.wait_for_timeout(3000)  # somebody reads the sentence first; meanwhile the layers are measured
    table.add(
        "real model: first screen: first words / seven strengths, and where the answer turns", "not there",
        lambda: split(one.timed(one.press("Generate"), ANSWERS, f"({STRIP}) && {IDLE}")),
    )  # fmt: skip
    one.open(first="0")
    table.add(
        "real model: Compare, first example: first words / colored / with plots / idle", "0.5-1.5 / 5.6-6.9 / 7.9 s",
        lambda: generated(one),
    )  # fmt: skip
    link = one.page.url
    other = visitor(browser, url)

    def by_link() -> tuple[str, float | None]:
        began = time.monotonic()
        other.page.goto(link)
        other.until(TOKENS)
        return s(time.monotonic() - began), None

    table.add("real model: link opened in a new browser to result", "7.4-11.1 s", by_link)
    other.page.context.close()
    switches(table, one, "real model", "not noted", "not noted")
    one.open("chat")

    def ask() -> None:
        box = one.page.get_by_test_id("stChatInputTextArea")
        box.fill("What is the capital of Australia?")
        box.press("Enter")

    words = "document.querySelector('[class*=st-key-stream_chat_plain_0]')?.innerText.trim().length > 2"
    table.add(
        "real model: Chat, one turn: first words / both sides", "< 0.9 / 5.4 s",
        lambda: split(one.timed(ask, words, f"{words} && {DRAWN}")),
    )  # fmt: skip
    one.open("direction")
    table.add(
        "real model: Direction, first view (126 pairs)", "51.7 s, spinner only",
        lambda: split(one.timed(one.press("Read the pairs"), there("[data-testid=stMetricValue]"))),
    )  # fmt: skip

    def next_layer() -> tuple[str, float | None]:
        slider = one.page.get_by_role("slider", name="Layer")
        slider.focus()
        return split(one.timed(lambda: slider.press("ArrowLeft"), DRAWN))

    table.add("real model: Direction, next layer", "0.6 s", next_layer)
    seen = f"{DRAWN} && {EVIDENCE} && !({there('[data-testid=stProgress]')})"
    for view, before in (
        ("Separation", "36 s, no sign"), ("What it says", "1.2 s"), ("Methods and layers", "4.4 s"),
    ):  # fmt: skip
        table.add(f"real model: {view}", before, lambda view=view: split(one.timed(one.choose(view), seen)))
    one.choose("Layer by effect")()
    one.until(DRAWN)
    table.add(
        "real model: Layer by effect", "~5% after 3 min, no estimate; Cancel unchanged after 55 s", lambda: effect(one)
    )
    table.add(
        "real model: Steer with this at a new layer, to first words / result", "38.9, 52.3 s silent",
        lambda: split(one.timed(one.press("Steer with this"), f"{heading('Compare')} && {STREAMS}", TOKENS)),
    )  # fmt: skip
    table.add("real model: the same with a job running", "~135 s", lambda: beside_a_job(one))
    tokens(table, one)
    one.open("calibrate")
    ask_calibrate = one.press("Read the direction and the texts")
    table.add(
        "real model: Calibrate to script idle", "> 101 s",
        lambda: split(one.timed(ask_calibrate, f"{there('[class*=st-key-calibrate_send]')} && {DRAWN}")),
    )  # fmt: skip
    one.open("evaluate")
    table.add(
        "real model: Evaluate, press to progress, and Stop until stopped",
        "8.8 s; 65 s to 2.5 min",
        lambda: evaluated(one),
    )
    one.page.context.close()


def effect(one: Clock) -> tuple[str, float | None]:
    """What is said before Layer by effect starts, what after ten seconds, and how fast it is cancelled."""
    before = one.page.evaluate(
        "[...document.querySelectorAll('[data-testid=stCaptionContainer]')].map((e) => e.innerText)"
        ".find((t) => /answers to score|about/i.test(t)) || 'nothing'"
    )
    running = there("[data-testid=stMain] [data-testid=stProgress]")
    began, silence = one.timed(one.press("Measure the effect of every layer"), running)
    one.page.wait_for_timeout(6000)
    stopped, _ = one.timed(
        one.page.locator("[data-testid=stMain] [class*=st-key-stop_] button").first.click, f"!({running})"
    )
    return f"says first: “{before[:90]}”; progress after {s(began)}; stopped in {s(stopped)}", silence


def beside_a_job(one: Clock) -> tuple[str, float | None]:
    """Steering at a new layer while a measurement has the engine."""
    one.open("direction", direction_asked="1", direction_view="Layer by effect", direction_layer="11")
    one.until(there("[class*=st-key-direction_effects] button"))
    one.press("Measure the effect of every layer")()
    one.until(there("[data-testid=stMain] [data-testid=stProgress]"))
    found = one.timed(one.press("Steer with this"), f"{heading('Compare')} && {STREAMS}", TOKENS)
    cancel = one.page.get_by_test_id("stSidebar").locator("[class*=st-key-frame_cancel_] button").first
    cancel.click()
    one.until(f"!({there('[data-testid=stSidebar] [class*=st-key-frame_cancel_]')})")
    return split(found)


def tokens(table: Table, one: Clock) -> None:
    """The Tokens page: a direction read, another one, the first again, and the logit lens."""
    one.open("tokens")
    grid = there(".st-key-tokens_grid")
    go = one.page.get_by_role("button", name="Read the direction")

    def first() -> tuple[str, float | None]:
        if go.count():
            return split(one.timed(go.click, grid))
        return "at once, read before", None

    table.add("real model: Tokens, first direction", "> 61 s silent", first)

    def pick(name: str) -> Callable[[], None]:
        def act() -> None:
            one.page.locator(".st-key-tokens_direction").get_by_role("combobox").click()
            one.page.get_by_role("option", name=name, exact=True).first.click()

        return act

    busy = there("[data-testid=stMain] [data-testid=stProgress]")
    done = f"{grid} && {DRAWN} && !({busy})"
    table.add(
        "real model: Tokens, another direction",
        "15 s silent",
        lambda: split(one.timed(pick("refusal"), "true", f"location.search.includes('refusal') && {done}")[1:]),
    )
    table.add(
        "real model: Tokens, the first again",
        "1.6 s",
        lambda: split(one.timed(pick("sycophancy"), f"!location.search.includes('refusal') && {done}")),
    )
    lens = f"{there('.st-key-tokens_lens')} && {DRAWN}"
    table.add(
        "real model: Tokens, what each layer would say next",
        "4.1 s",
        lambda: split(one.timed(one.choose("What each layer would say next"), lens)),
    )


def measured(folder: Path) -> list[Line]:
    """Every line, measured now."""
    table = Table()
    with cold_server(folder) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find())
        for part in (first_screens, real_model, organism):
            try:
                part(table, browser, url)
            except Exception as error:  # the other parts are measured all the same
                traceback.print_exc(limit=3)
                table.lines.append(
                    Line(part.__name__.replace("_", " "), "", f"not measured: {str(error).splitlines()[0][:90]}")
                )
        browser.close()
    return table.lines


def section(lines: list[Line], before: float) -> str:
    """The section as Markdown."""
    from .machine import load, processor

    head = [
        "# What a person waits for",
        "",
        f"`python -m benchmarks.pages_bench --browser` on {time.strftime('%Y-%m-%d')}: {processor()}, {os.cpu_count()} "
        f"cores; load {before:.1f} when it began, {load()} when it ended. A server with smollm2, visited in Chromium. "
        "Before: what newcomers noted on a loaded machine, so read those as upper bounds. Silence: the longest time "
        "without any change of what can be read, from the press to the end of the line.",
        "",
        "| what | before | now | longest silence |",
        "| --- | --- | --- | --- |",
    ]
    rows = [
        f"| {line.what} | {line.before} | {line.now.replace('|', '/')} | "
        f"{'' if line.silence is None else f'{line.silence:.1f} s'} |"
        for line in lines
    ]
    return "\n".join([*head, *rows, ""])
