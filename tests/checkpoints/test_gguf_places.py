"""GGUF files where other programs put them are found by name, and the bundled chat model by its package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steering.checkpoints import bundled, gguf_places
from steering.checkpoints.gguf_file import MAGIC
from steering.checkpoints.gguf_places import found_files, ollama_file
from steering.checkpoints.places import source_of


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LLAMA_CACHE", "OLLAMA_MODELS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(gguf_places.sys, "platform", "linux")
    return tmp_path


def put(path: Path, content: bytes = MAGIC + b"\x03") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def manifest(home: Path, name: str, digest: str) -> None:
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:77"},
        {"mediaType": "application/vnd.ollama.image.model", "digest": digest},
    ]
    put(home / ".ollama/models/manifests" / name, json.dumps({"layers": layers}).encode())


def test_the_files_of_other_programs_are_found(home: Path) -> None:
    put(home / ".cache/llama.cpp/a_b_model.gguf")
    put(home / ".lmstudio/models/owner/repo/model-Q4.gguf")
    put(home / ".lmstudio/models/owner/repo/mmproj-model.gguf")
    put(home / ".lmstudio/models/owner/repo/fake.gguf", b"text")
    put(home / "hub/models--o--r/snapshots/abc/model.gguf")
    blob = put(home / ".ollama/models/blobs/sha256-ab12")
    manifest(home, "registry.ollama.ai/library/llama3.2/1b", "sha256:ab12")
    manifest(home, "registry.ollama.ai/someone/own/latest", "sha256:ab12")
    manifest(home, "registry.ollama.ai/library/gone/latest", "sha256:cd34")
    found = {(place.program, place.source) for place in found_files()}
    assert found == {
        ("Ollama", "ollama:llama3.2:1b"),  # the other name is of the same file
        ("llama.cpp", str(home / ".cache/llama.cpp/a_b_model.gguf")),
        ("LM Studio", str(home / ".lmstudio/models/owner/repo/model-Q4.gguf")),
        ("Hugging Face cache", str(home / "hub/models--o--r/snapshots/abc/model.gguf")),
    }
    assert ollama_file("ollama:llama3.2:1b") == blob == ollama_file("ollama:someone/own")
    assert ollama_file("ollama:llama3.2") is None
    with pytest.raises(ValueError, match="Ollama has no model 'gone'"):
        source_of("ollama:gone")


@pytest.mark.parametrize("digest", ["sha256:../../../secret", "", "sha256:", "md5:ab"])
def test_a_manifest_does_not_lead_out_of_its_folder(home: Path, digest: str) -> None:
    put(home / ".ollama/models/secret")
    manifest(home, "registry.ollama.ai/library/x/latest", digest)
    assert found_files() == []


def test_the_chat_model_is_bundled_where_its_package_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "CHAT_PACKAGE", "tiller_no_such_package")
    assert "smollm2" not in bundled.bundled_models() and "organism" in bundled.bundled_models()
    with pytest.raises(ValueError, match=r"requirements-model\.txt"):
        source_of("smollm2")
    put(tmp_path / "tiller_no_such_package/x.gguf")
    # Found without being run: this would raise.
    put(tmp_path / "tiller_no_such_package/__init__.py", b"raise SystemExit")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "smollm2" in bundled.bundled_models() and bundled.chat_model_file() is not None
    assert bundled.bundled_place("smollm2") == tmp_path / "tiller_no_such_package/x.gguf"
    assert bundled.bundled_place("../organism") is None


def test_the_dashboard_opens_with_the_chat_model_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TILLER_MODEL")
    monkeypatch.setattr(bundled, "chat_model_file", lambda: None)
    assert bundled.default_model() == "organism"
    monkeypatch.setattr(bundled, "chat_model_file", lambda: tmp_path / "x.gguf")
    assert bundled.default_model() == "smollm2"
    monkeypatch.setenv("TILLER_MODEL", "organism")
    assert bundled.default_model() == "organism"
