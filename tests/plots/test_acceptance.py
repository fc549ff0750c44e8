"""The picture of an experiment on claims: every arm is drawn where its shares are, and the best one is named."""

from __future__ import annotations

from steering.experiments.report_page import PAPER
from steering.plots.acceptance import Spot, acceptance
from steering.plots.figures import Point, forest
from steering.plots.radar import radar

SPOTS = (
    Spot("Baseline", (0.9, 0.8, 0.95), (0.0, 0.0, 0.1), "baseline"),
    Spot("Regulator", (0.2, 0.1, 0.3), (0.1, 0.05, 0.2)),
    Spot("Ablation", (0.22, 0.1, 0.3), (0.12, 0.05, 0.2)),
    Spot("Random 1 for Regulator", (0.88, 0.8, 0.95), (0.01, 0.0, 0.1), "random"),
    Spot("<b>Prompting", (0.5, 0.4, 0.6), (0.5, 0.4, 0.6), "control"),
)


def test_every_arm_is_a_dot_and_random_ones_have_no_bars() -> None:
    figure = acceptance(SPOTS, PAPER, best="Regulator")
    drawn = {trace.name: list(zip(trace.x, trace.y, strict=True)) for trace in figure.data}
    assert drawn["steered"] == [(0.2, 0.1), (0.22, 0.12)] and drawn["baseline"] == [(0.9, 0.0)]
    bars = {trace.name: trace.error_x.visible for trace in figure.data}
    assert bars["random"] is False and bars["steered"] is None
    steered = next(trace for trace in figure.data if trace.name == "steered")
    assert [round(one, 6) for one in steered.error_x.array] == [0.1, 0.08]


def test_names_do_not_cover_each_other_and_are_escaped() -> None:
    said = [note.text for note in acceptance(SPOTS, PAPER, best="Regulator").layout.annotations]
    assert "<b>Regulator</b>" in said and "<b>Baseline</b>" in said and "<b>Ablation</b>" not in said
    assert "<b>&lt;b&gt;Prompting</b>" in said


def test_names_of_one_family_keep_the_end_in_which_they_differ() -> None:
    arms = [f"Regulator from the lower quartile, lambda {k}" for k in (2, 3)]
    spots = [Spot(arm, (0.5, 0.4, 0.6), (k / 4, 0.0, 0.3)) for k, arm in enumerate(arms)]
    said = [note.text for note in acceptance(spots, PAPER, best=arms[0]).layout.annotations]
    assert any("lambda 2" in one for one in said) and any("lambda 3" in one for one in said)


def test_a_radar_closes_its_polygons() -> None:
    figure = radar(
        ("care", "purity", "loyalty"), {"Baseline": [(1.0, 0.5, 1.5)] * 3, "Duty": [(3.0, 2.0, 4.0)] * 3}, PAPER
    )
    lines = [trace for trace in figure.data if trace.showlegend is not False]  # bands have no name to be read
    assert [trace.name for trace in lines] == ["Baseline", "Duty"]
    assert list(lines[1].r) == [3.0] * 4 and list(lines[1].theta) == ["care", "purity", "loyalty", "care"]


def test_a_long_name_keeps_its_end_beside_its_row_and_its_dot() -> None:

    names = [f"Regulator where the answer is really decided, lambda {k}" for k in (1, 2)]
    rows = forest([Point(name, 0.5, 0.4, 0.6) for name in names], PAPER, x="share").layout.yaxis.ticktext
    assert rows[0] != rows[1] and rows[0].endswith("lambda 1") and all("…" in row for row in rows)
