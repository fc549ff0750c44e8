"""Looking features up: search, notes, ranking by texts, and the command that builds an index."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_indexes import SMALL, TEXTS, naive

from steering.features import FeatureIndex, build, features_of_text, locate, separation
from steering.features.__main__ import main
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.saes.texts import texts_of

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
