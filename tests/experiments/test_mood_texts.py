"""Texts about emotions: what is read of a folder, how they are parted, and what a wrong folder is told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from steering.evaluations.scoring.preference import MOODS
from steering.evaluations.sets import readers
from steering.experiments.programs.mood_texts import LEAST, PARTS, SHIPPED, emotion_texts, parts


def write(folder: Path, name: str, texts: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(texts), encoding="utf-8")


def some(word: str, n: int = LEAST) -> list[str]:
    return [f"You see {word} number {k}." for k in range(n)]


def test_the_shipped_situations_name_no_emotion_and_are_nowhere_else() -> None:
    texts = emotion_texts()
    assert tuple(texts.situations) == MOODS and {len(one) for one in texts.situations.values()} == {32}
    named = re.compile(
        r"\b(happ|joy|sad|afraid|fear|scare|scary|frighten|anger|angry|rage|furious|delight|terr|cry)", re.I
    )
    every = [text for one in texts.situations.values() for text in one]
    assert len(set(every)) == 128 and not [text for text in every if named.search(text)]
    stories = readers.load("general_moods")
    said = {story.text for story in stories} | {end for one in stories for end in one.labels["endings"].values()}
    assert not said & set(every)
    assert readers.load(SHIPPED / "anger.json").format == "situations"


def test_parts_share_no_text_and_hold_all() -> None:
    texts = {"happy": tuple(some("joy", 30)), "sad": tuple(some("grief", 13))}
    found = parts(texts)
    for feeling, every in texts.items():
        each = [found[name][feeling] for name in PARTS]
        assert sorted(sum(each, ())) == sorted(every) and len(set(sum(each, ()))) == len(every)
    assert [len(found[name]["happy"]) for name in PARTS] == [15, 5, 10]
    assert parts(texts) == found != parts(texts, seed=1)


def test_a_folder_of_every_kind(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    write(folder, "joy.json", [*some("cake"), "You see both.", "You see cake number 0."])
    write(folder, "happiness.json", ["You see one cake more."])
    write(folder, "fear.json", [*some("a wolf"), "You see both."])
    write(folder, "happiness_fear.json", ["You jump."])
    write(folder, "notes.json", ["Nothing to see."])
    (folder / "README.md").write_text("not read")
    rows = [
        {"text": "Yum.", "labels": ["joy"]},
        {"text": "Ugh.", "labels": ["fear", "joy"]},
        {"text": "Hm.", "labels": [27]},
    ]
    (folder / "go.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "bank.csv").write_text("id,V,A,D,text\n1,4.5,3,3,Sun.\n2,1.5,3,3,Rain.\n")
    found = emotion_texts([folder])
    assert found.situations == {"happy": ("You see one cake more.", *some("cake")), "afraid": tuple(some("a wolf"))}
    assert found.mixed == {"happy and afraid": ("You jump.",)} and found.comments == {"happy": ("Yum.",)}
    assert found.rated == (("Sun.", 4.5), ("Rain.", 1.5)) and found.passed == ("notes.json",)
    assert found.files == ("texts (bank 2, fear 13, go 3, happiness 1, happiness_fear 1, joy 14)",)
    assert found.folders == ("texts",)


def test_where_a_folder_has_no_situations_ours_stand_in(tmp_path: Path) -> None:
    (tmp_path / "bank.csv").write_text("id,V,A,D,text\n1,4.5,3,3,Sun.\n")
    found = emotion_texts([tmp_path])
    assert found.situations == emotion_texts().situations and found.files[-1].startswith(
        "situations of our own (anger 32"
    )


def test_what_a_wrong_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="read from a folder; there is none at .*nowhere"):
        emotion_texts([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="holds no texts about emotions: lists of texts in files named after"):
        emotion_texts([tmp_path])
    one = tmp_path / "one"
    write(one, "fear.json", some("a wolf"))
    with pytest.raises(ValueError, match=r"texts of two or more, got afraid: 12\.$"):
        emotion_texts([one])
    write(one, "anger.json", some("a queue", LEAST - 1))
    with pytest.raises(ValueError, match=r"12 different texts or more, .*got afraid: 12, angry: 11\.$"):
        emotion_texts([one])
    (one / "anger.json").write_text('["You see a queue.",')
    with pytest.raises(ValueError, match=r"^anger.json, line 1: expected JSON"):
        emotion_texts([one])
    (one / "anger.json").write_text('[{"question": "Why?"}]')
    with pytest.raises(ValueError, match=r"^anger.json: a file that is named after an emotion is a list of texts"):
        emotion_texts([one])
    (one / "anger.json").write_text('["", "You wait."]')
    with pytest.raises(ValueError, match=r"^anger.json, item 1: 'prompt' holds a text; got ''"):
        emotion_texts([one])
    (one / "anger.json").unlink()
    (one / "bank.csv").write_text("id,V,A,D,text\n1,nan,3,3,Sun.\n")
    with pytest.raises(ValueError, match=r"^bank.csv, line 2: 'V' is a rating from 1 to 5; got 'nan'"):
        emotion_texts([one])
