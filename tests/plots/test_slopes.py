"""Steerability's figures: outliers do not stretch the colors, and random directions stand beside the chosen layer."""

from __future__ import annotations

import math

from steering.experiments.report_page import PAPER
from steering.plots.slopes import Slope, by_layer, limit_of


def test_an_outlier_does_not_stretch_the_scale() -> None:
    cells = [[1.0, -2.0] * 50, [0.5, 1.5] * 49 + [900.0, -700.0]]
    limit, beyond = limit_of(cells)
    assert limit == 2.0 and beyond == 2
    assert limit_of([[0.0, 0.0]]) == (1.0, 0) and limit_of([[3.0]]) == (3.0, 0)


def test_random_directions_are_beside_the_chosen_layer_and_only_first_layers_are_named() -> None:
    slopes = [
        Slope(2, 1.0, 0.5, 1.5, "first"),
        Slope(6, 3.0, -math.inf, math.inf, "first"),
        *(Slope(layer, 2.0, 1.0, 3.0) for layer in (5, 6, 7)),
        Slope(6, 0.1, -0.1, 0.3, "random"),
    ]
    figure = by_layer(slopes, PAPER, y="slope", chosen=6)
    drawn = {trace.name: trace for trace in figure.data}
    assert 6 < drawn["random directions"].x[0] < 7 and list(drawn["the others"].x) == [5, 6, 7]
    assert list(drawn["the few items"].error_y.array) == [0.5, 0.0]  # one item has no interval
    assert list(figure.layout.xaxis.ticktext) == ["2", "<b>6</b>"] and figure.layout.showlegend
