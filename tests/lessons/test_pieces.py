"""What pieces show: what arrows give back, and shipped results that are the model's."""

from __future__ import annotations

import pytest

from steering.engine.engine import Engine
from steering.lessons.lesson import read_lesson
from steering.lessons.made import key_of, made
from steering.lessons.reading import read
from steering.models.loading import load_model
from steering.plots.teaching import told_apart
from steering.recipes.workbench import Workbench
from steering.ui.learn.trying import read_back


def test_three_arrows_in_a_plane_are_read_back_one_at_a_time() -> None:
    assert read_back([1.0, 0.0, 0.0]) == pytest.approx([1.0, 0.0, 0.0])
    # Two at once: each loses half of the other, whose arrow lies at 120 degrees (cosine -1/2).
    assert read_back([1.0, 1.0, 0.0]) == pytest.approx([0.5, 0.5, 0.0])


def test_an_arrow_across_which_the_groups_part() -> None:
    groups = {"one": [[1.0, 0.0], [0.8, 0.5]], "other": [[-1.0, 0.0], [-0.7, 0.5]]}
    assert told_apart(groups, 0) == 1.0
    assert told_apart(groups, 90) == 0.5


def test_shipped_results_are_what_the_model_gives() -> None:
    """The strip of the first lesson and the texts of the last, made again on the organism."""
    with Engine(load_model("organism")) as engine:
        bench = Workbench(engine)
        for name, step in (("1_push", 2), ("6_refusal", 1)):
            lesson = read_lesson(name, "organism")
            piece = lesson.steps[step].show
            assert piece is not None
            again, shipped = read(bench, piece), made(lesson, piece)
            assert shipped is not None and again["agree"]
            if piece.kind == "strip":
                assert (again["turns"], again["breaks"]) == (shipped["turns"], shipped["breaks"])
                assert again["texts"][:4] == shipped["texts"][:4]  # the broken ones hang on the last bit
            else:
                assert again["rows"] == shipped["rows"]


def test_a_result_is_found_by_its_settings_and_not_by_its_caption() -> None:
    from dataclasses import replace

    piece = read_lesson("1_push", "organism").steps[2].show
    assert piece is not None
    assert key_of(replace(piece, caption="other")) == key_of(piece)
    assert key_of(replace(piece, tokens=41)) != key_of(piece)  # type: ignore[call-arg]
