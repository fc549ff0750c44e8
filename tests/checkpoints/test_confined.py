"""On a server that others use only the operator's folders are open: no absolute path, `..` or link leads out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from steering.checkpoints import confined
from steering.checkpoints.confined import VARIABLE, allowed, confine, may_open
from steering.checkpoints.folders import look
from steering.checkpoints.places import source_of
from steering.jobs.files import home
from steering.models.model import Model
from steering.saes.loading import load_sae
from steering.saes.texts import texts_of
from steering.ui.shared import serving


@pytest.fixture(autouse=True)
def lifted() -> Iterator[None]:
    yield
    confine(None)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A folder that is open and one that is not, with a secret in it."""
    inside, outside = tmp_path / "open", tmp_path / "closed"
    for folder in (inside, outside):
        folder.mkdir()
    (outside / "secret.txt").write_text("secret", encoding="utf-8")
    confine([inside])
    return inside, outside


def test_everything_is_open_where_nobody_confined_it(tmp_path: Path) -> None:
    assert allowed(tmp_path) == tmp_path and not confined.is_confined()


def test_absolute_paths_dots_and_links_do_not_lead_out(places: tuple[Path, Path]) -> None:
    inside, outside = places
    (inside / "link").symlink_to(outside)
    (inside / "folder").mkdir()
    (inside / "folder" / "model.safetensors").symlink_to(outside / "secret.txt")
    (inside / "circle").symlink_to(inside / "circle")
    closed = [
        outside, outside / "secret.txt", outside / "nothing", inside / ".." / "closed", inside / "link", Path("/"),
        inside / "link" / "secret.txt", inside / "folder", inside / "circle" / "x", inside.parent,
        Path(f"{inside}-beside"), "~", "a\0b",
    ]  # fmt: skip
    for path in closed:
        with pytest.raises(ValueError, match="not in a folder that is open"):
            allowed(path)
    assert allowed(inside / "model") == inside / "model" and may_open(inside)
    (inside / "to itself").symlink_to(inside / "folder" / "..")
    assert may_open(inside / "to itself")


def test_what_exists_and_what_does_not_get_the_same_sentence(places: tuple[Path, Path]) -> None:
    _, outside = places
    said = set()
    for name in ("secret.txt", "nothing"):
        with pytest.raises(ValueError) as caught:
            source_of(outside / name)
        said.add(str(caught.value).replace(name, "NAME"))
    assert len(said) == 1


def test_models_saes_texts_and_data_sets_ask_before_they_open(
    places: tuple[Path, Path], tiny_llama: Model, checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = places
    model = Path(checkpoint("llama"))
    monkeypatch.chdir(model.parent)
    for name in (str(model), model.name, f"./{model.name}", os.path.relpath(model)):
        with pytest.raises(ValueError, match="not in a folder"):
            source_of(name)
        assert look(name).kind == "nothing" and "not in a folder" in look(name).sentence
    with pytest.raises(ValueError, match="not in a folder"):
        load_sae(tiny_llama, str(outside))
    with pytest.raises(ValueError, match="not in a folder"):
        load_sae(tiny_llama, str(inside), "../closed")
    with pytest.raises(ValueError, match="not in a folder"):
        texts_of(outside / "secret.txt")
    for name in ("hub:/etc", f"hub:{outside}", "hub:../closed", f"hub:{model.name}"):
        with pytest.raises(ValueError, match="owner/name"):
            texts_of(name)
    confine([model.parent])
    assert source_of(str(model)) == str(model) and look(model).kind == "model"


def test_names_stay_free(places: tuple[Path, Path]) -> None:
    assert Path(source_of("organism")).name == "organism"
    assert source_of("openai-community/gpt2") == "openai-community/gpt2"


@pytest.mark.parametrize(
    ("address", "named", "open_"),
    [
        ("127.0.0.1", None, None),
        ("0.0.0.0", None, ()),
        ("192.168.1.7", "/data:/more", ("/data", "/more")),
        ("127.0.0.1", "", ()),  # behind a proxy
        ("localhost", "/data", ("/data",)),
    ],
)
def test_serving_others_confines(
    address: str, named: str | None, open_: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if named is not None:
        monkeypatch.setenv(VARIABLE, named.replace(":", os.pathsep))
    serving.begin(address)
    own = home() / serving.TRAINED  # what was trained here is opened by its folder
    assert confined._folders == (None if open_ is None else tuple(Path(one).resolve() for one in (*open_, own)))


def test_the_server_listens_on_this_machine_only_by_default() -> None:
    import tomllib

    settings = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert settings["server"]["address"] in serving.LOOPBACK
    assert set(settings["server"]["allowedHosts"]) <= set(serving.LOOPBACK)
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    assert "--server.address" not in makefile.partition("\nrun:")[2].partition("\n\n")[0]
