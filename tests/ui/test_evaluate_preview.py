"""Evaluate shows what a bundled experiment gave when it was shipped, until it is run here."""

from __future__ import annotations

import json

import pytest
from open_pages import fine, open_page

from steering.experiments import first_look

pytestmark = pytest.mark.usefixtures("clean_caches")

LOOK = {
    "set": "claims",
    "spots": [
        ["Baseline", [0.9, 0.8, 1.0], [0.0, 0.0, 0.1], "baseline"],
        ["Regulator", [0.2, 0.1, 0.3], [0.1, 0.0, 0.2], "steered"],
    ],
    "best": "Regulator",
    "sentence": "Nearest to the ideal, Regulator accepts 2 of 10 false claims.",
}


def test_a_bundled_experiment_is_previewed_with_its_picture_and_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = first_look.of_plain(LOOK)
    assert json.loads(json.dumps(shown.plain())) == LOOK  # what a report's file holds is what is read back
    monkeypatch.setattr(first_look, "shipped", lambda name: shown if name == "regulator" else None)
    at = fine(open_page("pages/measure/evaluate.py", "organism", evaluate_name="regulator"))
    assert any(one.value == "Measured when this was shipped" for one in at.subheader)
    assert any(one.value == LOOK["sentence"] for one in at.text)
    at = fine(at.radio(key="evaluate_name").set_value("sara").run())
    assert not any(one.value == "Measured when this was shipped" for one in at.subheader)
