"""Labels from Neuronpedia (a server on loopback): fetched on demand, kept, and never needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_hub import Hub

from steering.features.labels import fetch_labels, kept_labels

ID = "gpt2-small/8-res-jb"
PAGE = "/api/explanation/export"
ROWS = [
    {"modelId": "gpt2-small", "layer": "8-res-jb", "index": "17", "description": " numbers "},
    {"modelId": "gpt2-small", "layer": "8-res-jb", "index": "17", "description": "a second opinion"},
    {"modelId": "gpt2-small", "layer": "8-res-jb", "index": "3", "description": "<b>cats</b>"},
    {"modelId": "gpt2-small", "layer": "8-res-jb", "index": "4", "description": None},
]


def test_labels_are_fetched_once_and_kept(tmp_path: Path) -> None:
    assert kept_labels(ID, tmp_path) is None
    with Hub(pages={PAGE: json.dumps(ROWS).encode()}) as hub:
        labels = fetch_labels(ID, tmp_path, endpoint=hub.url)
        assert labels == {17: "numbers", 3: "<b>cats</b>"}  # unchanged: pages show it as text, not as markup
        assert [path for _, path, _ in hub.requests] == [PAGE]
    assert kept_labels(ID, tmp_path) == labels  # the server is gone
    (kept,) = tmp_path.iterdir()
    kept.write_text("{")
    assert kept_labels(ID, tmp_path) is None


@pytest.mark.parametrize("answer", [b"[]", b"{", b'{"error": 1}', b'[{"index": "x", "description": "y"}]', b"[3]"])
def test_answers_that_are_no_labels(answer: bytes, tmp_path: Path) -> None:
    with Hub(pages={PAGE: answer}) as hub, pytest.raises(ValueError, match="Go on without"):
        fetch_labels(ID, tmp_path, endpoint=hub.url)
    assert not list(tmp_path.iterdir())


def test_no_such_sae_and_no_network(tmp_path: Path) -> None:
    with Hub() as hub:
        with pytest.raises(ValueError, match="no labels for .* .it answered 404"):
            fetch_labels(ID, tmp_path, endpoint=hub.url)
        url = hub.url
    with pytest.raises(ValueError, match="does not answer .*Labels are not needed"):
        fetch_labels(ID, tmp_path, endpoint=url)


@pytest.mark.parametrize("name", ["", "gpt2", "a/b/c", "../x", "a/..", "http://x/y"])
def test_what_is_no_id(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="A Neuronpedia id reads like"):
        kept_labels(name, tmp_path)
