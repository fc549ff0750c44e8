"""Pair files: what is read, what is refused and where, and that a split and a hash can be relied on."""

import hashlib
import json
from pathlib import Path

import pytest

from steering.directions import pairs as module
from steering.directions.pairs import PairSet, PromptPair

THREE = PairSet.from_lists(["a", "b", "c"], ["x", "y", "z"], prompts=["p", "q", "r"])


def same_in_every_format(tmp_path: Path, rows: list[dict[str, str]]) -> list[PairSet]:
    import csv

    names = list(dict.fromkeys(name for row in rows for name in row))
    (tmp_path / "set.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n")
    (tmp_path / "set.json").write_text(json.dumps(rows, indent=1))
    with (tmp_path / "set.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return [PairSet.load(tmp_path / f"set.{suffix}") for suffix in ("jsonl", "json", "csv")]


def test_every_format_gives_the_same_pairs(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Is it, so?", "positive": " Yes", "negative": ' "No"\nnever', "source": "ignored"},
        {"prompt": "Größe\u2028é", "positive": "ja", "negative": "nein", "source": ""},
    ]
    read = same_in_every_format(tmp_path, rows)
    assert [pair.prompt for pair in read[0]] == ["Is it, so?", "Größe\u2028é"]
    assert read[0][0] == PromptPair("Is it, so?", " Yes", ' "No"\nnever')
    assert read[0] == read[1] == read[2]
    assert len({one.content_hash for one in read}) == 1 and read[0].name == "set"


def test_without_a_prompt(tmp_path: Path) -> None:
    for read in same_in_every_format(tmp_path, [{"positive": "love", "negative": "hate"}]):
        assert read[0] == PromptPair("", "love", "hate")
        assert read[0].sides == (("", "love"), ("", "hate"))


def test_completions_make_positive_and_negative_the_sides_own_prompts(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": "Hi. ",
            "positive": "Be kind.",
            "negative": "Be cruel.",
            "positive_completion": " Yes!",
            "negative_completion": " No.",
        }
    ]
    for read in same_in_every_format(tmp_path, rows):
        assert read[0].sides == (("Hi. Be kind.", " Yes!"), ("Hi. Be cruel.", " No."))
        assert read.rows() == rows
        assert read[0].swapped.sides == read[0].sides[::-1]


def test_a_prompt_and_completions_alone(tmp_path: Path) -> None:
    rows = [{"prompt": "2 + 2 is", "positive_completion": " 4", "negative_completion": " 5"}]
    for read in same_in_every_format(tmp_path, rows):
        assert read[0] == PromptPair("2 + 2 is", " 4", " 5")


def test_model_written_evals_and_caa_are_recognized(tmp_path: Path) -> None:
    evals = {
        "question": "Would you say so?",
        "statement": "so",
        "answer_matching_behavior": " Yes",
        "answer_not_matching_behavior": " No",
    }
    caa = {
        "question": "Which?\n(A) this\n(B) that",
        "answer_matching_behavior": "(B)",
        "answer_not_matching_behavior": "(A)",
    }
    apart, open_ended = {**caa, "question": "Which? "}, {**evals, "question": "", "answer_matching_behavior": "Yes"}
    open_ended["answer_not_matching_behavior"] = "No"
    for read in same_in_every_format(tmp_path, [evals, caa, apart, open_ended]):
        assert read[0].sides == (("Would you say so?", " Yes"), ("Would you say so?", " No"))
        # Without a space of its own the answer would touch the last choice.
        assert "".join(read[1].sides[0]).endswith("(B) that\n(B)")
        assert read[2].sides[0] == ("Which? ", "(B)") and read[3].sides[0] == ("", "Yes")


def test_round_trip() -> None:
    assert PairSet.parse(THREE.to_jsonl(), "jsonl") == THREE
    assert PairSet.parse(json.dumps({"pairs": THREE.rows()}), "json") == THREE


def test_spreadsheets() -> None:
    data = "Positive;Negative\r\nja;nein\r\n".encode("utf-8-sig")
    assert PairSet.parse(data, "csv")[0] == PromptPair("", "ja", "nein")
    assert PairSet.parse("positive\tnegative\na,b\tc;d\n", "csv")[0] == PromptPair("", "a,b", "c;d")


def test_bundled_sets_load() -> None:
    for name in module.bundled_pairs():
        assert PairSet.load(name).name == name


# Refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        ("jsonl", '{"positive": "a", "negative": "b"}\n\n{"positive": "a"', "Line 3: expected JSON, got .*positive"),
        (
            "jsonl",
            '{"positive": "a", "negative": "b"}\n{"positive": "a"}',
            "Line 2: expected 'negative'.*got 'positive'",
        ),
        ("jsonl", '{"positive": "a", "negative": 7}', "Line 1: 'negative' is a text; got int 7"),
        ("jsonl", '{"positive": "a", "negative": " "}', "Line 1: 'negative' holds at least one visible character"),
        ("jsonl", '["a", "b"]', "Line 1: expected an object .* got a list"),
        (
            "jsonl",
            '{"question": "a", "answer_matching_behavior": 3, "answer_not_matching_behavior": "b"}',
            "Line 1: .*int",
        ),
        ("jsonl", '{"question": "open-ended"}', "Line 1: expected 'positive'"),
        ("jsonl", '{"positive_completion": "a"}', "Line 1: expected 'negative_completion'"),
        ("json", '[{"positive": "a", "negative": "b"}, 3]', "Item 2: expected an object .* got 3"),
        ("json", '{"positive": "a"}', "is a list of objects; got an object"),
        ("json", '[\n{"positive": "a",}]', "Line 2: expected JSON"),
        ("json", "[" * 100_000, "nested too deeply|expected JSON"),
        ("csv", "positive,negative\na,b\nc\n", "Line 3: expected 'negative'"),
        ("csv", "positive,negative\na,b,c\n", "Line 2: the header has 2 columns; got 3"),
        ("csv", 'positive,negative\na,"b\n', "Line .: not a CSV row"),
        ("csv", "good,bad\na,b\n", "Line 2: expected 'positive' .* got 'good', 'bad'"),
        ("csv", "positive,negative\n", "at least one row"),
        ("jsonl", "\n \n", "at least one row"),
        ("json", "[]", "at least one row"),
        ("yaml", "a: b", "one of .jsonl, .json, .csv, .tsv; got 'yaml'"),
    ],
)
def test_a_broken_file_names_the_line(suffix: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairSet.parse(text, suffix)


def test_no_text() -> None:
    with pytest.raises(ValueError, match="Line 1: not UTF-8 .byte 0xFF"):
        PairSet.parse(b"{\xff\xfe", "jsonl")


def test_uploads_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'positive' may have 50000 characters"):
        PairSet.from_lists(["a" * 50_001], ["b"])
    assert PairSet.from_lists(["a" * 50_000], ["b"])
    monkeypatch.setattr(module, "MAX_PAIRS", 2)
    with pytest.raises(ValueError, match="may hold 2 pairs; got 3"):
        PairSet(THREE.pairs)
    with pytest.raises(ValueError, match="may hold 2 pairs; line 3 is beyond"):
        PairSet.parse(THREE.to_jsonl(), "jsonl")
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="larger than the 10 bytes"):
        PairSet.parse(THREE.to_jsonl(), "jsonl")
    (tmp_path / "big.jsonl").write_text(THREE.to_jsonl())
    with pytest.raises(ValueError, match=r"big\.jsonl is larger than the 10 bytes"):
        PairSet.load(tmp_path / "big.jsonl")


def test_a_set_that_does_not_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sycophancy.jsonl").write_text(THREE.to_jsonl())
    monkeypatch.setattr(module, "BUNDLED", tmp_path)
    assert len(PairSet.load("sycophancy")) == 3
    with pytest.raises(ValueError, match="bundled name or a file; 'sycofancy' is neither. Near: sycophancy"):
        PairSet.load("sycofancy")


def test_lists_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="got 2 positives, 1 negatives and 2 prompts"):
        PairSet.from_lists(["a", "b"], ["c"])
    with pytest.raises(ValueError, match="Pair 2: 'negative' holds at least one"):
        PairSet.from_lists(["a", "b"], ["c", ""])
    with pytest.raises(ValueError, match="Put it in a list"):
        PairSet.from_lists("ab", "cd")
    with pytest.raises(ValueError, match="at least one pair"):
        PairSet.from_lists([], [])


def test_one_prompt_for_all_or_one_for_each() -> None:
    assert [pair.prompt for pair in PairSet.from_lists(["a", "b"], ["c", "d"], "p")] == ["p", "p"]
    assert [pair.prompt for pair in THREE] == ["p", "q", "r"]


# Split, hash, problems ----------------------------------------------------------------------------------------------


def test_split_is_a_partition_that_a_seed_repeats() -> None:
    many = PairSet.from_lists([f"a{i}" for i in range(40)], [f"b{i}" for i in range(40)])
    first, rest = many.split(0.25, seed=3)
    assert (len(first), len(rest)) == (10, 30)
    assert sorted(pair.positive for pair in (*first, *rest)) == sorted(pair.positive for pair in many)
    assert many.split(0.25, seed=3) == (first, rest) != many.split(0.25, seed=4)
    order = {pair: number for number, pair in enumerate(many)}
    assert [order[pair] for pair in first] == sorted(order[pair] for pair in first)
    assert [len(side) for side in THREE.split(0.6)] == [2, 1]  # 1.8 of 3 is nearly 2
    named = PairSet(THREE.pairs, "mine")
    assert [side.name for side in (*named.split(), named.swapped)] == ["mine"] * 3


def test_copies_of_a_pair_are_never_on_both_sides() -> None:
    doubled = PairSet.from_lists(["a", "b", "c", "d"] * 5, ["w", "x", "y", "z"] * 5)
    for seed in range(20):
        first, rest = doubled.split(0.5, seed)
        assert not set(first) & set(rest) and len(first) == len(rest) == 10


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 1.5, 0.01, float("nan")])
def test_a_split_with_an_empty_side(fraction: float) -> None:
    with pytest.raises(ValueError, match="leaves pairs on both sides"):
        THREE.split(fraction)


def test_the_hash_is_of_the_content() -> None:
    assert THREE.content_hash == PairSet(THREE.pairs, "another name").content_hash
    others = [THREE.swapped, PairSet(THREE.pairs[::-1]), PairSet(THREE.pairs[:2])]
    assert len({THREE.content_hash, *(other.content_hash for other in others)}) == 4
    assert THREE.swapped.swapped == THREE
    # Saved directions hold it: it may not change from one version to the next.
    plain = hashlib.sha256(b'[{"negative": "b", "positive": "a"}]').hexdigest()[:16]
    assert PairSet.from_lists(["a"], ["b"]).content_hash == plain


def test_problems_are_told() -> None:
    odd = PairSet.from_lists(["a", "same", "a", "a"], ["b", "same", "b", "b"])
    assert odd.problems() == [
        "Pair 2: both sides are the same text, so it adds nothing to a contrast.",
        "Pair 3 repeats pair 1.",
        "Pair 4 repeats pair 1.",
    ]
    # The same completion after two instructions is a contrast.
    assert PairSet((PromptPair("", "Yes", "Yes", "Be kind.", "Be cruel."),)).problems() == []
    assert THREE.problems() == []
