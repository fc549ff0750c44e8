"""Figures: the numbers that went in are in them, whatever the texts hold; no Streamlit and no torch is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from steering.plots import charts as plots
from steering.plots import matrices
from steering.plots.base import Line, percent, plain
from steering.ui.widgets.theme import DARK, LIGHT

HOSTILE = '<img src="http://x.example/a.png" onerror=alert(1)> <b>&lt;'


def text(figure) -> str:
    return json.dumps(json.loads(figure.to_json()), ensure_ascii=False)


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_lines_hold_their_values_and_controls_become_a_band(palette):
    lines = [
        Line("Baseline", [0.0, 1.0, None], "baseline", ["a", "b", "c"]),
        Line("Steered", [1.0, 3.0, None], "steered", ["a", "b", "c"]),
        Line("Random 1", [0.0, 0.5, None], "control"),
        Line("Random 2", [0.5, -1.0, None], "control"),
    ]
    figure = plots.along_text(lines, palette, prompt_tokens=2, tau=1.5)
    named = {trace.name: trace for trace in figure.data if trace.name}
    assert list(named["Steered"].y) == [1.0, 3.0, None]
    assert named["Baseline"].line.dash == "dot" and named["Steered"].line.dash == "solid"
    high, low = figure.data[0], figure.data[1]
    assert list(high.y) == [0.5, 0.5] and list(low.y) == [0.0, -1.0]  # position by position: max and min of the two


def test_histogram_shares_add_up_to_one():
    figure = plots.histogram({"positive": [1.0, 2.0, 3.0], "negative": [-1.0]}, LIGHT, tau=0.5)
    for trace in figure.data:
        assert sum(trace.y) == pytest.approx(1.0)


def test_a_cosine_scale_is_symmetric_and_small_matrices_show_their_numbers():
    figure = matrices.heatmap([[1.0, -0.5], [-0.5, 1.0]], ["a", "b"], ["a", "b"], LIGHT)
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-1.0, 1.0)
    assert figure.data[0].texttemplate == "%{z:.2f}"
    big = matrices.heatmap([[0.0] * 50] * 50, [str(i) for i in range(50)], [str(i) for i in range(50)], LIGHT)
    assert big.data[0].texttemplate is None and len(big.layout.xaxis.tickvals) <= 40


def test_every_cell_of_a_token_grid_can_be_clicked_and_says_its_number():
    figure = matrices.token_grid([[0.25, 1.0], [-1.0, 0.0]], ["0", "1"], ["a", " "], LIGHT, limit=1.0, unit="cosine")
    marks = figure.data[1]
    assert list(zip(marks.x, marks.y, strict=True)) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert marks.text[0] == "layer 0, “a”: 0.25 cosine" and "␣" in marks.text[1]


def test_marks_leave_the_cells_where_they_were():
    figure = matrices.heatmap([[0.5, 1.0], [0.0, -1.0]], ["a", "b"], ["x", "y"], LIGHT)
    matrices.clickable(figure, [["a x", "a y"], ["b x", "b y"]], first_on_top=True)
    assert figure.data[1].text[2] == "b x" and (figure.data[1].x[2], figure.data[1].y[2]) == (0, 1)
    assert list(figure.layout.xaxis.range) == [-0.5, 1.5]
    assert list(figure.layout.yaxis.range) == [1.5, -0.5] and figure.layout.yaxis.autorange is None


def test_the_dumbbell_shows_baseline_open_and_variants_filled():
    figure = plots.dumbbell(["yes", "no"], [0.2, 0.7], {"Steered": [0.9, None]}, LIGHT)
    markers = [trace for trace in figure.data if trace.mode == "markers"]
    assert [trace.name for trace in markers] == ["Steered", "Baseline"]
    assert list(markers[0].x) == [0.9, None] and markers[1].marker.color == LIGHT.surface


@pytest.mark.parametrize(
    "figure",
    [
        plots.along_text([Line(HOSTILE, [1.0], "steered", [HOSTILE])], LIGHT),
        plots.histogram({HOSTILE: [1.0, 2.0]}, LIGHT),
        matrices.heatmap([[1.0]], [HOSTILE], [HOSTILE], LIGHT),
        plots.dumbbell([HOSTILE], [0.5], {HOSTILE: [0.6]}, LIGHT),
        plots.bars([HOSTILE], [1.0], LIGHT),
        plots.lines([1.0], {HOSTILE: [2.0]}, LIGHT, x="x", y="y"),
    ],
)
def test_no_text_is_read_as_html(figure):
    # Plotly reads some HTML in names, ticks, annotations and hover texts; ours must arrive escaped.
    assert "<img" not in text(figure) and "&lt;img" in text(figure).replace("\\u003c", "<")


@pytest.mark.parametrize(
    "figure",
    [
        plots.along_text([], LIGHT),
        plots.histogram({}, LIGHT),
        plots.histogram({"a": [], "b": [1.0]}, LIGHT),
        plots.dose_response([], [], LIGHT),
        matrices.heatmap([], [], [], LIGHT),
    ],
)
def test_nothing_to_show_is_an_empty_figure_and_no_error(figure):
    assert figure.to_json()


def test_dose_response_draws_interval_control_and_cliff():
    figure = plots.dose_response(
        [0.0, 1.0], [0.0, 2.0], LIGHT, interval=[(0, 0), (1, 3)], control=[(0, 0), (-1, 1)], cliff=0.8
    )
    assert len(figure.data) == 5 and figure.layout.shapes[0].x0 == 0.8


def test_text_is_cut_flattened_and_escaped():
    assert plain("a\n b\t<c>") == "a b &lt;c&gt;"
    assert plain("x" * 100, 10) == "x" * 9 + "…"
    assert (percent(0.003), percent(0.5)) == ("0.3%", "50%")


def test_the_module_needs_neither_streamlit_nor_torch():
    # The folder alone: importing steering itself brings torch.
    code = (
        "import importlib.util, sys;"
        "spec = importlib.util.spec_from_file_location('plots', 'steering/plots/__init__.py');"
        "sys.modules['plots'] = importlib.util.module_from_spec(spec);"
        "import plots.charts, plots.figures, plots.matrices;"
        "print([name for name in ('streamlit', 'torch') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
