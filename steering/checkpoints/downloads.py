"""Fetch the needed files of a Hugging Face hub repository, with progress in bytes, cancel and resume.

The hub's own client makes the requests and its cache is the store, so files are shared with other tools. Two things are
added: a broken transfer is resumed (the client starts the file again), and SHA-256 is checked (the client checks the
size only). Only safetensors, JSON and tokenizer files are fetched.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, get_token, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers, silent_tqdm

from .wholeness import adapter_sentence, has_adapter

Tick = Callable[[int, int], None]  # bytes that are here, bytes in all; may raise to cancel
Choose = Callable[[Iterable[str]], list[str]]  # of a repository's file names those that are wanted

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_SHARD = re.compile(r"^model-(\d+)-of-(\d+)\.safetensors$")
_TOKENIZER = ("tokenizer.model", "vocab.txt", "merges.txt", "chat_template.jinja", "spiece.model", "vocab.bpe")
_NO_MODEL_JSON = ("adapter_config.json", "trainer_state.json", "all_results.json", "train_results.json")
_ROOM = 64 << 20  # bytes that are left free on a disk


@dataclass(frozen=True)
class Fetched:
    """A folder with the files that were asked for, and the commit they are of."""

    folder: Path
    revision: str


def model_files(names: Iterable[str]) -> list[str]:
    """The files of a repository that make a model: config, one set of safetensors, tokenizer, chat template.

    An adapter beside a whole model is left out: what is opened is the model.

    Raises:
        ValueError: there is no config.json, only an adapter, no safetensors, only pickles, or a part of the weights is
            missing.
    """
    top = sorted(name for name in names if "/" not in name)
    if "config.json" not in top:
        if has_adapter(top):
            raise ValueError(f"The repository is no model: {adapter_sentence({})}")
        raise ValueError("A model repository holds a config.json; this one has none. Is it a Hugging Face checkpoint?")
    if "model.safetensors" in top:
        weights = ["model.safetensors"]
    else:
        weights = [name for name in top if _SHARD.match(name)]
        if not weights:
            pickles = [name for name in top if name.endswith(_PICKLES)]
            found = f"only pickled ones ({pickles[0]}), which can run code when read" if pickles else "none"
            raise ValueError(
                f"Weights are read from model.safetensors; this repository has {found}. "
                "Use a repository or revision with safetensors, or convert it where you trust it."
            )
        parts = int(_SHARD.match(weights[0])[2])  # type: ignore[index]
        if len(weights) != parts:
            raise ValueError(f"The weights come in {parts} parts; {len(weights)} of them are here. Fetch them again.")
    small = [n for n in top if n in _TOKENIZER or (n.endswith(".json") and n not in _NO_MODEL_JSON)]
    return small + weights


def fetch(
    repo: str,
    choose: Choose = model_files,
    *,
    revision: str | None = None,
    tick: Tick | None = None,
    cache: str | Path | None = None,
    endpoint: str | None = None,
    token: str | bool | None = None,
) -> Fetched:
    """The chosen files of a hub repository, in the hub's cache; nothing is transferred twice.

    Offline, and where the hub does not answer, an earlier download is used if it is whole.

    Args:
        revision: branch, tag or commit; default the main branch.
        tick: called with the bytes that are here and the bytes in all. What it raises ends the transfer; the same call
            goes on from there.
        token: default the one of the environment (HF_TOKEN) or of `hf auth login`.

    Raises:
        ValueError: no such repository or revision, no access, no room on the disk, a corrupt file, no network and no
            earlier download, or `choose` found nothing that can be read.
    """
    api = HfApi(endpoint=endpoint, token=token)
    home = Path(cache or constants.HF_HUB_CACHE).expanduser()
    try:
        info = api.model_info(repo, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (httpx2.TransportError, OfflineModeIsEnabled) as error:
        return _cached(repo, choose, revision, home, error)
    except HfHubHTTPError as error:
        if error.response.status_code >= 500:
            return _cached(repo, choose, revision, home, error)
        raise ValueError(_explain(error, repo, revision, token, api.endpoint)) from error
    except HFValidationError as error:
        raise ValueError(f"A hub id reads like 'owner/name'; got {repo!r}.") from error
    files = {file.rfilename: file for file in info.siblings or ()}
    try:
        names = choose(files)
    except ValueError as error:
        raise ValueError(f"{repo}: {error}") from error
    if choose is model_files and has_adapter(files):
        warnings.warn(
            f"{repo} also holds an adapter (adapter_config.json), which is neither fetched nor applied: what is opened "
            "is the model without it.",
            stacklevel=2,
        )
    commit = str(info.sha)
    sizes = {name: files[name].size or 0 for name in names}
    transfer = _Transfer(repo, commit, home, api, tick, sum(sizes.values()))
    snapshot = transfer.store / "snapshots" / commit
    missing = [name for name in names if not (snapshot / name).exists()]
    transfer.done = sum(sizes[name] for name in names if name not in missing)
    try:
        large = {}
        for name in missing:
            lfs = files[name].lfs
            if lfs is not None and re.fullmatch(r"[0-9a-f]{64}", lfs.sha256):
                large[lfs.sha256] = name
        transfer.check_room(sum(sizes[name] for name in missing) - transfer.here(large))
        for sha, name in large.items():
            transfer.large(name, sha, sizes[name])
        # The rest, and the links from the snapshot to what is here.
        folder = snapshot_download(
            repo, revision=revision or commit, cache_dir=home, endpoint=endpoint, token=token,
            allow_patterns=[_literal(name) for name in names], max_workers=2, tqdm_class=_Silent,  # type: ignore[arg-type]
        )  # fmt: skip
        if revision is None:
            _remember(transfer.store, commit)
    except HfHubHTTPError as error:
        raise ValueError(_explain(error, repo, revision, token, api.endpoint)) from error
    except LocalEntryNotFoundError as error:
        cause = error.__cause__
        if isinstance(cause, HfHubHTTPError):
            raise ValueError(_explain(cause, repo, revision, token, api.endpoint)) from error
        raise ValueError(f"{repo} could not be fetched: {error}") from error
    except httpx2.TransportError as error:
        raise ValueError(
            f"The connection to the hub broke while {repo} was fetched ({type(error).__name__}). "
            "What has arrived is kept; fetch it again to go on from there."
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise ValueError(f"{repo} could not be written to {str(home)!r}: {error}") from error
        raise ValueError(_full(repo, home, None)) from error
    transfer.report(transfer.total)
    return Fetched(Path(folder), Path(folder).name)


class _Silent(silent_tqdm):
    """Progress is reported through `tick`; the client's own progress bars are turned off."""

    total = 0

    def refresh(self) -> None: ...
    def set_description(self, *args: Any, **kwargs: Any) -> None: ...
    def set_description_str(self, *args: Any, **kwargs: Any) -> None: ...
    def set_postfix_str(self, *args: Any, **kwargs: Any) -> None: ...


