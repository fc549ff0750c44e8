"""The shelf: models, engines and SAEs loaded once, the least recently used unloaded first, never one in use."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from fake_hub import Hub, point_at

from steering.checkpoints.forms import Form
from steering.checkpoints.memory import shape_of_folder
from steering.engine.requests import Request
from steering.jobs.jobs import Cancelled
from steering.library import shelf as shelves
from steering.library.shelf import DOWNLOADING, LOADING, Shelf
from steering.recipes.sources import Source

ID = "someone/gpt2"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "GRACE", 0.0)
    monkeypatch.setattr(shelves, "PATIENCE", 0.2)


@pytest.fixture
def make() -> Iterator[Callable[..., Shelf]]:
    made: list[Shelf] = []

    def make(limit: int | None = None, **options) -> Shelf:
        made.append(Shelf(limit, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def need(folder: Path) -> int:
    return shape_of_folder(folder).needs("float32")


# The name of a form ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("organism", Form("organism")),
        ("openai-community/gpt2@bfloat16", Form("openai-community/gpt2", "bfloat16")),
        ("a/b@4-bit,cuda:1", Form("a/b", "4-bit", "cuda:1")),
        ("a/b@balanced", Form("a/b", "", "balanced")),
        ("smollm2@bfloat16-products", Form("smollm2", products="bfloat16")),
        ("a/b@float32,cpu,bfloat16-products", Form("a/b", "float32", "cpu", "bfloat16")),
        ("/data/me@home/gpt2", Form("/data/me@home/gpt2")),
        ("/data/gpt2@old", Form("/data/gpt2@old")),
        ("/data/a@b@float16", Form("/data/a@b", "float16")),
        ("a/b@float16,bfloat16", Form("a/b@float16,bfloat16")),
    ],
)
def test_a_name_says_how_a_model_is_loaded(name: str, form: Form) -> None:
    assert Form.parse(name) == form and str(form) == name


def test_a_form_is_what_load_model_is_told() -> None:
    assert Form("a/b", "8-bit", "cuda").options == {"quantize": 8, "device": "cuda"}
    assert Form("a/b", "bfloat16", "balanced").call == "'a/b', dtype='bfloat16', device_map='balanced'"
    with pytest.raises(ValueError, match="A model is loaded as float32, .*; got 'int3'"):
        Form("a", "int3")
    assert Form("smollm2", products="bfloat16").options == {"products": "bfloat16"}
    with pytest.raises(ValueError, match="Products are made in float32 or bfloat16; got 'int8'"):
        Form("a", products="int8")
    with pytest.raises(ValueError, match="Products in bfloat16 are of float32 weights on the CPU; got 'cuda'"):
        Form("a", device="cuda", products="bfloat16")
    with pytest.raises(ValueError, match="A device is cpu, .*; got 'tpu'"):
        Form("a", device="tpu")


# Loading --------------------------------------------------------------------------------------------------------------


def test_each_is_loaded_once_and_in_its_form(make, checkpoint, sae_folder) -> None:
    shelf, folder = make(), str(checkpoint("llama"))
    found: list = []
    threads = [threading.Thread(target=lambda: found.append(shelf.model(folder))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(one is found[0] for one in found)
    assert shelf.engine(folder) is shelf.engine(folder) and shelf.engine(folder).model is found[0]
    half = shelf.model(f"{folder}@bfloat16")
    assert (half.dtype, found[0].dtype) == (torch.bfloat16, torch.float32) and half.name == f"{folder}@bfloat16"
    sae = shelf.sae(folder, str(sae_folder("standard")), "")
    assert sae is shelf.sae(folder, str(sae_folder("standard")), "")
    assert [one.name for one in shelf.loaded][-1].endswith(f" on {folder}")
    assert all(one.bytes > 0 for one in shelf.loaded)


def test_the_weights_are_told_as_they_are_read_and_reading_can_be_cancelled(make, checkpoint) -> None:
    shelf, folder, ticks = make(), str(checkpoint("llama")), []
    shelf.model(folder, tick=lambda *tick: ticks.append(tick))
    assert {note for _, _, note in ticks} == {LOADING}
    assert [done for done, _, _ in ticks] == list(range(len(ticks))) and ticks[-1][0] == ticks[-1][1] > 10

    def stop(done: int, total: int, note: str) -> None:
        if done > 5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        shelf.model(f"{folder}@bfloat16", tick=stop)
    assert not shelf.has(f"{folder}@bfloat16") and [one.name for one in shelf.loaded] == [folder]
    assert shelf.model(f"{folder}@bfloat16")


@pytest.fixture
def hub(checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as hub:
        hub.add(ID, checkpoint("gpt2"))
        point_at(monkeypatch, hub.url, tmp_path / "cache")
        yield hub


def test_nothing_is_downloaded_unless_it_may_be(make, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = make()
    with pytest.raises(ValueError, match=f"{ID} is not on this machine"):
        shelf.model(ID)
    assert not hub.requests
    lm = shelf.model(ID, download=True)
    assert lm.name == ID and lm.revision == hub.repos[ID].commit
    hub.requests.clear()
    assert make().model(ID).fingerprint == lm.fingerprint and not hub.requests

    def broken(at: str, **_: object) -> None:
        raise ValueError(f"{at} cannot be read")

    monkeypatch.setattr(shelves, "load_model", broken)
    with pytest.raises(ValueError, match=f"^{ID} cannot be read$"):  # not the folder of the cache
        make().model(ID)


def test_what_cannot_fit_is_refused_at_the_first_byte(make, hub: Hub) -> None:
    with pytest.raises(ValueError, match=f"{ID} is .* of files to load, and a model may take .* of memory here"):
        make(50_000).model(ID, download=True)
    assert not hub.fetched(".safetensors")


# Memory ---------------------------------------------------------------------------------------------------------------


def test_the_least_recently_used_goes_with_its_engine_and_its_sae(make, checkpoint, sae_folder) -> None:
    names = [str(checkpoint(family)) for family in ("llama", "gpt2", "qwen3")]
    limit = sum(need(Path(name)) for name in names) - need(Path(names[0])) // 2  # any two of them, not three
    shelf = make(limit)
    first, engine = weakref.ref(shelf.model(names[0])), shelf.engine(names[0])
    bench = weakref.ref(shelf.workbench(names[0], (str(sae_folder("standard")), "")))
    bench().direction(Source("texts", positive="the cat", negative="the dog", space="feature"))
    shelf.model(names[1])
    shelf.model(names[2])
    assert not shelf.has(names[0]) and [one.name for one in shelf.loaded] == names[1:]
    with pytest.raises(ValueError, match="engine is closed"):
        engine.submit(Request("Hello"))
    del engine
    gc.collect()
    assert first() is None and bench() is None, "something still holds what was unloaded"
    shelf.model(names[1])
    shelf.model(names[0])
    assert not shelf.has(names[2]) and shelf.has(names[1])


def test_what_is_used_stays(make, checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = str(checkpoint("llama")), str(checkpoint("gpt2"))
    shelf = make(int(1.2 * max(need(checkpoint("llama")), need(checkpoint("gpt2")))))
    lm = shelf.model(first)
    with lm.hooked({}):  # as in the middle of a pass; by another thread than the one that loads

        def other() -> None:
            with pytest.raises(ValueError, match="are being used. Try again"):
                shelf.model(second)
            found.append(True)

        found: list[bool] = []
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert found and shelf.has(first)
    busy = True
    shelf.use(first, lambda: busy)  # a job
    with pytest.raises(ValueError, match="are being used"):
        shelf.model(second)
    busy = False
    # An engine counts as in use after it was handed out: its thread may not have seen the request yet.
    monkeypatch.setattr(shelves, "GRACE", 0.5)
    monkeypatch.setattr(shelves, "PATIENCE", 60.0)
    handle = shelf.engine(first).submit(Request("Hello there", max_new_tokens=100, ignore_eos=True))
    shelf.model(second)  # waits until the text is written, then takes its place
    assert handle.done and handle.finish_reason == "length" and not shelf.has(first)


def test_whoever_was_given_an_engine_is_waited_for(make, checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = str(checkpoint("llama")), str(checkpoint("gpt2"))
    shelf = make(int(1.2 * max(need(checkpoint("llama")), need(checkpoint("gpt2")))))
    shelf.engine(first)
    monkeypatch.setattr(shelves, "GRACE", 1000.0)
    with pytest.raises(ValueError, match="are being used"):
        shelf.model(second)
    monkeypatch.setattr(shelves, "GRACE", 0.0)
    assert shelf.model(second) and not shelf.has(first)


def test_an_sae_goes_before_its_model_and_stays_while_that_works(make, checkpoint, sae_folder) -> None:
    first, second, folder = str(checkpoint("llama")), str(checkpoint("gpt2")), sae_folder("standard")
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    with pytest.raises(ValueError, match="needs about"):  # its own model does not make room for it
        make(need(Path(first)) + weights - 1).sae(first, str(folder), "")
    shelf = make(need(Path(first)) + need(Path(second)) + weights - 1)
    sae = weakref.ref(shelf.sae(first, str(folder), ""))
    shelf.model(first)
    busy = True
    shelf.use(first, lambda: busy)
    with pytest.raises(ValueError, match="are being used"):
        shelf.model(second)
    assert len(shelf.loaded) == 2
    busy = False
    shelf.model(second)
    gc.collect()
    assert [one.name for one in shelf.loaded] == [first, second] and sae() is None


def test_an_sae_that_was_not_read_takes_no_room(make, checkpoint, sae_folder) -> None:
    shelf, folder = make(), str(checkpoint("llama"))
    shelf.model(folder)

    def stop(*_: object) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        shelf.sae(folder, str(sae_folder("standard")), "", tick=stop)
    assert [one.name for one in shelf.loaded] == [folder]


def test_other_programs_take_memory_too(make, checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1000 bytes that are free at first 800 are for models; when 100 are left, those 100."""
    free = 1000
    monkeypatch.setattr(shelves, "_free", lambda place: free)
    shelf = make()
    assert shelf.room("cpu") == 800
    free = 100
    assert shelf.room("cpu") == 100
    first, second = str(checkpoint("llama")), str(checkpoint("gpt2"))
    free = 10 * (need(Path(first)) + need(Path(second)))
    shelf = make()
    shelf.model(first)
    free = need(Path(second)) // 2
    shelf.model(second)
    assert not shelf.has(first)


