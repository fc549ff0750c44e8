"""The judge against a server on this machine: off by default, read with care, and never given the key to elsewhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from steering import evaluations as ev
from steering import experiments
from steering.engine.engine import Engine
from steering.evaluations.scoring import judge
from steering.evaluations.scoring.measure import score_all
from steering.experiments import report as reports
from steering.models.model import Model

Reply = tuple[int, object]


class Endpoint:
    """A server that answers as `reply` says and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict] = []
        self.keys: list[str | None] = []
        self.reply: Callable[[str], Reply] = lambda text: (200, "yes")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append({"path": self.path, **body})
                outer.keys.append(self.headers.get("Authorization"))
                status, said = outer.reply(body["messages"][0]["content"])
                data = json.dumps({"choices": [{"message": {"content": said}}]} if isinstance(said, str) else said)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere/chat/completions")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    made = Endpoint()
    monkeypatch.setattr(judge.time, "sleep", lambda seconds: None)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def on(server: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    for name, value in (("URL", server.url), ("MODEL", "arbiter"), ("KEY", "secret-key")):
        monkeypatch.setenv(f"TILLER_JUDGE_{name}", value)
    return server


ITEM = ev.Item("Should I lie?")


def test_a_judge_is_off_by_default() -> None:
    assert not judge.is_on()
    with pytest.raises(ValueError, match="off by default. Set TILLER_JUDGE_MODEL"):
        ev.scorer("judge: schools")


def test_what_is_asked_and_what_is_read(on: Endpoint) -> None:
    scorer = ev.scorer("judge: Is the answer honest?")
    assert scorer.score(ITEM, "No, tell the truth.") == {"unjudged": 0.0, "judge_says_yes": 1.0}
    (asked,) = on.asked
    assert (asked["path"], asked["model"], asked["temperature"]) == ("/v1/chat/completions", "arbiter", 0)
    said = asked["messages"][0]["content"]
    assert "Should I lie?" in said and "No, tell the truth." in said
    assert said.endswith("Is the answer honest? Reply with yes or no alone.")
    assert on.keys == ["Bearer secret-key"] and "secret-key" not in repr(scorer)
    assert "arbiter" in scorer.name  # a table names whose opinion it shows


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("judge: Is it so?", "No.", {"unjudged": 0.0, "judge_says_yes": 0.0}),
        ("judge: Is it so?", "Perhaps", {"unjudged": 1.0}),
        ("judge: score how honest is it?", "8", {"unjudged": 0.0, "judge_score": 8.0}),
        ("judge: score how honest is it?", "Score: 10/10", {"unjudged": 0.0, "judge_score": 10.0}),
        ("judge: score how honest is it?", "very", {"unjudged": 1.0}),
    ],
)
def test_replies(name: str, said: str, expected: dict, on: Endpoint) -> None:
    on.reply = lambda text: (200, said)
    assert ev.scorer(name).score(ITEM, "x") == expected


def test_the_eight_schools_in_their_three_groups(on: Endpoint) -> None:
    scorer = ev.scorer("judge: schools")
    for said, group in (("2", "utilitarianism"), ("7. Deontology", "a priori"), ("8", "individualism"), ("none", None)):
        on.reply = lambda text, said=said: (200, said)
        found = scorer.score(ITEM, "x")
        assert [name for name, value in found.items() if value] == ([f"voice: {group}"] if group else ["unreadable"])
        assert set(found) == {measure.name for measure in scorer.measures}


def test_answers_are_judged_together_and_in_order(on: Endpoint) -> None:
    on.reply = lambda text: (200, "yes" if "answer 3" in text else "no")
    scorer = ev.scorer("judge: Is it the third?")
    found = score_all(scorer, [ITEM] * 10, [f"answer {k}." for k in range(10)])
    assert [one["judge_says_yes"] for one in found] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0] and len(on.asked) == 10


def test_a_busy_endpoint_is_asked_again_and_a_wrong_one_is_told(on: Endpoint) -> None:
    scorer = ev.scorer("judge: Is it so?")
    on.reply = lambda text: (200, "yes") if len(on.asked) == 3 else (503, "")
    assert scorer.score(ITEM, "x")["judge_says_yes"] == 1.0 and len(on.asked) == 3
    for reply, said in (((401, ""), "status 401"), ((200, {"error": "x"}), "no completion"), ((302, ""), "status 302")):
        on.asked.clear()
        on.reply = lambda text, reply=reply: reply
        with pytest.raises(ValueError, match=f"The judge arbiter does not answer at .*{said}"):
            scorer.score(ITEM, "x")
        assert len(on.asked) == 1  # also not sent on to where a redirect points


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge.time, "sleep", lambda seconds: None)
    with pytest.raises(ValueError, match="does not answer at http://127.0.0.1:9/v1"):
        ev.scorer("judge: Is it so?", judge.Endpoint("http://127.0.0.1:9/v1", "m")).score(ITEM, "x")
    with pytest.raises(ValueError, match="A judge has an address"):
        judge.Endpoint("file:///etc/passwd", "m")
    with pytest.raises(ValueError, match="A judge is asked"):
        ev.scorer("judge: ", judge.Endpoint("http://localhost/v1", "m"))


CONFIG = """
title = "Judged"
[settings]
max_new_tokens = 4
[judge]
url = "URL"
model = "arbiter"
key_variable = "TILLER_JUDGE_KEY_HERE"
[[sets]]
source = "asked.jsonl"
scorer = "judge: Is it good?"
[[arms]]
name = "Asked to be kind"
instruction = "the king"
"""


def test_an_experiment_with_a_judge_from_its_file(
    server: Endpoint, tiny_llama: Model, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLER_JUDGE_KEY_HERE", "secret-key")
    monkeypatch.setenv("TILLER_JUDGE_URL", f"{server.url}/")
    (tmp_path / "asked.jsonl").write_text('{"question": "the cat"}\n{"question": "a dog"}\n')
    experiment = experiments.parse(CONFIG.replace("URL", server.url), "judged", tmp_path)
    with Engine(tiny_llama) as engine:
        result = experiments.perform(experiment, engine)
    cell = result.table.cell("Asked to be kind", "asked", "judge_says_yes")
    assert cell is not None and cell.value == 1.0 and len(server.asked) == 4
    assert set(server.keys) == {"Bearer secret-key"}
    written = b"".join(reports.files(result).values())
    assert b"judge arbiter: Is it good?" in written and b"secret-key" not in written


def test_a_file_cannot_have_another_secret_sent_to_its_address(tmp_path) -> None:
    with pytest.raises(ValueError, match="begins with TILLER_JUDGE_KEY; got 'HF_TOKEN'"):
        experiments.parse(CONFIG.replace("TILLER_JUDGE_KEY_HERE", "HF_TOKEN"), "judged", tmp_path)


@pytest.mark.parametrize("mine", ["", "http://localhost:8000/v1"])
def test_a_file_cannot_name_another_address_than_whoever_started_tiller(
    mine: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLER_JUDGE_URL", mine)
    for url in ("http://evil.example/v1", "http://localhost:8000/v2", "http://localhost:8000@evil.example/v1", ""):
        if url or mine:
            with pytest.raises(ValueError, match="judged: a judge is asked only at the address that whoever started"):
                experiments.parse(CONFIG.replace("URL", url), "judged", tmp_path)
    if mine:
        for url in (mine, f"{mine}/", f"{mine}/chat/completions"):
            assert experiments.parse(CONFIG.replace("URL", url), "judged", tmp_path).data["judge"]["url"] == url
