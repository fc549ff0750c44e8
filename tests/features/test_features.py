"""The feature index: what it counts, and that it can be interrupted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_indexes import SMALL, TEXTS, WORDS, naive, some_texts

from steering.features import FeatureIndex, build
from steering.features.making.tally import Best, Tally
from steering.features.making.windows import by_length, prefix_hashes, windows
from steering.models.model import Model
from steering.saes.sae import Sae


class Stop(Exception):
    pass


# What is counted ----------------------------------------------------------------------------------------------------


def test_density_and_the_rest_equal_a_naive_count(index: FeatureIndex, tiny_llama: Model, tiny_sae: Sae) -> None:
    every = np.concatenate([a[1:] for _, a in naive(tiny_llama, tiny_sae, TEXTS, 24)])
    assert index.about["tokens"] == len(every)
    # Batches round differently in the last bit; a feature at its very threshold may be counted differently.
    np.testing.assert_allclose(index.density, (every > 0).mean(0), atol=2 / len(every))
    np.testing.assert_allclose(index.maximum, every.max(0), rtol=1e-4)
    for i in np.flatnonzero(index.density)[:10]:
        feature, fired = index.feature(int(i)), every[:, i][every[:, i] > 1e-4]
        counts, _ = np.histogram(fired, feature.edges)
        assert feature.mean == pytest.approx(fired.mean(), rel=1e-2)
        assert sum(feature.histogram) == pytest.approx(index.density[i] * len(every))
        assert np.abs(counts - feature.histogram).sum() <= 4


def test_examples_are_real_and_no_occurrence_is_shown_twice(
    index: FeatureIndex, tiny_llama: Model, tiny_sae: Sae
) -> None:
    windows_ = naive(tiny_llama, tiny_sae, TEXTS, 24)
    texts = [("".join(tiny_llama.token_texts(tokens)), acts) for tokens, acts in windows_]
    checked = 0
    for i in np.flatnonzero(index.density)[:12].tolist():
        feature = index.feature(i)
        strongest = sorted({round(float(a[:, i].max()), 3) for _, a in texts}, reverse=True)
        assert feature.bands[0].name == "Strongest"
        assert [e.value for e in feature.bands[0].examples] == sorted(
            (e.value for e in feature.bands[0].examples), reverse=True
        )
        assert feature.bands[0].examples[0].value == pytest.approx(strongest[0], rel=1e-3)
        seen = set()
        for band in feature.bands:
            for example in band.examples:
                assert band.low - 1e-4 <= example.value <= band.high + 1e-4 or band.name == "Strongest"
                homes = [a[:, i] for text, a in texts if example.text in text]
                tolerance = feature.maximum / 99
                assert any(_within(home, example.activations, tolerance) for home in homes)
                place = ("".join(example.tokens[: example.peak + 1]), round(example.value, 4))
                assert place not in seen
                seen.add(place)
                checked += 1
    assert checked > 60


def _within(home: np.ndarray, span: tuple[float, ...], tolerance: float) -> bool:
    """Whether a span of activations occurs in a longer row, up to the levels in which examples are kept."""
    return any(np.abs(home[at : at + len(span)] - span).max() <= tolerance for at in range(len(home) - len(span) + 1))


def test_the_same_text_many_times_changes_no_example(tiny_llama: Model, tiny_sae: Sae, tmp_path: Path) -> None:
    build(tiny_llama, tiny_sae, TEXTS[:20], tmp_path / "once", settings=SMALL)
    build(tiny_llama, tiny_sae, TEXTS[:20] * 3, tmp_path / "thrice", settings=SMALL)
    once, thrice = FeatureIndex.open(tmp_path / "once"), FeatureIndex.open(tmp_path / "thrice")
    np.testing.assert_allclose(once.density, thrice.density, atol=1e-3)
    for i in range(20):
        assert [b.examples for b in once.feature(i).bands] == [b.examples for b in thrice.feature(i).bands]


def test_the_order_of_texts_changes_no_number(
    index: FeatureIndex, tiny_llama: Model, tiny_sae: Sae, tmp_path: Path
) -> None:
    build(tiny_llama, tiny_sae, TEXTS[::-1], tmp_path, settings=SMALL)
    other = FeatureIndex.open(tmp_path)
    assert set(other.arrays) == set(index.arrays)
    for name in ("density", "mean", "maximum"):
        np.testing.assert_allclose(other.arrays[name], index.arrays[name], rtol=1e-3, atol=1e-3)
    for i in range(0, 96, 7):
        for ours, theirs in zip(index.feature(i).bands, other.feature(i).bands, strict=True):
            assert [e.text for e in ours.examples] == [e.text for e in theirs.examples]


def test_coactivation_equals_a_naive_count(index: FeatureIndex, tiny_llama: Model, tiny_sae: Sae) -> None:
    fires = np.concatenate([a[1:] for _, a in naive(tiny_llama, tiny_sae, TEXTS, 24)]) > 0
    together = fires.T.astype(float) @ fires
    cosine = together / np.sqrt(np.maximum(np.outer(np.diag(together), np.diag(together)), 1))
    np.fill_diagonal(cosine, 0)
    assert index.about["exact_coactivation"]
    for i in range(0, 96, 5):
        neighbors = index.neighbors(i, "coactivation")
        np.testing.assert_allclose([n.value for n in neighbors], np.sort(cosine[i])[::-1][:10], atol=3e-3)
        np.testing.assert_allclose([n.value for n in neighbors], cosine[i][[n.index for n in neighbors]], atol=3e-3)


def test_wide_dictionaries_drop_the_rarest_pairs_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steering.features.making.tally.MAX_PAIRS", 60)
    tally = Tally.empty(30, 0, 2, 4)
    often = torch.zeros(50, 30)
    often[:, :3] = 1.0
    hashes = {"tie": np.arange(50, dtype=np.uint64), "whole": np.arange(50, dtype=np.uint64)}
    tally.add(often, np.arange(50), np.zeros(50, int), hashes)
    rare = (torch.rand(50, 30, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    tally.add(rare, np.arange(50), np.zeros(50, int), hashes)
    assert not tally.exact and tally.pairs.nnz <= 900
    assert tally.pairs[0, 1] >= 50


def test_best_keeps_what_a_full_sort_would() -> None:
    rng = np.random.default_rng(3)
    group, key = rng.integers(0, 7, 600), rng.normal(size=600).round(1)
    tie = rng.integers(0, 300, 600).astype(np.uint64)
    key = key[tie.astype(int)]  # one occurrence has one key
    best = Best.empty(7, 5)
    for part in np.array_split(np.arange(600), 13):
        best.offer(
            group[part], key=key[part], tie=tie[part], whole=tie[part], value=key[part].astype(np.float32),
            window=part, pos=part.astype(np.int32),
        )  # fmt: skip
    for g in range(7):
        wanted = sorted({(-k, t) for k, t in zip(key[group == g], tie[group == g], strict=True)})[:5]
        assert [(-k, t) for k, t in zip(best.table["key"][g], best.table["tie"][g], strict=True)] == wanted


def test_windows_start_alike_and_lose_no_token(tiny_llama: Model) -> None:
    text = " ".join(WORDS * 4)
    ids = tiny_llama.tokenizer.encode(text)
    parts = list(windows(tiny_llama, ["", text], 16, True))
    assert all(part[0] == tiny_llama.tokenizer.bos_token_id and len(part) <= 16 for part in parts)
    assert [token for part in parts for token in part[1:]] == ids[1:]
    assert [token for part in windows(tiny_llama, [text], 16, False) for token in part] == ids


def test_batches_hold_every_row_once_within_the_budget() -> None:
    rows = [[0] * n for n in (5, 1, 9, 9, 2, 30)]
    batches = list(by_length(rows, 20))
    assert sorted(n for batch in batches for n in batch) == list(range(6))
    assert all(len(batch) == 1 or max(len(rows[n]) for n in batch) * len(batch) <= 20 for batch in batches)


def test_a_prefix_has_one_hash() -> None:
    a, b = prefix_hashes([5, 6, 7]), prefix_hashes([5, 6, 9, 7])
    assert (a[:2] == b[:2]).all() and a[2] != b[2] and a[2] != b[3]
    assert len(set(prefix_hashes([4] * 50).tolist())) == 50


# Interruption -------------------------------------------------------------------------------------------------------


def same_index(a: Path, b: Path) -> None:
    assert (a / "features.safetensors").read_bytes() == (b / "features.safetensors").read_bytes()
    dumps = [list(sqlite3.connect(folder / "features.sqlite").iterdump()) for folder in (a, b)]
    assert dumps[0] == dumps[1]


def test_stopped_anywhere_and_resumed_equals_uninterrupted(
    index: FeatureIndex, tiny_llama: Model, tiny_sae: Sae, tmp_path: Path
) -> None:
    runs, calls = 0, 0

    def tick(done: int, total: int) -> None:
        nonlocal calls
        assert 0 <= done <= total == 2 * len(TEXTS)
        calls += 1
        if calls > 3:
            raise Stop

    while True:
        calls, runs = 0, runs + 1
        try:
            build(tiny_llama, tiny_sae, TEXTS, tmp_path, tick, settings=SMALL, save_every=0)
            break
        except Stop:
            assert (tmp_path / "partial").is_dir() and not (tmp_path / "features.sqlite").exists()
            with pytest.raises(ValueError, match="Build it first"):
                FeatureIndex.open(tmp_path)
        if runs > 3:
            tick = None  # type: ignore[assignment]
    assert runs > 2
    assert not (tmp_path / "partial").exists()
    same_index(index.folder, tmp_path)


@pytest.mark.parametrize("after", [1, 2])
def test_a_kill_in_the_middle_of_counting_loses_nothing_saved(
    after: int, index: FeatureIndex, tiny_llama: Model, tiny_sae: Sae, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, calls = Tally.add, []

    def dying(self: Tally, *args: object) -> None:
        add(self, *args)  # type: ignore[arg-type]
        calls.append(1)
        if len(calls) > after:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Tally, "add", dying)
        with pytest.raises(Stop):
            build(tiny_llama, tiny_sae, TEXTS, tmp_path, settings=SMALL, save_every=0)
    # What a kill can leave: windows spooled after the checkpoint, and a checkpoint half written.
    with (tmp_path / "partial" / "tokens.u32").open("ab") as spool:
        spool.write(b"torn!")
    with (tmp_path / "partial" / "lengths.u32").open("ab") as spool:
        spool.write(np.uint32(7).tobytes())
    (tmp_path / "partial" / "new").write_bytes(b"half a checkpoint")
    build(tiny_llama, tiny_sae, TEXTS, tmp_path, settings=SMALL)
    same_index(index.folder, tmp_path)


def test_other_texts_do_not_continue_an_unfinished_index(tiny_llama: Model, tiny_sae: Sae, tmp_path: Path) -> None:
    def tick(done: int, total: int) -> None:
        if done > 70:
            raise Stop

    with pytest.raises(Stop):
        build(tiny_llama, tiny_sae, TEXTS, tmp_path, tick, settings=SMALL, save_every=0)
    with pytest.raises(ValueError, match="begun with other texts"):
        build(tiny_llama, tiny_sae, some_texts(90, seed=1), tmp_path, settings=SMALL)
    build(tiny_llama, tiny_sae, TEXTS[:5], tmp_path, settings=SMALL, restart=True)
    assert FeatureIndex.open(tmp_path).about["texts"] == 5


def test_an_index_of_no_text_is_refused(tiny_llama: Model, tiny_sae: Sae, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one text"):
        build(tiny_llama, tiny_sae, ["", ""], tmp_path)


@pytest.mark.parametrize("architecture", ["gated", "jumprelu", "topk", "batchtopk"])
def test_every_architecture_gets_an_index(
    architecture: str, sae_of: Callable[..., Sae], tiny_llama: Model, tmp_path: Path
) -> None:
    sae = sae_of(architecture)
    build(tiny_llama, sae, iter(TEXTS[:15]), tmp_path, settings=SMALL)
    index = FeatureIndex.open(tmp_path)
    assert index.fits(tiny_llama, sae) and (index.density > 0).any()
