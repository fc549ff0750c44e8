"""Downloads from a hub on loopback, by the real client: progress, resume, and every way in which it can fail."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_hub import Hub
from huggingface_hub import constants

from steering.checkpoints import downloads
from steering.checkpoints.downloads import Fetched, fetch, model_files

WEIGHTS = "model.safetensors"
ID = "someone/tiny-llama"


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other tests run offline; these talk to loopback, in small chunks and without waiting."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub(checkpoint: Callable[[str], Path]) -> Iterator[Hub]:
    with Hub() as hub:
        repo = hub.add(ID, checkpoint("llama"))
        repo.files |= {"pytorch_model.bin": b"x" * 9000, "modeling.py": b"import os", "onnx/model.onnx": b"o" * 9000}
        yield hub


@pytest.fixture
def get(hub: Hub, tmp_path: Path) -> Callable[..., Fetched]:
    def get(repo: str = ID, **options: object) -> Fetched:
        return fetch(repo, cache=tmp_path / "cache", endpoint=hub.url, **options)  # type: ignore[arg-type]

    return get


class Stop(Exception):
    pass


def test_a_first_download_with_progress(hub: Hub, get: Callable[..., Fetched], checkpoint) -> None:
    ticks: list[tuple[int, int]] = []
    found = get(tick=lambda done, total: ticks.append((done, total)))
    assert found.revision == hub.repos[ID].commit == found.folder.name
    for name in (WEIGHTS, "config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (found.folder / name).read_bytes() == (checkpoint("llama") / name).read_bytes()
    wanted = model_files(hub.repos[ID].files)
    total = sum(len(hub.repos[ID].files[name]) for name in wanted)
    assert {one for _, one in ticks} == {total}
    assert [done for done, _ in ticks] == sorted(done for done, _ in ticks) and ticks[-1][0] == total
    assert len(ticks) > 10
    # Pickles, code and other formats were not even asked for.
    assert {path.name for path in found.folder.rglob("*") if path.is_file()} == set(wanted)
    assert not any(name in path for _, path, _ in hub.requests for name in ("pytorch_model", ".py", "onnx"))


def test_a_second_download_transfers_nothing(hub: Hub, get: Callable[..., Fetched]) -> None:
    first = get()
    hub.requests.clear()
    assert get() == first
    assert not [path for path in hub.fetched() if "/resolve/" in path]


def test_a_cut_connection_goes_on_where_it_broke(hub: Hub, get: Callable[..., Fetched]) -> None:
    hub.cut = [20_000, 10_000]
    found = get()
    assert (found.folder / WEIGHTS).read_bytes() == hub.repos[ID].files[WEIGHTS]
    starts = [asked for _, path, asked in hub.requests if path.endswith(WEIGHTS) and asked]
    assert starts == ["bytes=16384-", "bytes=24576-"]  # whole chunks of 4096 are kept


def test_a_cancelled_download_goes_on_in_the_next_call(hub: Hub, get: Callable[..., Fetched], tmp_path: Path) -> None:
    def stop_at(limit: int) -> Callable[[int, int], None]:
        def tick(done: int, total: int) -> None:
            if done > limit:
                raise Stop

        return tick

    with pytest.raises(Stop):
        get(tick=stop_at(40_000))
    (part,) = (tmp_path / "cache").rglob("*.part")
    kept = part.stat().st_size
    assert 30_000 < kept <= 40_960
    assert not list((tmp_path / "cache").rglob(f"snapshots/*/{WEIGHTS}"))  # nothing half-done looks finished
    found = get()
    assert (found.folder / WEIGHTS).read_bytes() == hub.repos[ID].files[WEIGHTS]
    assert [asked for _, path, asked in hub.requests if asked and path.endswith(WEIGHTS)] == [f"bytes={kept}-"]
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_a_connection_that_never_comes_back(hub: Hub, get: Callable[..., Fetched]) -> None:
    hub.cut = [9000] + [0] * 50
    with pytest.raises(ValueError, match="connection to the hub broke.* What has arrived is kept"):
        get()
    hub.cut = []
    assert (get().folder / WEIGHTS).is_file()


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_a_wrong_revision(revision: str, get: Callable[..., Fetched]) -> None:
    with pytest.raises(ValueError, match=f"has no revision '{revision}'.*a branch, a tag or a commit"):
        get(revision=revision)


def test_a_right_revision(hub: Hub, get: Callable[..., Fetched]) -> None:
    commit = hub.repos[ID].commit
    assert get(revision="main").revision == get(revision=commit).revision == commit


def test_a_gated_model(hub: Hub, get: Callable[..., Fetched]) -> None:
    hub.repos[ID].gated = True
    with pytest.raises(ValueError, match=f"gated: accept its license at {hub.url}/{ID}, then make a token.*HF_TOKEN"):
        get(token=False)
    with pytest.raises(ValueError, match="your token has no access to it yet"):
        get(token="hf_other")
    assert (get(token=hub.token).folder / WEIGHTS).is_file()


def test_what_is_not_there_or_private(hub: Hub, get: Callable[..., Fetched]) -> None:
    with pytest.raises(ValueError, match="no model repository 'someone/else'.* If it is private, make a token"):
        get("someone/else", token=False)
    with pytest.raises(ValueError, match=r"There is no model repository 'someone/else' on the hub. Check owner"):
        get("someone/else", token=hub.token)
    hub.repos[ID].private = True
    with pytest.raises(ValueError, match="There is no model repository"):
        get(token=False)
    assert get(token=hub.token)
    with pytest.raises(ValueError, match="A hub id reads like 'owner/name'; got 'a/b/c'"):
        get("a/b/c")


@pytest.mark.parametrize(("status", "message"), [(403, "refuses access"), (429, "too many requests"), (418, "418")])
def test_other_answers(status: int, message: str, hub: Hub, get: Callable[..., Fetched]) -> None:
    hub.status = status
    with pytest.raises(ValueError, match=message):
        get(token="hf_other")


def test_a_full_disk(hub: Hub, get: Callable[..., Fetched], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(downloads.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(ValueError, match=r"no room for .*: [\d.]+ kB are needed and 1 kB are free.*HF_HOME"):
            get()
    assert not [path for path in hub.fetched() if "/resolve/" in path]  # refused before the first byte

    def half(url: str, file, **options: object) -> None:
        file.write(hub.repos[ID].files[WEIGHTS][:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="no room for .*What has arrived is kept"):
        patch.setattr(downloads, "http_get", half)
        get()
    get()
    assert [asked for _, path, asked in hub.requests if path.endswith(WEIGHTS) and asked] == ["bytes=100-"]


def test_a_corrupt_file_is_removed(hub: Hub, get: Callable[..., Fetched], tmp_path: Path) -> None:
    hub.corrupt = True
    with pytest.raises(ValueError, match=f"{WEIGHTS} of {ID} is corrupt: its SHA-256.*removed; fetch it again"):
        get()
    assert not list((tmp_path / "cache").rglob("*.part")) and not list((tmp_path / "cache").rglob(WEIGHTS))
    hub.corrupt = False
    assert get()


def test_a_resumed_file_that_was_damaged_meanwhile(hub: Hub, get: Callable[..., Fetched], tmp_path: Path) -> None:
    hub.cut = [9000] + [0] * 50
    with pytest.raises(ValueError, match="broke"):
        get()
    (part,) = (tmp_path / "cache").rglob("*.part")
    part.write_bytes(b"?" + part.read_bytes()[1:])
    hub.cut = []
    with pytest.raises(ValueError, match="is corrupt"):
        get()
    assert get()


def test_pickles_are_refused_before_a_byte_of_them(hub: Hub, get: Callable[..., Fetched]) -> None:
    del hub.repos[ID].files[WEIGHTS]
    with pytest.raises(ValueError, match=f"{ID}: .*only pickled ones .pytorch_model.bin., which can run code"):
        get()
    assert not [path for _, path, _ in hub.requests if "/resolve/" in path]


def test_offline_with_a_warm_cache(hub: Hub, get: Callable[..., Fetched], monkeypatch: pytest.MonkeyPatch) -> None:
    first = get()
    hub.status = 503
    assert get() == first
    hub.status = None
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert get() == get(revision="main") == get(revision=first.revision) == first
    with pytest.raises(ValueError, match="offline mode is on .HF_HUB_OFFLINE., and there is no earlier download"):
        get("someone/else")
    with pytest.raises(ValueError, match="no earlier download"):
        get(revision="v2")
    (first.folder / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="an earlier download is not whole"):
        get()
    assert not hub.requests


def test_a_hub_that_does_not_answer(hub: Hub, tmp_path: Path) -> None:
    hub.__exit__()
    with pytest.raises(ValueError, match="the hub does not answer .*no earlier download"):
        fetch(ID, cache=tmp_path, endpoint=hub.url)
    hub.__enter__()


def test_which_files_make_a_model() -> None:
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    rest = ["config.json", "model.safetensors.index.json", "tokenizer.model"]
    noise = ["README.md", "flax_model.msgpack", "original/consolidated.safetensors", "run.py", "adapter_config.json"]
    assert model_files([*shards, *rest, *noise]) == [*rest, *shards]
    # As transformers does: one file is taken before parts.
    assert model_files([*shards, *rest, WEIGHTS])[-1] == WEIGHTS
    with pytest.raises(ValueError, match="in 2 parts; 1 of them"):
        model_files([shards[0], *rest])
    with pytest.raises(ValueError, match="holds a config.json"):
        model_files([WEIGHTS])
    with pytest.raises(ValueError, match="this repository has none"):
        model_files(["config.json", "adapter_model.safetensors"])
    with pytest.raises(ValueError, match="is no model: it holds an adapter"):
        model_files(["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"])


def test_an_adapter_beside_a_whole_model_is_ignored_with_a_note(hub: Hub, get: Callable[..., Fetched]) -> None:
    hub.repos[ID].files |= {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x" * 9000}
    with pytest.warns(UserWarning, match="also holds an adapter .* neither fetched nor applied"):
        found = get()
    assert (found.folder / WEIGHTS).is_file() and not list(found.folder.glob("adapter*"))
    assert not any("adapter" in path for path in hub.fetched())
