"""Thresholds, fronts and cliffs: each formula on numbers that fit into a comment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from steering.directions.direction import Direction
from steering.engine.engine import Engine
from steering.interventions import ThresholdRegulator
from steering.measurements.calibration import at, candidates, chosen, cliff, pareto, peaks, quantile
from steering.models.model import Model
from steering.sites import Site

CONCEPT, OTHER = [15.0, 14.0, 16.0, 6.0], [5.0, 4.0, 7.0, 4.0]


def test_the_rates_of_a_threshold_by_hand() -> None:
    # Above 5.5: four of four concept texts, one of four others. Precision 4/5, F1 = 2 (0.8 x 1) / 1.8.
    found = at("x", 5.5, CONCEPT, OTHER)
    assert (found.caught.value, found.disturbed.value) == (1.0, 0.25)
    assert found.f1 == pytest.approx(8 / 9) and found.youden == pytest.approx(0.75)
    assert found.disturbed.low < 0.25 < found.disturbed.high  # four texts tell little
    assert at("x", 99.0, CONCEPT, OTHER).f1 == 0.0
    assert at("x", 6.0, CONCEPT, OTHER).caught.value == 0.75  # a peak at tau is not above it
    assert at("x", 5.5, CONCEPT, [5.0, 7.0, 9.0]).disturbed.value == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="got 0 and 4"):
        at("x", 1.0, [], OTHER)


def test_the_candidates_by_hand() -> None:
    # Means 12.75 and 5: midpoint 8.875. Cuts: 4.5, 5.5, 6.5, 10.5, 14.5, 15.5.
    # 5.5: F1 8/9, Youden 3/4. 10.5: F1 6/7, Youden 3/4. Of the two best Youden cuts the upper middle one, 10.5.
    found = {one.name: one for one in candidates(CONCEPT, OTHER)}
    assert found["midpoint"].tau == pytest.approx(8.875)
    assert found["best F1"].tau == 5.5 and found["best Youden index"].tau == 10.5
    assert found["95th percentile of the others"].tau == pytest.approx(6.7)  # 5 + 0.85 x 2
    assert candidates(CONCEPT, [1.0, 2.0])[0].tau == pytest.approx((12.75 + 1.5) / 2)  # not the mean of all six
    with pytest.raises(ValueError, match="Calibration compares"):
        candidates([], [])


def test_a_perfect_separation_puts_the_threshold_in_the_gap() -> None:
    found = {one.name: one.tau for one in candidates([10.0, 11.0], [1.0, 2.0])}
    assert found["best F1"] == found["best Youden index"] == 6.0


def test_quantiles() -> None:
    assert [quantile([3, 1, 2], q) for q in (0, 0.25, 0.5, 1)] == [1, 1.5, 2, 3]


def test_the_front_and_the_chosen_point() -> None:
    effect, cost = [0.1, 0.5, 0.4, 0.9, 0.9], [0.0, 0.2, 0.3, 0.8, 0.5]
    assert pareto(effect, cost) == [0, 1, 4]
    assert pareto([0.1, 0.5], [0.2, 0.2]) == [1]  # at one cost only the larger effect
    assert chosen(effect, cost, 1.0) == 4  # 0.9 costs 0.8 or 0.5
    assert chosen(effect, cost, 0.5) == 4 and chosen(effect, cost, 0.25) == 1 and chosen(effect, cost, -1) is None


def test_the_cliff_on_both_sides() -> None:
    doses = [-2.0, -1.0, 0.0, 1.0, 2.0]
    found = cliff(doses, [0.9, 0.1, 0.1, 0.1, 0.1], [1.0, 1.0, 1.0, 1.5, 2.5])
    assert (found.below, found.above, found.reason) == (-2.0, 2.0, "surprise")
    looping = cliff([0.0, 1.0, 2.0], [0.0, 0.5, 0.1], [1.0, 0.2, 0.2])  # a loop is easy to predict
    assert (looping.below, looping.above, looping.reason) == (None, 1.0, "repetition")
    assert cliff([0.0], [0.0], [1.0]).above is None
    both = cliff([-2.0, -1.0, 0.0, 1.0, 2.0], [0.9, 0.9, 0.0, 0.9, 0.9], [1.0] * 5)
    assert (both.below, both.above) == (-1.0, 1.0)  # the nearest, not the first
    with pytest.raises(ValueError, match="got 1, 0 and 0"):
        cliff([0.0], [], [])


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def engine(request: pytest.FixtureRequest, model) -> Iterator[Engine]:
    with Engine(model(request.param)) as made:
        yield made


def test_a_peak_is_the_largest_projection_without_bos(engine: Engine) -> None:
    lm: Model = engine.model
    prompt = lm.tokens("a dog and the king")
    n, first = len(prompt), int(prompt[0] == lm.tokenizer.bos_token_id)
    h = lm.activations([prompt], [Site(1)])[0][Site(1)][0]
    toward_bos = Direction(h[0] - h[1:].mean(0), Site(1))
    for direction in (toward_bos, -toward_bos):
        (row,) = engine.generate(prompt, [()], max_new_tokens=6, record=[direction])
        (trace,) = row.projections.values()
        values = trace.before
        assert max(values) == values[0] or direction is not toward_bos
        assert peaks(engine, [prompt], direction) == pytest.approx([max(values[first:n])], abs=1e-4)
        assert peaks(engine, [prompt], direction, last=True) == pytest.approx([values[n - 1]], abs=1e-4)
        whole = peaks(engine, [prompt], direction, answer_tokens=6, last=True)
        assert whole == pytest.approx([max(values[n - 1 :])], abs=1e-4)


def test_a_regulator_fires_exactly_where_the_peak_exceeds_tau(engine: Engine) -> None:
    lm: Model = engine.model
    v = Direction(torch.randn(lm.d_model, generator=torch.Generator().manual_seed(1)), Site(1))
    prompts = [lm.tokens(text) for text in ("the cat", "a dog and the king", "one bird", "my house is two trees")]
    found = peaks(engine, prompts, v)
    tau = sorted(found)[2] - 1e-4
    fired = []
    for prompt in prompts:
        (row,) = engine.generate(prompt, [(ThresholdRegulator(v, tau, 1.0, where="prompt"),)], max_new_tokens=1)
        fired.append(bool(row.receipts[0].fired))
    assert fired == [peak > tau for peak in found] and sum(fired) == 2
    longer = peaks(engine, prompts, v, answer_tokens=12)
    assert all(a <= b + 1e-5 for a, b in zip(found, longer, strict=True)) and longer != found
