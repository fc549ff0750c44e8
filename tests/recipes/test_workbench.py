"""The workbench makes each thing once, equals the functions it stands on, and is collected when it is dropped."""

from __future__ import annotations

import gc
import weakref

import pytest

from steering.directions.contrasts import mean_difference
from steering.directions.direction import random_like
from steering.directions.pairs import PairSet
from steering.engine.engine import Engine
from steering.measurements.neutral import neutral_texts
from steering.measurements.numbers import typical_norm
from steering.recipes.sources import Source
from steering.recipes.workbench import Workbench
from steering.sites import Site

PAIRS = PairSet.from_lists(["the king", "two trees"], ["one bird", "a dog"], name="small")
TEXTS = Source("texts", positive="the king is here", negative="one bird sat", layer=1)


def small(name: str) -> PairSet:
    if name != "small":
        raise ValueError(f"no {name}")
    return PAIRS


def test_a_direction_is_made_once_and_is_the_contrasts_own(tiny_llama) -> None:
    bench = Workbench(tiny_llama, pairs=small)
    source = Source("pairs:small", layer=1)
    made = bench.direction(source)
    assert made is bench.direction(source)
    assert made.fingerprint == mean_difference(tiny_llama, PAIRS, Site(1)).fingerprint
    assert bench.direction(Source("pairs:small", layer=2)).fingerprint != made.fingerprint
    # Two texts are one pair, whatever contrast was chosen before.
    assert bench.direction(Source(**{**TEXTS.to_data(), "contrast": "lda"})) is bench.direction(TEXTS)


def test_features_top_k_and_negative_means(tiny_llama, sae_of) -> None:
    bench = Workbench(tiny_llama, sae_of("standard"), pairs=small)
    main = Source("pairs:small", space="feature", top_k=5)
    found = bench.direction(main)
    assert found.sae is bench.sae and int((found.vector != 0).sum()) == 5
    stream = Source("pairs:small", layer=1)
    v = bench.direction(stream)
    negative = bench.direction(Source("negative"), v, stream)
    both = Workbench(tiny_llama, pairs=small).projections(v)
    # v = mean(+) - mean(-), so the negative mean's projection on it is the mean of the negative side's.
    assert float(negative.vector @ v.vector) / v.norm == pytest.approx(sum(both["negative"]) / 2, rel=1e-4)
    assert bench.direction(Source("random:7"), v).fingerprint == random_like(v, 7).fingerprint


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (Source("pairs:none"), "no none"),
        (Source("pairs:"), "Choose a direction"),
        (Source("texts", positive="x"), "both of them"),
        (Source("saved:0"), "there is none here"),
        (Source("pairs:small", space="feature"), "sparse autoencoder"),
        (Source("random:3"), "beside one that it is like"),
        (Source("negative"), "belongs to the pairs"),
        (Source("what"), "comes from a pair set"),
    ],
)
def test_what_is_not_there_is_one_sentence(tiny_llama, source: Source, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Workbench(tiny_llama, pairs=small).direction(source)


def test_norms_and_the_midpoint(tiny_llama) -> None:
    bench = Workbench(tiny_llama, pairs=small)
    assert bench.typical_norm(Site(1)) == typical_norm(tiny_llama, Site(1), neutral_texts(tiny_llama.name)[:16])
    v = bench.direction(Source("pairs:small", layer=1))
    groups = bench.projections(v)
    middle = (sum(groups["positive"]) + sum(groups["negative"])) / 4
    assert bench.midpoint(v) == pytest.approx(middle, rel=0.01)
    assert set(bench.projections(bench.direction(TEXTS))) == {"neutral"}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.0])
def test_a_controls_threshold_fires_as_often(tiny_llama, share: float) -> None:
    bench = Workbench(tiny_llama, pairs=small)
    v = bench.direction(Source("pairs:small", layer=1))
    own = bench._everywhere(v, v)
    tau = float(own.quantile(1 - share)) if share else float(own.max()) + 1.0
    control = random_like(v, 0)
    fired = (bench._everywhere(control, v) > bench.firing_tau(v, tau, control)).float().mean()
    assert float(fired) == pytest.approx(share, abs=0.015)  # tokens that are the same tie, and fire together


def test_peaks_take_an_engine(tiny_llama) -> None:
    v = Workbench(tiny_llama, pairs=small).direction(Source("pairs:small", layer=1))
    with Engine(tiny_llama) as engine:
        bench = Workbench(engine, pairs=small)
        first = bench.peaks(v, ["the cat", "a dog"])
        assert first is bench.peaks(v, ["the cat", "a dog"]) and len(first) == 2
    with pytest.raises(ValueError, match="Peaks are read by an engine"):
        Workbench(tiny_llama).peaks(v, ["the cat"])


def test_a_dropped_workbench_is_collected(tiny_llama) -> None:
    bench = Workbench(tiny_llama, pairs=small)
    made = weakref.ref(bench.direction(Source("pairs:small", layer=1)))
    gone = weakref.ref(bench)
    del bench
    gc.collect()
    assert gone() is None and made() is None