class _Transfer:
    """The large files of one repository on their way into the cache."""

    def __init__(self, repo: str, commit: str, home: Path, api: HfApi, tick: Tick | None, total: int) -> None:
        self.repo, self.commit, self.home, self.api, self.total = repo, commit, home, api, total
        self.tick, self.done = tick or (lambda done, total: None), 0
        self.store = home / repo_folder_name(repo_id=repo, repo_type="model")

    def report(self, done: int) -> None:
        self.tick(done, self.total)

    def part(self, sha: str) -> Path:
        """The path of a partial file while it is being downloaded."""
        return self.store / "blobs" / f"{sha}.part"

    def here(self, large: Iterable[str]) -> int:
        """Bytes of earlier, unfinished transfers of these files."""
        paths = [path for sha in large for path in (self.part(sha), self.store / "blobs" / sha)]
        return sum(path.stat().st_size for path in paths if path.is_file())

    def check_room(self, needed: int) -> None:
        """Raise ValueError if the disk has too little room for what is still to be downloaded."""
        there = next(path for path in (self.home, *self.home.parents) if path.is_dir())
        if shutil.disk_usage(there).free < needed + _ROOM:
            raise ValueError(_full(self.repo, self.home, needed))

    def large(self, name: str, sha: str, size: int) -> None:
        """Download one file into the cache, continuing where an earlier transfer stopped.

        Raises:
            ValueError: what arrived is not what the hub says it is.
        """
        part, blob = self.part(sha), self.store / "blobs" / sha
        part.parent.mkdir(parents=True, exist_ok=True)
        lock = self.home / ".locks" / self.store.name / f"{sha}.part.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            if not blob.is_file():
                self._receive(name, part, size)
                if _sha256(part) != sha:
                    part.unlink()
                    raise ValueError(
                        f"{name} of {self.repo} is corrupt: its SHA-256 is not the one that the hub gives. It has been "
                        "removed; fetch it again."
                    )
                part.replace(blob)
        self.done += size

    def _receive(self, name: str, part: Path, size: int) -> None:
        base, transfer = self.done, self

        class Bar(_Silent):
            def __init__(self, *args: Any, initial: int = 0, **kwargs: Any) -> None:
                self.bytes = initial

            def update(self, n: int | float | None = 1) -> None:
                self.bytes += int(n or 0)
                transfer.report(base + self.bytes)

        url = hf_hub_url(self.repo, name, revision=self.commit, endpoint=self.api.endpoint)
        while True:
            before = part.stat().st_size if part.is_file() else 0
            if before > size:  # longer than the file itself: useless
                part.unlink()
                before = 0
            try:
                with part.open("ab") as file:
                    self.report(base + before)
                    http_get(
                        url,
                        file,
                        resume_size=before,
                        headers=build_hf_headers(token=self.api.token),
                        expected_size=size,
                        tqdm_class=Bar,  # type: ignore[arg-type]
                    )
                return
            except httpx2.TransportError:
                if part.stat().st_size <= before:  # no byte came since the last try
                    raise


