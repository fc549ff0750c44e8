"""Thirty visitors at once, as raw WebSocket clients: nothing is mixed up, and memory stays where it was."""

from __future__ import annotations

import json
import threading
import time
from urllib.parse import urlencode

from raw_client import connected, receive, rerun

from steering.recipes.links import encode
from steering.recipes.steps import Step, Variant

VISITORS = 30
NAMES = ("Ann", "Bob", "Dora", "Ema", "Finn", "Gus", "Hana", "Ivan", "Kim", "Leo")


def query(number: int) -> str:
    """A visitor's own link: prompt, seed and strength are nobody else's."""
    step = Step("add", direction="texts", positive="A happy day.", negative="A sad day.", alpha=(number - 15) / 50)
    return urlencode(
        {
            "model": "organism",
            "compare_prompt": f"{NAMES[number % 10]} has {number + 20} apples and says",
            "compare_seed": str(number),
            "compare_temperature": "1.0",
            "compare_tokens": "24",
            "compare_controls": "0",
            "recipe": encode((Variant(f"visitor {number}", (step,)),)),
            "run": "1",
        }
    )


def visit(url: str, number: int) -> list[str]:
    """The texts of the two cards that a visitor gets, from the data of the token views."""
    texts: dict[str, str] = {}
    renewing = None  # a part that renews itself, as the bar of a job does
    with connected(url) as socket:
        rerun(socket, query(number))
        while True:
            answer = receive(socket)
            kind = answer.WhichOneof("type")
            if kind == "delta" and answer.delta.new_element.WhichOneof("type") == "bidi_component":
                component = answer.delta.new_element.bidi_component
                if component.component_name.endswith("tiller_tokens"):
                    data = json.loads(component.json)
                    texts[data["label"]] = "".join(token["t"] for token in data["tokens"])
            if kind == "delta":
                assert answer.delta.new_element.WhichOneof("type") != "exception"
            if kind == "auto_rerun":
                renewing = answer.auto_rerun
            if kind == "script_finished":
                if texts:
                    return [texts[label] for label in sorted(texts)]
                if renewing is not None:
                    time.sleep(renewing.interval)  # what a browser does too
                    rerun(socket, query(number), fragment=renewing.fragment_id)


def all_at_once(url: str) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}

    def one(number: int) -> None:
        found[number] = visit(url, number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(VISITORS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_thirty_visitors_stream_at_once_and_each_gets_exactly_its_own(server):
    together = all_at_once(server.url)
    assert sorted(together) == list(range(VISITORS))
    for number, texts in together.items():
        assert len(texts) == 2 and all(f"has {number + 20} apples" in text for text in texts), (number, texts)
    for number in (0, 7, 29):
        assert visit(server.url, number) == together[number]
    before = server.rss()
    assert all_at_once(server.url) == together
    grown = (server.rss() - before) / 2**20
    assert grown < 150, f"a second round of {VISITORS} visitors took {grown:.0f} MB more"
    server.check()
