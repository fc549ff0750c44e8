"""The data folder has a limit: what can be made again goes first, what was saved never goes by itself."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from steering.directions.direction import Direction
from steering.library import __main__ as command
from steering.library import space
from steering.library.store import Store
from steering.sites import Site

KB = 1000


def put(path: Path, size: int, hours: float) -> Path:
    """A file of some bytes that was last used so many hours ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))
    os.utime(path.parent, (then, then))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TILLER_HOME", str(tmp_path))
    return tmp_path


def test_the_least_recently_used_goes_first_and_what_is_in_use_stays(folder: Path) -> None:
    old = put(folder / "measure" / "a" / "outcomes.jsonl", 10 * KB, 30)
    newer = put(folder / "indexes" / "b" / "features.sqlite", 10 * KB, 20)
    upload = put(folder / "measure" / "uploads" / "c" / "own.csv", 10 * KB, 25)
    busy = put(folder / "measure" / "d.jsonl", 10 * KB, 0)
    saved = put(folder / "measurements" / "e" / "table.csv", 10 * KB, 99)
    assert space.trim(limit=50 * KB) == 0 and old.exists()
    assert space.trim(limit=45 * KB) >= 10 * KB
    assert not old.exists() and upload.exists() and newer.exists()
    space.used(upload.parent)  # opened just now
    assert space.trim(limit=1) >= 10 * KB
    assert not newer.exists() and upload.exists() and busy.exists() and saved.exists()


def test_a_new_thing_makes_room_or_is_refused_in_a_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(folder)
    cache = put(folder / "labels" / "l.json", 300 * KB, 5)
    monkeypatch.setenv(space.LIMIT_VARIABLE, "0.0003")  # 300 KB
    direction = Direction(torch.ones(8), Site(1, "resid_post"), name="kept")
    assert store.save_direction(direction).name == "kept" and not cache.exists()
    with pytest.raises(ValueError, match=f"Delete something in the Library, or set {space.LIMIT_VARIABLE}"):
        store.save_measurement("k", "large", "Sweep", "m", {"table.csv": b"x" * 400 * KB})
    assert not store.measurements() and store.directions()
    with pytest.raises(ValueError, match="Delete something"):
        store.save_run({"text": "x" * 400 * KB}, "large", model="m", prompt="p")


@pytest.mark.parametrize("said", ["much", "0", "-1", "nan", "inf"])
def test_a_limit_is_a_positive_number(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(space.LIMIT_VARIABLE, said)
    with pytest.raises(ValueError, match="number of gigabytes"):
        space.limit_bytes()


def test_links_are_neither_followed_nor_counted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = put(tmp_path_factory.mktemp("elsewhere") / "mine.txt", 50 * KB, 99)
    (folder / "indexes").mkdir()
    (folder / "indexes" / "link").symlink_to(elsewhere.parent)
    then = time.time() - 99 * 3600
    os.utime(folder / "indexes" / "link", (then, then), follow_symlinks=False)
    assert space.bytes_of(folder) < KB
    space.clean("indexes")
    assert elsewhere.exists() and not (folder / "indexes" / "link").is_symlink()


def test_the_command_shows_and_cleans(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = put(folder / "measure" / "a.jsonl", 2_000_000, 9)
    assert command.main([]) == 0 and "1.91 MB" in capsys.readouterr().out
    assert command.main(["clean", "directions"]) == 2 and old.exists()
    assert "got 'directions'" in capsys.readouterr().err
    assert command.main(["clean"]) == 0 and not old.exists()
