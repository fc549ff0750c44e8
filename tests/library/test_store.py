"""The store: what is saved comes back as it was, migrations from every schema, deletes that can be undone, kills."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import torch

from steering.directions.direction import Direction
from steering.jobs import files
from steering.jobs.files import write_atomically
from steering.library import migrations
from steering.library import store as stores
from steering.library.migrations import MIGRATIONS, migrate
from steering.library.store import Store
from steering.sites import Site


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def direction(seed: int = 0, name: str = "kindness") -> Direction:
    vector = torch.randn(8, generator=torch.Generator().manual_seed(seed))
    return Direction(vector, Site(1), name=name, provenance={"method": "mean_difference", "model": {"model": "tiny"}})


def test_a_direction_comes_back_bit_for_bit_under_its_name(store):
    saved = store.save_direction(direction(), "my direction")
    again = store.direction(saved.id)
    assert torch.equal(again.vector, direction().vector)
    assert (again.name, again.site, dict(again.provenance)) == ("my direction", Site(1), dict(direction().provenance))
    assert (saved.model, saved.method, saved.space, saved.width) == ("tiny", "mean_difference", "residual", 8)


def test_the_id_is_the_content(store):
    first, same = store.save_direction(direction(), "a"), store.save_direction(direction(), "a")
    assert first.id == same.id and len(store.directions()) == 1
    store.delete("directions", first.id)
    store.save_direction(direction(), "a")
    assert [row.id for row in store.directions()] == [first.id]  # saving it again brings it back
    assert store.save_direction(direction(1), "a").id != first.id


def test_a_row_tells_how_a_direction_was_made(store, sae_of):
    assert store.save_direction(2 * direction()).method == "times 2"
    assert store.save_direction(Direction(torch.ones(8), Site(1))).method == "by hand"
    sae = sae_of("standard")
    saved = store.save_direction(Direction(torch.ones(sae.d_sae), sae.site, sae))
    assert (saved.space, saved.width) == ("features", sae.d_sae)


def test_a_name_can_change_and_the_direction_takes_it(store):
    saved = store.save_direction(direction())
    store.rename("directions", saved.id, "warmth")
    assert store.direction(saved.id).name == "warmth"
    with pytest.raises(ValueError, match="visible character"):
        store.rename("directions", saved.id, "  ")


def test_search_looks_for_every_word_and_takes_no_wildcards(store):
    store.save_direction(direction(0, "kind words"))
    store.save_direction(direction(1, "cruel 100% words"))
    assert [row.name for row in store.directions("words KIND")] == ["kind words"]
    assert [row.name for row in store.directions("100%")] == ["cruel 100% words"]
    assert store.directions("%") == store.directions("100%")
    assert store.directions("nothing") == []
    assert [row.name for row in store.directions()] == ["cruel 100% words", "kind words"]  # the newest first
    with pytest.raises(ValueError, match="holds directions, runs, measurements; got 'tables'"):
        store.rename("tables", "x", "y")


def test_delete_hides_and_restore_brings_back(store):
    saved = store.save_direction(direction())
    store.delete("directions", saved.id)
    assert store.directions() == [] and len(store.directions(deleted=True)) == 1
    assert Store(store.folder).direction_row(saved.id).deleted is not None  # also after a restart
    store.restore("directions", saved.id)
    assert torch.equal(store.direction(saved.id).vector, direction().vector)


def test_what_was_deleted_long_ago_is_gone_with_its_file(tmp_path, monkeypatch):
    saved, run = Store(tmp_path).save_direction(direction()), Store(tmp_path).save_run({}, "r", model="m", prompt="p")
    Store(tmp_path).delete("directions", saved.id)
    Store(tmp_path).delete("runs", run.id)
    later = time.time() + stores.KEEP_DELETED + 1
    monkeypatch.setattr(stores.time, "time", lambda: later)
    store = Store(tmp_path)
    assert store.directions(deleted=True) == [] and not store.file(saved.id).exists()
    assert store.runs(deleted=True) == []


def test_runs_are_saved_found_and_read(store):
    data = {"prompt": "Hello", "rows": [1.5, None, "\u202e<b>"]}
    saved = store.save_run(data, "first", model="tiny", prompt="Hello")
    assert store.run(saved.id) == data
    assert [run.name for run in store.runs("hello")] == ["first"]
    store.delete("runs", saved.id)
    assert store.runs() == []
    store.save_run(data, "again", model="tiny", prompt="Hello")
    assert [(run.id, run.name) for run in store.runs()] == [(saved.id, "again")]


def test_measurements_are_kept_with_their_files(store):
    files = {"table.csv": b"a,b\n1,2\n", "../report.html": b"<p>"}
    made = store.save_measurement("a grid of m", "Tau and lambda", "Sweep", "m", files)
    assert {name: path.read_bytes() for name, path in store.measurement(made).items()} == {
        "table.csv": b"a,b\n1,2\n", "report.html": b"<p>",
    }  # fmt: skip
    assert store.save_measurement("a grid of m", "x", "Sweep", "m", {"table.csv": b"new"}) == made
    assert [row.name for row in store.measurements("sweep tau")] == ["Tau and lambda"]
    assert store.measurement(made)["table.csv"].read_bytes() == b"new"
    (store.place(made) / ".table.csv.1.tmp").write_bytes(b"ne")  # as a kill leaves it
    assert sorted(store.measurement(made)) == ["table.csv"]  # replaced as a whole: no report of the older run
    store.save_measurement("another", "Alpha", "Sweep", "m", files)
    store.delete("measurements", made)
    store.save_measurement("a grid of m", "x", "Sweep", "m", files)  # brought back, and the newest
    assert [row.name for row in store.measurements()] == ["Tau and lambda", "Alpha"]
    store.delete("measurements", store.measurements("alpha")[0].id)
    store.rename("measurements", made, "mine")
    store.delete("measurements", made)
    assert store.measurements() == []
    store.restore("measurements", made)
    assert [row.name for row in store.measurements()] == ["mine"]
    with pytest.raises(ValueError, match="24 hexadecimal"):
        store.measurement("../directions")
    with pytest.raises(ValueError, match="no measurement with the id"):
        store.measurement("0" * 24)


def test_a_measurement_that_was_deleted_long_ago_is_gone_with_its_files(tmp_path, monkeypatch):
    made = Store(tmp_path).save_measurement("k", "n", "Sweep", "m", {"table.csv": b"x"})
    Store(tmp_path).delete("measurements", made)
    later = time.time() + stores.KEEP_DELETED + 1
    monkeypatch.setattr(stores.time, "time", lambda: later)
    store = Store(tmp_path)
    assert store.measurements(deleted=True) == [] and not store.place(made).exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 23, "A" * 24, "a" * 23 + "/"])
def test_an_id_that_names_another_file_is_refused(store, name):
    with pytest.raises(ValueError, match="24 hexadecimal"):
        store.file(name)


def test_unknown_ids_are_one_sentence(store):
    with pytest.raises(ValueError, match="no direction with the id"):
        store.direction("0" * 24)
    with pytest.raises(ValueError, match="no run with the id"):
        store.run("0" * 24)


@pytest.mark.parametrize("start", range(len(MIGRATIONS)))
def test_every_earlier_schema_is_brought_up_to_date_with_its_data(tmp_path, start):
    path = tmp_path / "tiller.sqlite3"
    db = sqlite3.connect(path, isolation_level=None)
    migrate(db, upto=start)
    assert db.execute("SELECT max(number) FROM migrations").fetchone()[0] == (start or None)
    if start >= 1:
        db.execute(
            "INSERT INTO runs (id, name, model, prompt, data, created) VALUES ('x', 'old', 'm', 'p', '{\"a\": 1}', 1.0)"
        )
    db.close()
    store = Store(tmp_path)
    if start >= 1:
        assert [run.name for run in store.runs()] == ["old"] and store.run("x") == {"a": 1}
    assert store.save_run({}, "new", model="m", prompt="p").name == "new"


def test_a_migration_that_fails_leaves_the_schema_before_it(tmp_path, monkeypatch):
    def broken(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE runs ADD COLUMN half TEXT")
        raise RuntimeError("power cut")

    Store(tmp_path)
    monkeypatch.setattr(migrations, "MIGRATIONS", [*MIGRATIONS, broken])
    with pytest.raises(RuntimeError):
        Store(tmp_path)
    monkeypatch.setattr(migrations, "MIGRATIONS", MIGRATIONS)
    assert Store(tmp_path).save_run({}, "still works", model="m", prompt="p")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and [file.name for file in tmp_path.iterdir()] == ["a"]


def test_twenty_threads_save_at_once(store):
    threads = [threading.Thread(target=store.save_direction, args=(direction(i), f"d{i}")) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.directions()) == 20
    assert all(
        torch.equal(store.direction(row.id).vector, direction(int(row.name[1:])).vector) for row in store.directions()
    )


def test_a_kill_at_any_moment_loses_nothing_that_was_saved(tmp_path):
    script = textwrap.dedent(
        f"""
        import sys, torch
        from pathlib import Path
        from steering.store import Store
        from steering.directions import Direction
        from steering.sites import Site
        store = Store(Path({str(tmp_path)!r}))
        for number in range(100000):
            saved = store.save_direction(Direction(torch.full((64,), float(number + 1)), Site(0)), f"d{{number}}")
            print(saved.id, number + 1, flush=True)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [process.stdout.readline().split() for _ in range(5)]
    os.kill(process.pid, signal.SIGKILL)
    told += [line.split() for line in process.stdout.read().splitlines() if len(line.split()) == 2]
    process.wait()
    store = Store(tmp_path)
    for saved, number in told:
        assert torch.equal(store.direction(saved).vector, torch.full((64,), float(number)))
    for row in store.directions():
        assert store.direction(row.id).vector.shape == (64,)


