"""`make run` opens the visitor's browser once the app answers, and nowhere where nobody would see it."""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from steering.ui.shared import warmup

NAMES = ("TILLER_BROWSER", "CI", "SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY")


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield str(server.server_port)
        server.shutdown()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(warmup.sys, "platform", "linux")
    found: list[str] = []
    monkeypatch.setattr(webbrowser, "open", found.append)
    return found


def test_the_browser_opens_when_the_app_answers(port, opened, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    assert warmup.main(port) and opened == [f"http://localhost:{port}"]


def test_nothing_is_opened_without_a_screen(port, opened):
    assert warmup.main(port) and opened == []


def test_nothing_is_opened_when_the_app_does_not_answer(opened, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    assert not warmup.main("9", patience=0.1) and opened == []


def test_a_browser_that_cannot_start_is_no_error(port, opened, monkeypatch):
    def fail(_: str) -> None:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", fail)
    assert warmup.main(port)


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "darwin", True),
        ({}, "win32", True),
        ({}, "linux", False),
        ({"DISPLAY": ":0", "CI": "true"}, "linux", False),
        ({"DISPLAY": ":0", "TILLER_BROWSER": "0"}, "linux", False),
        ({"TILLER_BROWSER": "off"}, "darwin", False),
        ({"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, "darwin", False),
    ],
)
def test_where_a_browser_is_wanted(environment, platform, expected):
    assert warmup.has_screen(environment, platform) is expected
