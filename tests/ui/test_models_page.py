"""The Models page as a visitor uses it, through app.py, against a hub on loopback: choose, download, load, use."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from fake_hub import Hub, point_at
from open_pages import fine, open_page
from streamlit.testing.v1 import AppTest

from steering.jobs.jobs import Job
from steering.models import packing
from steering.recipes.sources import Source
from steering.sites import Site
from steering.ui.library import folder_page, models_page
from steering.ui.shared import loading, state
from steering.ui.shared import objects as services

PAGE = "pages/library/models.py"
ID = "someone/gpt2"
SAE_RELEASE, SAE_ID = "gpt2-small-res-jb", "blocks.1.hook_resid_pre"


pytestmark = pytest.mark.usefixtures("clean_caches")


@pytest.fixture
def hub(
    checkpoint: Callable[[str], Path], sae_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    """A hub with a model, a gated one, and an SAE that SAELens' registry has for the model."""
    made = tmp_path / "sae"
    shutil.copytree(sae_folder("standard", family="gpt2", layer=1, stream="resid_pre"), made)
    old = {
        "hook_point": SAE_ID, "hook_point_layer": 1, "d_in": 32, "d_sae": 96, "dtype": "float32",
        "model_name": "gpt2-small", "prepend_bos": True, "context_size": 128, "activation_fn_str": "relu",
    }  # fmt: skip
    (made / "cfg.json").write_text(json.dumps(old))
    with Hub() as hub:
        hub.add(ID, checkpoint("gpt2"))
        hub.add("google/gemma-2-2b", checkpoint("gemma2"), gated=True)
        hub.add("jbloom/GPT2-Small-SAEs-Reformatted", made, prefix=f"{SAE_ID}/")
        point_at(monkeypatch, hub.url, tmp_path / "cache")
        yield hub
        for job in services.transfers().all():
            job.cancel()


def open_models(folder: str, **query: str) -> AppTest:
    return fine(open_page(PAGE, folder, **query))


def look_at(at: AppTest, name: str) -> AppTest:
    return fine(at.text_input(key="models_other").set_value(name).run())


def job() -> Job:
    return services.transfers().all()[0]


def done(at: AppTest, seconds: float = 120.0) -> AppTest:
    """The page after the newest job has ended, however it did."""
    job()._over.wait(seconds)
    return fine(at.run())


def said(at: AppTest) -> str:
    """What captions and boxes of the page say, without Markdown's backslashes."""
    kinds = (at.caption, at.info, at.error, at.success, at.markdown)
    return " ".join(str(e.value) for kind in kinds for e in kind).replace("\\", "")


def labels(at: AppTest) -> list[str]:
    return [button.label for button in at.button]


# Choosing -------------------------------------------------------------------------------------------------------------


