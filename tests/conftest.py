"""Fixtures: tiny checkpoints and SAEs on disk, and the models loaded from them. Offline, one thread."""

from __future__ import annotations

import os
import tempfile

# Before anything imports torch: a second thread on a busy machine costs many times what it saves, and no test may
# reach the network or write into a user's home.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TILLER_MODEL"] = "organism"  # what the pages' tests and journeys are about
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TILLER_HOME"] = tempfile.mkdtemp(prefix="tiller-tests-")

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "support")]  # `import tiny_models`, `from reference import sara`
torch.set_num_threads(1)

# Shapes and types of every annotated function of these modules are checked while the tests run. (Not `sites`
# and `pairs`: they have no shapes, and their own messages for a value of a wrong type are what is to be seen.)
CHECKED = [
    f"steering.{name}"
    for name in (
        "models.model",
        "saes.sae",
        "directions.activations",
        "directions.estimators",
        "directions.direction",
        "measurements.numbers",
        "statistics",
    )
]
install_import_hook(CHECKED, "type_checks.typechecked")

import tiny_models as tiny  # noqa: E402
from small_indexes import SMALL, TEXTS  # noqa: E402
from transformers.utils import logging as transformers_logging  # noqa: E402

from steering.features import (  # noqa: E402
    FeatureIndex,
    Notes,
    build,
)
from steering.models.loading import load_model  # noqa: E402
from steering.models.model import Model  # noqa: E402
from steering.saes.loading import load_sae  # noqa: E402
from steering.saes.sae import Sae  # noqa: E402

transformers_logging.disable_progress_bar()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """checkpoint("llama") -> the folder of a tiny random checkpoint of that family."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            made[family] = tiny.write_checkpoint(family, tmp_path_factory.mktemp("models") / f"tiny-{family}")
        return made[family]

    return make


@pytest.fixture(scope="session")
def model(checkpoint: Callable[[str], Path]) -> Callable[[str], Model]:
    """model("llama") -> that tiny model, loaded once in a session. Leave it as you found it."""
    loaded: dict[str, Model] = {}

    def load(family: str) -> Model:
        if family not in loaded:
            loaded[family] = load_model(checkpoint(family), device="cpu", threads=1)
        return loaded[family]

    return load


@pytest.fixture(scope="session", params=["gpt2", "llama", "gemma2"])
def family(request: pytest.FixtureRequest) -> str:
    """A test that asks for `family` or `lm` runs on three architectures."""
    return request.param


@pytest.fixture(scope="session")
def lm(family: str, model: Callable[[str], Model]) -> Model:
    return model(family)


@pytest.fixture(scope="session")
def tiny_llama(model: Callable[[str], Model]) -> Model:
    return model("llama")


@pytest.fixture(scope="session")
def tiny_gpt2(model: Callable[[str], Model]) -> Model:
    return model("gpt2")


@pytest.fixture(scope="session")
def tiny_gemma2(model: Callable[[str], Model]) -> Model:
    """The one with BOS and a chat template."""
    return model("gemma2")


@pytest.fixture(scope="session")
def sae_folder(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """sae_folder("topk", family="llama", layer=1, ...) -> a SAELens folder; further options as in `tiny.write_sae`."""
    made: dict[str, Path] = {}

    def make(architecture: str, family: str = "llama", **options: object) -> Path:
        key = repr((architecture, family, sorted(options.items())))
        if key not in made:
            folder = tmp_path_factory.mktemp("saes") / f"{family}-{architecture}"
            made[key] = tiny.write_sae(architecture, folder, checkpoint(family), **options)
        return made[key]

    return make


@pytest.fixture(scope="session")
def sae_of(model: Callable[[str], Model], sae_folder: Callable[..., Path]) -> Callable[..., Sae]:
    """sae_of("gated", family="llama") -> that SAE, loaded for `model(family)`."""

    def load(architecture: str, family: str = "llama", **options: object) -> Sae:
        return load_sae(model(family), sae_folder(architecture, family, **options))

    return load


@pytest.fixture
def clean_caches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests of pages: nothing of one test reaches the next; engines are closed with the shelf that holds them.

    What a page reads is waited for, however busy the machine is, instead of being drawn around.
    """
    import streamlit as st

    from steering.ui.shared import readings

    monkeypatch.setattr(readings, "QUICK", 100.0)
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def folder(checkpoint: Callable[[str], Path]) -> str:
    """A model loaded by its folder: no SAE, no chat template."""
    return str(checkpoint("llama"))


@pytest.fixture(scope="session")
def tiny_sae(sae_of: Callable[..., Sae]) -> Sae:
    return sae_of("standard")


@pytest.fixture(scope="session")
def index(tiny_llama: Model, tiny_sae: Sae, tmp_path_factory: pytest.TempPathFactory) -> FeatureIndex:
    folder = tmp_path_factory.mktemp("index")
    build(tiny_llama, tiny_sae, TEXTS, folder, settings=SMALL)
    return FeatureIndex.open(folder, Notes(folder / "home" / "notes.sqlite"))
