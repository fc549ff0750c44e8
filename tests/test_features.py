"""The feature index: what it counts, that it can be interrupted, what the weights say, and looking things up."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from steering.features import (
    FeatureIndex,
    Notes,
    build,
    features_of_text,
    locate,
    promoted_tokens,
    separation,
    token_effects,
)
from steering.features.__main__ import main
from steering.features.neurons import alignment, neurons_before
from steering.features.passes import Settings
from steering.features.tally import Best, Tally
from steering.features.texts import texts_of
from steering.features.windows import by_length, prefix_hashes, read, starts_with_bos, windows
from steering.models import Model
from steering.saes import Sae
from steering.sites import Site

WORDS = " ".join(tiny.CORPUS).replace(".", "").split()


def some_texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 30))) + "." for _ in range(n)]


TEXTS = some_texts(90)
SMALL = Settings(context=24, sample=16, examples=4)


class Stop(Exception):
    pass


@pytest.fixture(scope="session")
def tiny_sae(sae_of: Callable[..., Sae]) -> Sae:
    return sae_of("standard")


@pytest.fixture(scope="session")
def index(tiny_llama: Model, tiny_sae: Sae, tmp_path_factory: pytest.TempPathFactory) -> FeatureIndex:
    folder = tmp_path_factory.mktemp("index")
    build(tiny_llama, tiny_sae, TEXTS, folder, settings=SMALL)
    return FeatureIndex.open(folder, Notes(folder / "home" / "notes.sqlite"))


def naive(lm: Model, sae: Sae, texts: list[str], context: int) -> list[tuple[list[int], np.ndarray]]:
    """Every window alone: its tokens and the activations of all features on them, BOS set to zero."""
    out = []
    bos = starts_with_bos(lm, sae)
    for window in windows(lm, texts, context, bos):
        found, _ = lm.activations([window], [sae.site])
        activations = sae.encode(found[sae.site][0]).float().numpy()
        activations[: int(bos)] = 0
        out.append((window, activations))
    return out


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
    monkeypatch.setattr("steering.features.tally.MAX_PAIRS", 60)
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
    # What a kill can leave behind: windows spooled after the checkpoint, and a checkpoint half written.
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


# What the weights say -----------------------------------------------------------------------------------------------


def test_the_logit_lens_is_the_slope_of_the_logits(lm: Model) -> None:
    """d logits / d eps of norm(h + eps v) @ W_U, for h orthogonal to v (and of mean 0), by finite differences."""
    torch.manual_seed(0)
    v = torch.randn(3, lm.d_model)
    effects = token_effects(lm, v)
    norm = lm.hf.get_submodule(lm.adapter.component_mapping["ln_final"].name)
    unembed = lm.hf.get_output_embeddings().weight.detach()
    for i in range(3):
        span = torch.stack([v[i], torch.ones(lm.d_model)])
        h = torch.randn(lm.d_model)
        h = h - torch.linalg.lstsq(span.T, h[:, None]).solution.T @ span
        h = 2 * h / h.square().mean().sqrt()  # rms 2, so the slope is half the lens
        with torch.no_grad():
            slope = (norm(h + 1e-2 * v[i]) - norm(h - 1e-2 * v[i])) @ unembed.T / 2e-2
        torch.testing.assert_close(2 * slope[0], effects[i], rtol=2e-2, atol=2e-2)


def test_promoted_and_suppressed_tokens_are_the_ends_of_the_lens(tiny_llama: Model) -> None:
    v = torch.randn(2, tiny_llama.d_model, generator=torch.Generator().manual_seed(1))
    gain, unembed = tiny_llama.hf.model.norm.weight, tiny_llama.hf.lm_head.weight
    logits = (v * gain) @ unembed.T
    for suppressed in (False, True):
        ids, values = promoted_tokens(tiny_llama, v, 4, suppressed=suppressed)
        wanted = logits.argsort(dim=-1, descending=not suppressed)[:, :4]
        assert ids.tolist() == wanted.tolist()
        torch.testing.assert_close(values, logits.gather(-1, ids), rtol=1e-3, atol=1e-3)


def test_an_index_repeats_the_lens_and_the_decoder(index: FeatureIndex, tiny_llama: Model, tiny_sae: Sae) -> None:
    ids, values = promoted_tokens(tiny_llama, tiny_sae.W_dec, 10)
    unit = torch.nn.functional.normalize(tiny_sae.W_dec, dim=-1)
    cosine = (unit @ unit.T).fill_diagonal_(-2)
    for i in (0, 40, 95):
        feature = index.feature(i)
        assert [t.token for t in feature.promoted] == ids[i].tolist()
        assert [t.text for t in feature.promoted] == tiny_llama.token_texts(ids[i].tolist())
        np.testing.assert_allclose([t.score for t in feature.promoted], values[i], rtol=2e-3)
        assert [n.index for n in feature.by_cosine] == cosine[i].topk(10).indices.tolist()
        assert all(-1 <= n.value <= 1 and n.index != i for n in feature.by_cosine)


def test_neurons_times_their_rows_are_what_the_mlp_writes(lm: Model) -> None:
    neurons = neurons_before(lm, Site(1, "resid_post"))
    assert neurons is not None and neurons.layer == 1
    with lm.lock, neurons.reading() as caught:
        found, _ = lm.activations([lm.tokens("The cat sat")], [Site(1, "mlp_out"), Site(1, "resid_post")])
    written, out = caught[0][0].float() @ neurons.rows, found[Site(1, "mlp_out")][0]
    out = out - (getattr(neurons.output, "bias", None) if getattr(neurons.output, "bias", None) is not None else 0)
    # Gemma-2 divides the sum by its length after it: the same direction, one factor per token.
    assert torch.nn.functional.cosine_similarity(written, out, dim=-1).min() > 0.9999
    assert not neurons.output._forward_pre_hooks


def test_alignment_of_a_neurons_own_row_is_one(tiny_llama: Model) -> None:
    neurons = neurons_before(tiny_llama, Site(2, "resid_pre"))
    assert neurons is not None and neurons.layer == 1
    assert neurons_before(tiny_llama, Site(0, "resid_pre")) is None
    np.testing.assert_allclose(alignment(neurons.rows[5:6] * 3, neurons)[0, 5], 1, rtol=1e-5)


def test_neurons_of_a_feature_are_its_nearest_and_their_contexts_real(
    index: FeatureIndex, tiny_llama: Model, tiny_sae: Sae
) -> None:
    neurons = neurons_before(tiny_llama, tiny_sae.site)
    assert neurons is not None
    cosine = alignment(tiny_sae.W_dec, neurons)
    rows = list(windows(tiny_llama, TEXTS, 24, True))
    hidden = torch.cat([read(tiny_llama, tiny_sae, [row], True, neurons).neurons[0] for row in rows])  # type: ignore
    for i in (3, 50):
        listed = index.feature(i).neurons
        assert [n.index for n in listed] == cosine[i].abs().topk(5).indices.tolist()
        for neuron in listed:
            assert neuron.cosine == pytest.approx(float(cosine[i, neuron.index]), abs=2e-3)
            assert abs(neuron.examples[0].value) == pytest.approx(float(hidden[:, neuron.index].abs().max()), rel=1e-3)
            assert i in [n.index for n in index.features_of_neuron(neuron.index)]


# Looking things up --------------------------------------------------------------------------------------------------


def test_search_finds_words_of_contexts_and_promoted_tokens(index: FeatureIndex) -> None:
    rows, total = index.search("vector")
    assert 0 < len(rows) == total < index.n_features
    for row in rows[:10]:
        feature = index.feature(row.index)
        everything = " ".join(e.text for e in feature.bands[0].examples) + " ".join(t.text for t in feature.promoted)
        assert "vect" in everything
    assert {row.index for row in index.search("vect")[0]} >= {row.index for row in rows}
    assert index.search("vector zebra") == ([], 0)


def test_sorts_are_sorted(index: FeatureIndex) -> None:
    for sort in ("density", "maximum", "mean"):
        for descending in (True, False):
            rows, total = index.search(sort=sort, descending=descending, limit=20)
            values = [index.arrays[sort][row.index] for row in rows]
            assert values == sorted(values, reverse=descending) and len(rows) == min(20, total)
    score = np.linspace(0, 1, index.n_features)
    rows, _ = index.search(sort=score, limit=3)
    assert [row.score for row in rows] == pytest.approx([float(score[row.index]) for row in rows])
    with pytest.raises(ValueError, match="sorted by density"):
        index.search(sort="size")
    with pytest.raises(ValueError, match="one number per feature"):
        index.search(sort=np.zeros(3))


@pytest.mark.parametrize(
    "query",
    ['"', "a AND", "NOT", "*", "contexts:x", "a-b", "'; DROP TABLE features; --", "\x00", "😀", "é ñ", "((", "^"],
)
def test_no_query_is_a_syntax_error(query: str, index: FeatureIndex) -> None:
    rows, total = index.search(query)
    assert len(rows) <= total <= index.n_features


def test_a_number_finds_its_feature_first(index: FeatureIndex) -> None:
    for query in ("17", "#17", " 17 "):
        rows, total = index.search(query)
        assert rows[0].index == 17 and total == len({row.index for row in rows})
    assert all(row.index < 96 for row in index.search("4711")[0])


def test_notes_are_found_kept_and_removed(index: FeatureIndex) -> None:
    index.write_note(8, 'fires on "maths" <script>alert(1)</script>')
    assert index.feature(8).note.startswith("fires on")
    rows, total = index.search("fires math")
    assert [row.index for row in rows] == [8] and total == 1 and rows[0].note == index.feature(8).note
    index.write_note(8, "now about cats")
    assert index.search("fires math")[1] == 0
    index.write_note(8, " ")
    assert index.feature(8).note == "" and index.search("cats about")[1] == 0
    with pytest.raises(ValueError, match="at most 4000"):
        index.write_note(8, "x" * 5000)
    with pytest.raises(ValueError, match="run from 0 to 95"):
        index.write_note(96, "x")


def test_dead_features_are_listed_only_when_asked(tiny_llama: Model, tiny_sae: Sae, tmp_path: Path) -> None:
    build(tiny_llama, tiny_sae, ["a"], tmp_path, settings=SMALL)
    index = FeatureIndex.open(tmp_path)
    dead = int(np.flatnonzero(index.density == 0)[0])
    assert index.feature(dead).dead and index.feature(dead).bands == ()
    assert index.search(limit=200)[1] < index.search(limit=200, dead=True)[1] == index.n_features


def test_a_damaged_or_torn_index_says_so(index: FeatureIndex, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Build it first"):
        FeatureIndex.open(tmp_path)
    for name in ("features.sqlite", "features.safetensors"):
        (tmp_path / name).write_bytes((index.folder / name).read_bytes())
    with sqlite3.connect(tmp_path / "features.sqlite") as base:
        base.execute("UPDATE about SET value = '\"other\"' WHERE key = 'stamp'")
    with pytest.raises(ValueError, match="torn"):
        FeatureIndex.open(tmp_path)
    (tmp_path / "features.sqlite").write_bytes(b"nonsense" * 1000)
    with pytest.raises(ValueError, match="damaged"):
        FeatureIndex.open(tmp_path)


def test_an_index_knows_whose_it_is(index: FeatureIndex, tiny_gpt2: Model, tiny_llama: Model, tiny_sae: Sae) -> None:
    assert index.fits(tiny_llama, tiny_sae) and not index.fits(tiny_gpt2, tiny_sae)
    assert tiny_sae.fingerprint in str(locate(tiny_sae, tiny_llama, Path("home")))


# Ranking ------------------------------------------------------------------------------------------------------------


def test_separation_by_hand_and_by_comparing_all_pairs() -> None:
    # positives 1, 3 and negatives 0, 1: 1>0, 1=1, 3>0, 3>1, so (1 + 0.5 + 1 + 1) / 4.
    assert separation(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [1.0]]))[0] == 0.875
    g = torch.Generator().manual_seed(0)
    pos, neg = (torch.randint(0, 4, (n, 5), generator=g).float() for n in (6, 9))
    every = (pos[:, None] > neg[None]).float() + 0.5 * (pos[:, None] == neg[None]).float()
    np.testing.assert_allclose(separation(pos, neg), every.mean((0, 1)), rtol=1e-6)
    np.testing.assert_allclose(separation(neg, pos), 1 - separation(pos, neg))
    with pytest.raises(ValueError, match="two classes"):
        separation(pos, neg[:0])


def test_features_of_a_text_are_those_of_the_pass(index: FeatureIndex, tiny_llama: Model, tiny_sae: Sae) -> None:
    found = features_of_text(tiny_llama, tiny_sae, "the cat sat on a mat")
    ((window, activations),) = naive(tiny_llama, tiny_sae, ["the cat sat on a mat"], 64)
    assert list(found.tokens) == window and len(found.texts) == len(window)
    np.testing.assert_allclose(found.activations, activations, atol=1e-5)
    assert found.strongest(0) == []
    strongest = found.strongest(3, 5)
    assert [v for _, v in strongest] == sorted((v for _, v in strongest), reverse=True)
    assert found.score(index.maximum).shape == (96,)


# Command line -------------------------------------------------------------------------------------------------------


def test_the_command_line_builds_an_index(
    checkpoint: Callable[[str], Path], sae_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "texts.txt").write_text("\n\n".join(TEXTS[:20]))
    arguments = ["build", "--model", str(checkpoint("llama")), "--release", str(sae_folder("standard"))]
    arguments += ["--texts", str(tmp_path / "texts.txt"), "--out", str(tmp_path / "index"), "--context", "24"]
    assert main(arguments) == 0
    assert FeatureIndex.open(tmp_path / "index").about["texts"] == 20
    assert main([*arguments[:5], "--texts", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert "there is none" in capsys.readouterr().err


def test_texts_of_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one\\n\\ntwo"}\n\n{"text": "three"}\n')
    assert list(texts_of(tmp_path / "a.jsonl")) == ["one\n\ntwo", "three"]
    (tmp_path / "b.jsonl").write_text('{"text": "one"}\n{"body": "two"}')
    with pytest.raises(ValueError, match="b.jsonl reads .*; line 2 does not"):
        list(texts_of(tmp_path / "b.jsonl"))


def test_texts_of_a_folder_are_read_one_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text("\n\none\nline\n\n \ntwo\n\n")
    (tmp_path / "a.jsonl").write_text('{"text": "zero"}\n')
    (tmp_path / "c.bin").write_bytes(b"x")
    found = texts_of(tmp_path)
    assert list(found) == list(found) == ["zero", "one\nline", "two"] and len(found) == 3
    assert next(iter(found)) == "zero"
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="A folder of texts holds .txt, .md, .jsonl files"):
        texts_of(empty)


def test_texts_of_the_hub_are_streamed_and_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, **options: object):
        asked.append((name, options))
        return ({"body": f"text {n}"} for n in range(10**9))

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    assert list(texts_of("hub:someone/texts:body", limit=2)) == ["text 0", "text 1"]
    assert asked == [("someone/texts", {"split": "train", "streaming": True})]
    with pytest.raises(ValueError, match="'someone/texts' could not be read: it has no column 'text'.* it has body"):
        next(iter(texts_of("hub:someone/texts")))


def test_help_needs_no_model() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "steering.features", "build", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "--texts" in done.stdout