def test_a_download_in_fewer_bits_may_be_larger_than_the_room() -> None:
    """Files hold two bytes a weight: 400 of them are 100 bytes in 4 bits."""
    told: list[tuple[int, int, str]] = []
    tick = shelves._guarded(Form("a/b", "4-bit"), lambda *tick: told.append(tick), 100)
    tick(0, 400)
    assert told == [(0, 400, DOWNLOADING)]
    with pytest.raises(ValueError, match="Nothing more is downloaded"):
        tick(0, 401)


def test_a_model_that_does_not_fit_even_alone(make, checkpoint) -> None:
    folder = str(checkpoint("llama"))
    with pytest.raises(ValueError, match="needs about .* of memory as float32 .* As bfloat16 it needs"):
        make(int(0.8 * need(Path(folder)))).model(folder)
    with pytest.raises(ValueError, match="Choose a smaller model"):
        make(1000).model(folder)


def test_threads_are_set_for_engines_that_run(make, checkpoint) -> None:
    shelf, folder = make(), str(checkpoint("llama"))
    engine, before = shelf.engine(folder), torch.get_num_threads()
    engine.call(torch.get_num_threads)  # from here on its thread has a number of its own
    try:
        shelf.set_threads(2)
        assert engine.call(torch.get_num_threads) == 2
    finally:
        shelf.set_threads(before)


def test_a_name_that_is_nothing(make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is none at"):
        make().model(str(tmp_path / "nothing"))
    start = time.monotonic()
    with pytest.raises(ValueError, match="holds a config.json"):
        make().model(str(tmp_path))
    assert time.monotonic() - start < 5