def _remember(store: Path, commit: str) -> None:
    """Remember which commit the main branch was at, for when there is no network."""
    (store / "refs").mkdir(parents=True, exist_ok=True)
    (store / "refs" / "main").write_text(commit)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _literal(name: str) -> str:
    """A glob pattern that matches only this name."""
    return re.sub(r"([*?[])", r"[\1]", name)


def kept(
    repo: str, choose: Choose = model_files, *, revision: str | None = None, cache: str | Path | None = None
) -> Fetched | None:
    """An earlier, complete download of a repository, or None; makes no network request."""
    try:
        return _whole(repo, choose, revision, Path(cache or constants.HF_HUB_CACHE).expanduser())
    except (ValueError, HFValidationError):
        return None


def kept_repositories(cache: str | Path | None = None) -> list[str]:
    """The model repositories that are (wholly or partly) in the hub's cache, by id."""
    home = Path(cache or constants.HF_HUB_CACHE).expanduser()
    return sorted(folder.name.removeprefix("models--").replace("--", "/", 1) for folder in home.glob("models--*--*"))


def _whole(repo: str, choose: Choose, revision: str | None, home: Path) -> Fetched | None:
    """An earlier download of the same revision, or None.

    Raises:
        ValueError: there is one, but it is not whole.
    """
    store = home / repo_folder_name(repo_id=repo, repo_type="model")
    ref = store / "refs" / (revision or "main")
    commit = ref.read_text().strip() if ref.is_file() else revision or ""
    folder = store / "snapshots" / commit
    if not commit or not folder.is_dir():
        return None
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return Fetched(folder, commit) if choose(names) else None


def _cached(repo: str, choose: Choose, revision: str | None, home: Path, why: Exception) -> Fetched:
    """An earlier, complete download of the same revision, or None."""
    off = constants.is_offline_mode()
    how = "offline mode is on (HF_HUB_OFFLINE)" if off else f"the hub does not answer ({type(why).__name__})"
    problem = "there is no earlier download of it"
    try:
        if found := _whole(repo, choose, revision, home):
            return found
    except ValueError as error:
        problem = f"an earlier download is not whole ({error})"
    todo = "Unset it and fetch again" if off else "Connect and fetch it again"
    raise ValueError(f"{repo} cannot be fetched: {how}, and {problem}. {todo}.") from why


def _explain(error: HfHubHTTPError, repo: str, revision: str | None, token: str | bool | None, endpoint: str) -> str:
    """One sentence for a hub error: what it means, and what to do."""
    status = error.response.status_code
    have = bool(token if isinstance(token, str) else token is not False and get_token())
    give = "make a token with read access in your account's settings and set HF_TOKEN (or run `hf auth login`)"
    if isinstance(error, GatedRepoError):
        ask = f"accept its license at {endpoint}/{repo}"
        if have:
            return f"{repo} is gated and your token has no access to it yet: {ask} with the account of the token."
        return f"{repo} is gated: {ask}, then {give}."
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}: give a branch, a tag or a commit that is listed on its page."
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        private = "" if have else f" If it is private, {give}."
        return f"There is no model repository {repo!r} on the hub. Check owner and name.{private}"
    if status in (401, 403):
        return f"The hub refuses access to {repo} ({status}): check that your token is valid and may read it."
    if status == 429:
        return f"The hub has had too many requests (429). Wait a few minutes and fetch {repo} again."
    return f"The hub answered {status} for {repo}. What has arrived is kept; try again later."


def _full(repo: str, home: Path, needed: int | None) -> str:
    there = next(path for path in (home, *home.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    need = "" if needed is None else f"{_size(needed)} are needed and "
    return (
        f"There is no room for {repo} on the disk of {str(home)!r}: {need}{_size(free)} are free. Make room, or set "
        "HF_HOME to a folder on a larger disk. What has arrived is kept."
    )


def _size(number: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"
