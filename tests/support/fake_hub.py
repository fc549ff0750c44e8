"""A model hub on 127.0.0.1 that answers what the huggingface_hub client asks, and that can misbehave.

`Hub` is used in a `with` block; `hub.add("owner/name", folder)` serves the files of a folder as one commit. Faults are
set per repository (`gated`, `private`) or for the next requests (`cut`, `corrupt`, `status`).
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repo:
    """One repository: its files, and who may read them. A file of these endings is stored as large (with a SHA-256)."""

    name: str
    files: dict[str, bytes]
    gated: bool = False
    private: bool = False
    large: tuple[str, ...] = (".safetensors", ".npz", ".bin", ".pt")

    @property
    def commit(self) -> str:
        digest = hashlib.sha1(self.name.encode())
        for name in sorted(self.files):
            digest.update(name.encode() + hashlib.sha1(self.files[name]).digest())
        return digest.hexdigest()

    def etag(self, name: str) -> str:
        data = self.files[name]
        if name.endswith(self.large):
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Hub:
    """The server. `requests` lists (method, path, Range header) of everything that was asked."""

    token: str = "hf_good"
    repos: dict[str, Repo] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)  # the next transfers of a large file end after so many bytes
    corrupt: bool = False  # large files arrive with a flipped byte
    status: int | None = None  # every answer is this
    slow: float = 0.0  # seconds between two pieces (of 4096 bytes) of a large file
    pages: dict[str, bytes] = field(default_factory=dict)  # path -> JSON, for what is no repository

    def __enter__(self) -> Hub:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None: ...

            def do_HEAD(self) -> None:
                hub._answer(self, body=False)

            def do_GET(self) -> None:
                hub._answer(self, body=True)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, name: str, folder: Path, prefix: str = "", **options: object) -> Repo:
        """Serve the files of a folder; a second call adds to the repository."""
        files = {
            prefix + path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        if name in self.repos:
            self.repos[name].files.update(files)
        else:
            self.repos[name] = Repo(name, files, **options)  # type: ignore[arg-type]
        return self.repos[name]

    def fetched(self, suffix: str = "") -> list[str]:
        """Paths of the files that were transferred (not only asked about)."""
        return [path for method, path, _ in self.requests if method == "GET" and path.endswith(suffix)]

    # What is answered -----------------------------------------------------------------------------------------------

    def _answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        path = unquote(urlsplit(request.path).path)
        self.requests.append((request.command, path, request.headers.get("Range")))
        may = request.headers.get("Authorization") == f"Bearer {self.token}"
        if self.status is not None:
            return _send(request, self.status, b"{}")
        if path in self.pages:
            return _send(request, 200, self.pages[path])
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+)|/tree/(.+))?", path):
            return self._about(request, self.repos.get(match[1]), match[2] or match[3], bool(match[3]), may)
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(request, self.repos.get(match[1]), match[2], match[3], body, may)
        return _send(request, 404, b"{}", error="RepoNotFound")

    def _about(self, request, repo: Repo | None, revision: str | None, tree: bool, may: bool) -> None:
        if repo is None or (repo.private and not may):
            # The hub does not say whether a repository exists to those who may not read it.
            return _send(request, 404 if may else 401, b"{}", error="RepoNotFound")
        if revision not in (None, "main", repo.commit):
            return _send(request, 404, b"{}", error="RevisionNotFound")
        entries = []
        for name, data in repo.files.items():
            large = name.endswith(repo.large)
            lfs = {"sha256": repo.etag(name), "size": len(data), "pointerSize": 134} if large else None
            oid = hashlib.sha1(name.encode()).hexdigest() if large else repo.etag(name)
            if tree:
                about = {"type": "file", "oid": oid, "size": len(data), "path": name}
                lfs = lfs and {"oid": lfs["sha256"], "size": len(data), "pointerSize": 134}
            else:
                about = {"rfilename": name, "size": len(data), "blobId": oid}
            entries.append({**about, **({"lfs": lfs} if lfs else {})})
        if tree:
            return _send(request, 200, json.dumps(entries).encode())
        gated = "manual" if repo.gated else False
        about = {"id": repo.name, "modelId": repo.name, "sha": repo.commit, "siblings": entries, "gated": gated,
                 "private": repo.private, "tags": [], "downloads": 0, "likes": 0}  # fmt: skip
        return _send(request, 200, json.dumps(about).encode())

    def _file(self, request, repo: Repo | None, revision: str, name: str, body: bool, may: bool) -> None:
        if repo is None or (repo.private and not may):
            return _send(request, 404 if may else 401, b"", error="RepoNotFound")
        if repo.gated and not may:
            status = 403 if request.headers.get("Authorization") else 401
            return _send(request, status, b"", error="GatedRepo")
        if revision not in ("main", repo.commit):
            return _send(request, 404, b"", error="RevisionNotFound")
        if name not in repo.files:
            return _send(request, 404, b"", error="EntryNotFound", commit=repo.commit)
        data, large = repo.files[name], name.endswith(repo.large)
        if large and self.corrupt:
            data = data[:-1] + bytes([data[-1] ^ 1])
        headers = {"ETag": f'"{repo.etag(name)}"', "Accept-Ranges": "bytes"}
        if large:
            headers |= {"X-Linked-ETag": f'"{repo.etag(name)}"', "X-Linked-Size": str(len(data))}
        asked, status, first = request.headers.get("Range"), 200, 0
        if asked and body:
            first, status = int(asked.removeprefix("bytes=").partition("-")[0]), 206
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        stop = self.cut.pop(0) if large and body and self.cut else None
        pause = self.slow if large else 0.0
        return _send(
            request, status, data[first:], commit=repo.commit, body=body, stop=stop, headers=headers, pause=pause
        )


def point_at(monkeypatch: Any, url: str, cache: Path) -> None:
    """Make the client of this process know only this hub, without a token, in small chunks and without waiting."""
    from huggingface_hub import constants

    for name, value in {
        "HF_HUB_OFFLINE": False, "HF_HUB_CACHE": str(cache), "ENDPOINT": url, "DOWNLOAD_CHUNK_SIZE": 4096,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_TOKEN_PATH": str(cache / "no-token"),
    }.items():  # fmt: skip
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", _no_wait)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def _no_wait(seconds: float) -> None: ...


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    data: bytes,
    *,
    error: str | None = None,
    commit: str | None = None,
    body: bool = True,
    stop: int | None = None,
    headers: dict[str, str] | None = None,
    pause: float = 0.0,
) -> None:
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    if error:
        request.send_header("X-Error-Code", error)
    if commit:
        request.send_header("X-Repo-Commit", commit)
    request.send_header("Content-Length", str(len(data)))
    if stop is not None:
        request.send_header("Connection", "close")
    request.end_headers()
    if body and request.command != "HEAD":
        data = data if stop is None else data[:stop]
        for start in range(0, len(data), 4096) if pause else [0]:
            # Not time.sleep, which the tests of the client take away. A client that has gone away ends it.
            threading.Event().wait(pause)
            try:
                request.wfile.write(data[start : start + 4096] if pause else data)
            except OSError:
                request.close_connection = True
                return
        request.wfile.flush()
    if stop is not None:
        request.close_connection = True