def test_several_directions_are_saved_together_or_not_at_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full at the third file, or the database refuses the third row: nothing is saved, nothing is left."""
    some = [Direction(torch.full((8,), float(k)), Site(k, "resid_post"), name=f"v{k}") for k in (1, 2, 3)]
    first = store.save_direction(some[0])
    real, written = stores.write_atomically, []

    def full(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(stores, "write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        store.save_directions(some)
    monkeypatch.setattr(stores, "write_atomically", real)
    assert [row.id for row in store.directions()] == [first.id]
    assert [file.stem for file in first_folder(store)] == [first.id]  # what was there before stays
    columns = stores._columns
    monkeypatch.setattr(stores, "_columns", lambda one: (*columns(one), *([1] if one.name == "v3" else [])))
    with pytest.raises(sqlite3.Error):
        store.save_directions(some)
    monkeypatch.undo()
    assert [row.id for row in store.directions()] == [first.id] and len(first_folder(store)) == 1
    assert [row.name for row in store.save_directions(some)] == ["v1", "v2", "v3"]


def first_folder(store: Store) -> list[Path]:
    return sorted((store.folder / "directions").iterdir())


def test_a_measurement_is_replaced_as_a_whole_or_not_at_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    key = store.save_measurement("key", "one", "Sweep", "m", {"a.csv": b"old", "b.csv": b"old", "gone.csv": b"old"})
    real, count = files.write_atomically, iter(range(10))

    def half(path: Path, data: bytes) -> None:
        if next(count) == 1:
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(files, "write_atomically", half)
    with pytest.raises(OSError, match="No space"):
        store.save_measurement("key", "one", "Sweep", "m", {"a.csv": b"new", "b.csv": b"new"})
    monkeypatch.undo()
    assert {name: file.read_bytes() for name, file in store.measurement(key).items()} == {
        "a.csv": b"old", "b.csv": b"old", "gone.csv": b"old",
    }  # fmt: skip
    store.save_measurement("key", "one", "Sweep", "m", {"a.csv": b"new", "b.csv": b"new"})
    assert {name: file.read_bytes() for name, file in store.measurement(key).items()} == {
        "a.csv": b"new", "b.csv": b"new",
    }  # fmt: skip
    assert [one.name for one in (store.folder / "measurements").iterdir()] == [key]
    place = store.place(key)
    place.rename(place.with_name(f".{key}.old"))  # killed between the two renames
    store.save_measurement("key", "one", "Sweep", "m", {"a.csv": b"newer"})
    assert list(store.measurement(key)) == ["a.csv"] and len(list(place.parent.iterdir())) == 1


def test_half_characters_in_any_text_are_saved_as_a_replacement(store: Store) -> None:
    half = "\ud800"
    run = store.save_run({"a": half, half: 1}, f"{half}run", model=f"m{half}", prompt=half)
    assert run.name == "\ufffdrun" and store.run(run.id) == {"a": "\ufffd", "\ufffd": 1}
    key = store.save_measurement(f"k{half}", half, "Sweep", half, {"t.csv": b""})
    store.rename("measurements", key, f"x{half}")
    assert store.measurements()[0].name == "x\ufffd" and store.runs(half) and not store.runs(f"{half}?")
    saved = store.save_direction(Direction(torch.ones(8), Site(1), provenance={"method": half}), half)
    assert store.direction(saved.id).name == "\ufffd" and saved.method == "\ufffd"


@pytest.mark.parametrize("name", ["model", "sae", "pairs"])
def test_a_provenance_of_another_kind_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"holds {name!r} as a table"):
        Direction(torch.ones(8), Site(1), provenance={name: "text"})