def test_the_catalogue_says_what_fits_and_nothing_is_asked(
    folder: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLER_MEMORY_GB", "64")  # whatever else this machine does now
    at = open_models(folder)
    table = next(one.value for one in at.dataframe if "bfloat16" in one.value)
    rows = table.set_index("Model")
    assert {"organism", "openai-community/gpt2", "google/gemma-2-2b-it"} <= set(rows.index)
    assert rows.loc["openai-community/gpt2", "float32"].endswith("fits")
    assert rows.loc["google/gemma-2-2b", "Access"] == "gated" and rows.loc["google/gemma-2-2b-it", "Chat"] == "chat"
    assert rows.loc["organism", "Chat"] == "chat" and rows.loc["openai-community/gpt2", "Chat"] == "text"
    assert rows.loc["organism", "Here"] == "bundled" and rows.loc["openai-community/gpt2", "Here"] == "to download"
    at = look_at(at, "google/gemma-2-2b")
    assert "gated" in said(at) and "HF_TOKEN" in said(at) and "Download and use" in labels(at)
    assert "bitsandbytes" in said(at)
    assert at.query_params[models_page.PICKED] == "google/gemma-2-2b"
    assert "SAEs; the first 300 are shown" in said(at)
    assert not hub.requests


def test_more_than_there_is_is_refused_in_words(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLER_MEMORY_GB", "1")
    at = look_at(open_models(folder), "google/gemma-2-2b")
    assert "needs about 11.5 GB of memory as float32" in said(at) and "1 GB are free" in said(at)
    assert at.button(key="models_load").disabled
    table = next(one.value for one in at.dataframe if "bfloat16" in one.value).set_index("Model")
    assert table.loc["google/gemma-2-2b", "bfloat16"].endswith("does not fit")


def test_offline_is_said_and_blocks_only_the_download(folder: str) -> None:
    at = look_at(open_models(folder), ID)
    assert "Offline mode is on" in said(at) and at.button(key="models_load").disabled
    at = look_at(at, folder)
    assert "You are using this model" in said(at)


# Downloading ----------------------------------------------------------------------------------------------------------


def test_a_model_is_downloaded_loaded_and_used(folder: str, hub: Hub) -> None:
    at = look_at(open_models(folder), ID)
    fine(at.button(key="models_load").click().run())
    done(at)
    assert job().state == "done", job().error
    assert at.session_state[state.MODEL] == ID == at.query_params["model"]
    assert "You are using this model" in said(at)
    assert any(text.value == "gpt2" for text in at.sidebar.text)
    hub.requests.clear()
    st.cache_resource.clear()  # as after a restart: the hub is not asked for what is here
    again = open_models(ID)
    assert not again.error and not hub.requests


def test_what_came_while_another_page_was_open_is_used_when_asked(folder: str, hub: Hub) -> None:
    at = look_at(open_models(folder), ID)
    fine(at.button(key="models_load").click().run())
    fine(at.switch_page("pages/library/library.py").run())
    done(at)
    assert at.session_state[state.MODEL] == folder and "Use it" in labels(at)
    fine(at.switch_page(PAGE).run())
    assert at.session_state[state.MODEL] == ID and "You are using this model" in said(at)
    other = look_at(open_models(folder), ID)  # another visitor asked for nothing
    assert other.session_state[state.MODEL] == folder
    fine(other.button(key="models_use").click().run())
    assert other.session_state[state.MODEL] == ID


def test_progress_in_bytes_cancel_and_going_on(folder: str, hub: Hub) -> None:
    hub.slow = 0.5  # slower than the pages of a busy machine
    at = look_at(open_models(folder), ID)
    fine(at.button(key="models_load").click().run())
    running = job()
    while not running.done and running.active:
        time.sleep(0.02)
    fine(at.run())
    text = next(bar.proto.text for bar in at.main.get("progress"))
    assert re.fullmatch(r"Downloading: [\d.]+ MB of [\d.]+ MB(, about \d+ (s|min) left)?", text), text
    fine(at.switch_page("pages/library/library.py").run())  # it goes on, and the sidebar shows it
    assert running.active and any("Downloading" in caption.value for caption in at.sidebar.caption)
    fine(at.switch_page(PAGE).run())
    fine(at.button(key="models_job_cancel").click().run())
    done(at)
    assert running.state == "cancelled" and "What has arrived is kept" in said(at)
    hub.slow = 0.0
    fine(at.button(key="models_load").click().run())
    done(at)
    assert job().state == "done", job().error
    assert any(start for _, path, start in hub.requests if path.endswith("model.safetensors") and start)


def test_a_gated_model_without_a_token_says_what_to_do(folder: str, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLER_MEMORY_GB", "64")
    at = look_at(open_models(folder), "google/gemma-2-2b")
    fine(at.button(key="models_load").click().run())
    done(at)
    assert "is gated: accept its license at" in " ".join(error.value.replace("\\", "") for error in at.error)
    assert "Download and use" in labels(at)  # to be tried again


def test_what_cannot_fit_is_refused_at_the_first_byte(folder: str, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLER_MEMORY_GB", "0.02")
    at = look_at(open_models(folder), "someone/gpt2")
    assert "is known when its files are" in said(at)
    hub.repos[ID].files["model.safetensors"] += bytes(30_000_000)
    fine(at.button(key="models_load").click().run())
    done(at)
    assert "Nothing more is downloaded" in said(at)
    assert not hub.fetched("model.safetensors")


def test_a_model_in_another_dtype_is_another_model(folder: str) -> None:
    at = look_at(open_models(folder), folder)
    fine(at.selectbox(key="models_dtype").set_value("bfloat16").run())
    fine(at.button(key="models_load").click().run())
    done(at)
    assert at.session_state[state.MODEL] == f"{folder}@bfloat16"
    assert any("bfloat16" in caption.value for caption in at.sidebar.caption)
    fine(at.switch_page("pages/steer/compare.py").run())
    assert not at.error


def test_the_threads_are_the_servers(folder: str) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        at = open_models(folder)
        fine(at.number_input(key="models_threads").set_value(2).run())
        assert services.shelf().threads == 2 == services.shelf().engine(folder).call(torch.get_num_threads)
    finally:
        services.shelf().set_threads(before)


# SAEs -----------------------------------------------------------------------------------------------------------------


def test_an_sae_of_the_registry_is_found_downloaded_and_used(folder: str, hub: Hub) -> None:
    at = open_models(folder)
    services.shelf().model(ID, download=True)
    fine(at.run())
    at.session_state[state.MODEL] = ID
    at = fine(look_at(at, ID))
    fine(at.text_input(key="models_fit_query").set_value(f"{SAE_RELEASE} {SAE_ID} 24k").run())
    (table,) = [one for one in at.dataframe if "Release" in one.value]
    number = list(table.value["Release"]).index(SAE_RELEASE)
    at = pick(at, table, number)
    assert "Made on openai-community/gpt2 · reads layer 1, resid_pre" in said(at)
    fine(at.button(key="models_load_sae").click().run())
    done(at)
    assert job().state == "done", job().error
    assert at.session_state[state.SAE] == f"{SAE_RELEASE}::{SAE_ID}"
    assert any("layer 1 resid_pre" in caption.value for caption in at.sidebar.caption)
    assert not at.session_state[loading.ASKED]  # what is used is no longer offered in the sidebar
    assert "It was made on openai-community/gpt2; this model is someone/gpt2." in [
        warning.value.replace("\\", "") for warning in at.warning
    ]


def pick(at: AppTest, table, number: int) -> AppTest:
    """Choose a row of a table, as a click does."""
    key = table.proto.id.split("-", 2)[-1] if "-" in table.proto.id else table.proto.id
    at.session_state[key] = {"selection": {"rows": [number], "columns": [], "cells": []}}
    return fine(at.run())


def test_an_sae_says_which_model_it_wants_and_leads_there(folder: str) -> None:
    at = open_models(folder, models_view="All SAEs")
    fine(at.text_input(key="models_saes_query").set_value("gemma-scope-2b-pt-res-canonical layer_12/width_16k").run())
    (table,) = [one for one in at.dataframe if "Release" in one.value]
    at = pick(at, table, 0)
    assert "It fits another model than yours" in said(at)
    assert [b.label.replace("\\", "") for b in at.button if (b.key or "").startswith("models_wants")] == [
        "google/gemma-2-2b",
        "google/gemma-2-2b-it",
    ]
    fine(at.button(key="models_wants_1").click().run())
    assert at.session_state[models_page.PICKED] == "google/gemma-2-2b-it"
    assert any(text.value == "google/gemma-2-2b-it" for text in at.text)


def test_what_is_refused_says_why(folder: str) -> None:
    at = open_models(folder, models_view="All SAEs")
    fine(at.toggle(key="models_saes_readable").set_value(False).run())
    fine(at.text_input(key="models_saes_query").set_value("qwen-scope-3-1.7b-base-w32k-l50").run())
    (table,) = [one for one in at.dataframe if "Release" in one.value]
    at = pick(at, table, 0)
    assert "Tiller does not load it. Stored as a pickle" in said(at)
    assert not [b for b in at.button if b.key == "models_load_sae"]


def test_searching_all_saes_is_fast(folder: str) -> None:
    at = open_models(folder, models_view="All SAEs")
    fine(at.text_input(key="models_saes_query").set_value("gemma 16k").run())
    times = []
    for query in ("gemma 16k layer 12", "gpt2 resid_pre", "", "llama"):
        start = time.perf_counter()
        fine(at.text_input(key="models_saes_query").set_value(query).run())
        times.append(time.perf_counter() - start)
    assert sorted(times)[1] < 3.0, times  # of four; generous, for a machine that does other things


# A folder -------------------------------------------------------------------------------------------------------------


def test_a_folder_says_what_is_in_it(folder: str, tmp_path: Path, sae_folder: Callable[..., Path]) -> None:
    at = open_models(folder, models_view="A folder")

    def at_folder(path: str | Path) -> AppTest:
        return fine(at.text_input(key=folder_page.FOLDER).set_value(str(path)).run())

    assert "A model: LlamaForCausalLM" in said(at_folder(folder)) and "You are using this model" in said(at)
    assert "there is none at" in said(at_folder(tmp_path / "nothing"))
    assert "holds a config.json" in said(at_folder(tmp_path))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    shutil.copytree(folder, tmp_path / "deep" / "er" / "one")
    assert "1 of its sub-folders" in said(at_folder(tmp_path))
    fine(at.button(key="models_inside_0").click().run())
    assert "A model: LlamaForCausalLM" in said(at) and "Load and use" in labels(at)
    assert "An SAE (standard): 96 features that read blocks.1.hook_resid_post" in said(
        at_folder(sae_folder("standard"))
    )
    fine(at.button(key="models_load_sae").click().run())
    done(at)
    assert at.session_state[state.SAE] == f"{sae_folder('standard')}::"
    assert any("layer 1 resid_post" in caption.value for caption in at.sidebar.caption)


def test_an_sae_of_another_width_is_refused_with_the_reason(folder: str) -> None:
    at = open_models(folder, models_view="A folder")
    wide = next((state.ASSETS / "saes" / "organism").glob("*/cfg.json")).parent
    fine(at.text_input(key=folder_page.FOLDER).set_value(str(wide)).run())
    fine(at.button(key="models_load_sae").click().run())
    done(at)
    assert "reads vectors of width" in said(at)


# Knowing --------------------------------------------------------------------------------------------------------------


def test_a_model_is_got_to_know_once(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The button starts a job; what it read is there for the other pages and after the next start."""
    monkeypatch.setenv("TILLER_HOME", str(tmp_path))
    monkeypatch.setattr("steering.ui.library.knowing.pair_sets", lambda model: ["general_refusal"])
    at = look_at(open_models(folder), folder)
    assert "Matrices are multiplied in float32" in said(at) and "Its weights take" in said(at)
    fine(at.button(key="models_know").click().run())
    services.jobs().all()[0].result(60)
    fine(at.run())
    assert "Known at all 4 layers" in said(at) and "Get to know this model" not in labels(at)
    st.cache_resource.clear()  # as after a restart
    bench = services.workbench(folder)
    passes: list[int] = []
    monkeypatch.setattr(type(bench.lm), "forward", lambda *_, **__: passes.append(1))
    assert bench.typical_norm(Site(3)) > 0 and bench.direction(Source("pairs:general_refusal", layer=2)).norm > 0
    assert not passes


def test_products_in_bfloat16_are_a_choice_on_the_cpu(folder: str) -> None:
    at = look_at(open_models(folder), folder)
    if not packing.bfloat16_is_native():
        assert "models_products" not in [box.key for box in at.selectbox]
        return
    fine(at.selectbox(key="models_products").select("bfloat16").run())
    fine(at.button(key="models_load").click().run())
    done(at)
    assert job().state == "done", job().error
    assert services.shelf().model(f"{folder}@bfloat16-products").products == "bfloat16"
    assert "Matrices are multiplied in bfloat16: what that changes is measured" in said(at)
    at.selectbox(key="models_dtype").select("bfloat16")
    fine(at.run())
    assert "models_products" not in [box.key for box in at.selectbox]  # nothing to choose for other weights
