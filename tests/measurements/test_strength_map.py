"""The map of layers and strengths: what a cell is, which ones hold, where it is refined, and what a stop leaves."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from steering.directions.contrasts import mean_difference
from steering.directions.pairs import PairSet
from steering.engine.engine import Engine
from steering.interventions import ActivationAddition
from steering.measurements.layers import preferences
from steering.measurements.numbers import typical_norm
from steering.measurements.pace import seconds_per_token
from steering.measurements.strength_map import (
    MapCell,
    MapStudy,
    StrengthMap,
    coarse_layers,
    openings,
    strength_map,
)
from steering.sites import Site
from steering.statistics import Estimate

TRAIN = PairSet.from_lists(
    ["the sun is warm", "a happy day", "we laughed"], ["the rain is cold", "a sad day", "we cried"]
)
TEST = PairSet.from_lists(["a warm song", "she smiled"], ["a cold song", "she wept"])


@pytest.fixture(scope="module")
def study(model) -> Iterator[MapStudy]:
    lm = model("llama")
    sites = [Site(layer) for layer in range(lm.n_layers)]
    made = {site.layer: mean_difference(lm, TRAIN, site) for site in sites}
    norms = {site.layer: typical_norm(lm, site) for site in sites}
    with Engine(lm) as engine:
        yield MapStudy(engine, made, norms, TEST, openings(lm, TEST), tokens=5)


def cell(layer: int, strength: float, effect: float, surprise: float = 3.0, repetition: float = 0.0) -> MapCell:
    return MapCell(layer, strength, strength, Estimate(effect, effect, effect), surprise, repetition, ("text",))


def test_a_cell_is_what_the_added_direction_does_to_left_out_pairs(study):
    (found,) = study.measured([(1, 0.3)])
    direction = study.directions[1]
    alpha = 0.3 * study.norms[1] / direction.norm
    steered, plain = preferences(study.engine, TEST, [(ActivationAddition(direction, alpha),), ()], None)
    assert found.alpha == alpha
    assert np.isclose(found.effect.value, (steered - plain).mean())
    (written,) = study.engine.generate(study.prompts[0], [(ActivationAddition(direction, alpha),)], max_new_tokens=5)
    assert found.texts[0] == written.text


def test_cells_in_one_batch_are_what_they_are_alone(study):
    places = [(0, -0.2), (0, 0.2), (1, 0.2)]
    together = study.measured(places)
    alone = [study.measured([place])[0] for place in places]
    assert [one.texts for one in together] == [one.texts for one in alone]
    assert np.allclose([one.surprise for one in together], [one.surprise for one in alone], atol=1e-4)


def test_fluency_is_one_for_the_baseline_and_zero_where_text_breaks():
    plain = cell(0, 0.0, 0.0)
    found = StrengthMap(plain)
    # Half a nat more surprising is half of what breaks a text; so is a tenth more repetition.
    tried = [plain, cell(1, 0.1, 1.0, 3.5), cell(1, 0.1, 1.0, 3.0, 0.1), cell(1, 0.1, 1.0, 2.0, 0.3)]
    assert np.allclose([found.fluency(one) for one in tried], [1.0, 0.5, 0.5, 0.0])
    assert found.fluency(cell(1, 0.1, 1.0, math.inf)) == 0.0


def test_the_best_cells_hold_and_the_map_is_refined_around_them():
    broken = cell(8, 0.4, 9.0, surprise=6.0)
    found = StrengthMap(
        cell(0, 0.0, 0.0), (cell(4, 0.1, 0.5), cell(4, 0.2, 1.0), cell(8, 0.1, 0.2), broken, cell(8, -0.1, 0.3))
    )
    up, down = found.best(1), found.best(-1)
    assert up is not None and up.place == (4, 0.2) and down is None
    places = found.finer(12)
    assert not {one.place for one in found.cells} & set(places)
    # Halfway from layer 4 down to -1 (before the first) and up to 8; strengths halfway to 0.1 and to 0.4.
    assert {layer for layer, _ in places} == {2, 4, 6} and {s for _, s in places} == {0.15, 0.2, 0.3}
    assert (4, 0.15) in places and (4, 0.2) not in places


def test_the_map_grows_and_a_stop_keeps_what_is_measured(study):
    grown: list[StrengthMap] = []
    found = strength_map(study, [0, 1], [-0.2, 0.2], rounds=1, grown=grown.append)
    sizes = [len(one.cells) for one in grown]
    assert sizes[:2] == [2, 4] and sizes == sorted(sizes) and len(found.cells) == sizes[-1]
    best = [one for one in (found.best(1), found.best(-1)) if one is not None]
    assert best and all(len(one.controls) == 3 for one in best)

    class Stop(Exception):
        pass

    def tick(done: int, total: int) -> None:
        assert done <= total
        if done >= 2:
            raise Stop

    grown.clear()
    with pytest.raises(Stop):
        strength_map(study, [0, 1], [-0.2, 0.2], tick=tick, grown=grown.append)
    assert [one.place for one in grown[-1].cells] == [(0, -0.2), (0, 0.2)]


def test_coarse_layers_are_spread_and_within_the_model():
    assert coarse_layers(30) == [4, 10, 15, 21, 26]
    assert coarse_layers(1) == [0]
    with pytest.raises(ValueError, match="at least one layer"):
        strength_map(None, [])  # type: ignore[arg-type]


def test_the_cost_counts_what_is_read(study):
    assert study.cost(2) == 2 * study.cost(1) > 0
    assert 0 < seconds_per_token(study.engine.model) < 10
