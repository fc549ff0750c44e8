"""Explore and Build as a visitor uses them, through app.py, on a tiny model with a tiny SAE."""

from __future__ import annotations

import gc
import json
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from fake_hub import Hub
from open_pages import fine, open_page
from streamlit.testing.v1 import AppTest

from steering.directions.pairs import PromptPair
from steering.features import FeatureIndex, build, features_of_text, locate
from steering.features.making.passes import IndexSettings
from steering.jobs.files import home
from steering.jobs.jobs import Job
from steering.models.model import Model
from steering.recipes.links import encode
from steering.recipes.steps import Step, Variant
from steering.recipes.workbench import Workbench
from steering.saes.loading import load_sae
from steering.saes.sae import Sae
from steering.ui.building import direction, direction_panels, pair_table
from steering.ui.explore import browsing as explore
from steering.ui.explore import gallery, indexing, labeling, reading
from steering.ui.shared import job_cards
from steering.ui.shared import objects as services
from steering.ui.steer import comparing, running

FEATURES, TOKENS, DIRECTION = (
    "pages/explore/features.py",
    "pages/explore/tokens.py",
    "pages/build/direction.py",
)
TEXTS = ["The cat sat on the mat and looked at the moon.", "Is 7 plus 5 equal to 13? No, 7 plus 5 is 12."] * 4


pytestmark = pytest.mark.usefixtures("clean_caches")


@pytest.fixture
def tiny_sae(sae_of: Callable[..., Sae]) -> Sae:
    return sae_of("standard")


@pytest.fixture
def with_sae(sae_folder: Callable[..., Path]) -> dict[str, str]:
    return {"sae": f"{sae_folder('standard')}::"}


@pytest.fixture
def indexed(tiny_llama: Model, tiny_sae: Sae) -> Path:
    """The index of the tiny SAE, where the pages look for it."""
    where = locate(tiny_sae, tiny_llama, home())
    if not (where / "features.sqlite").is_file():
        build(tiny_llama, tiny_sae, TEXTS, where, settings=IndexSettings(context=24, sample=16, examples=4))
    return where


def shown(at: AppTest) -> str:
    """All plain text and captions of a page."""
    return " ".join(str(e.value) for kind in (at.text, at.caption, at.markdown, at.info, at.subheader) for e in kind)


# Features -----------------------------------------------------------------------------------------------------------


def test_features_without_an_sae_says_what_is_missing(folder: str) -> None:
    at = fine(open_page(FEATURES, folder))
    assert any("needs a sparse autoencoder" in info.value for info in at.info)


def test_features_opens_with_one_and_a_link_opens_the_same(folder: str, with_sae: dict, indexed: Path) -> None:
    at = fine(open_page(FEATURES, folder, **with_sae))
    assert at.subheader[0].value == f"Feature {at.session_state[explore.FEATURE]}"
    cards = [one for one in at.button if str(one.key).startswith("features_open_")]
    assert len(cards) == gallery.PER_PAGE and sum(one.disabled for one in cards) == 1
    other = next(one for one in cards if not one.disabled)
    number = str(other.key).rpartition("_")[2]
    assert fine(other.click().run()).subheader[0].value == f"Feature {number}"
    before = [one.key for one in at.button if str(one.key).startswith("features_open_")]
    turned = fine(next(one for one in at.button if str(one.key).endswith("_next")).click().run())
    assert not set(before) & {one.key for one in turned.button if str(one.key).startswith("features_open_")}
    at = fine(at.segmented_control(key="features_as").set_value("Table").run())
    assert len(at.dataframe[0].value) > 10
    at = fine(open_page(FEATURES, folder, feature="17", features_query="cat", **with_sae))
    assert at.subheader[0].value == "Feature 17" and at.text_input(key="features_query").value == "cat"


@pytest.mark.parametrize("query", ["cat", "17", '"; DROP', "zzz", "\x00*"])
def test_any_search_leaves_the_page_whole(query: str, folder: str, with_sae: dict, indexed: Path) -> None:
    at = fine(open_page(FEATURES, folder, **with_sae))
    fine(at.text_input(key="features_query").set_value(query).run())
    assert at.subheader[0].value.startswith("Feature")
    assert not at.error


@pytest.mark.parametrize("sort", ["maximum", "density", "mean", "text"])
@pytest.mark.parametrize("lowest", [False, True])
def test_every_sort_sorts(sort: str, lowest: bool, folder: str, with_sae: dict, indexed: Path) -> None:
    at = fine(open_page(FEATURES, folder, features_as="Table", **with_sae))
    at.selectbox(key="features_sort").set_value(sort)
    fine(at.toggle(key="features_lowest").set_value(lowest).run())
    column = {"maximum": "Max", "density": "Fires on", "text": "On text"}.get(sort)
    if column:
        assert getattr(at.dataframe[0].value[column], f"is_monotonic_{'in' if lowest else 'de'}creasing")


def test_the_features_of_a_pair_set_are_ranked(
    folder: str, with_sae: dict, indexed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("steering.directions.pairs.BUNDLED", tmp_path)
    (tmp_path / "general_x.jsonl").write_text('{"positive": "I love it", "negative": "I hate it"}\n' * 3)
    at = fine(open_page(FEATURES, folder, features_as="Table", **with_sae))
    fine(at.selectbox(key="features_sort").set_value("pairs").run())
    assert at.dataframe[0].value["AUROC"].between(0, 1).all()


@pytest.mark.parametrize("view", ["Examples", "What it writes", "Near it", "Neurons"])
def test_every_view_of_a_feature(view: str, folder: str, with_sae: dict, indexed: Path) -> None:
    at = fine(open_page(FEATURES, folder, feature="5", features_view=view, **with_sae))
    assert not at.error and at.subheader[0].value == "Feature 5"


def test_a_note_is_kept_and_found(folder: str, with_sae: dict, indexed: Path) -> None:
    at = fine(open_page(FEATURES, folder, feature="5", features_as="Table", **with_sae))
    fine(at.text_area(key="features_note_5").set_value("about zebras <b>x</b>").run())
    fine(at.text_input(key="features_query").set_value("zebras").run())
    assert at.dataframe[0].value["#"].tolist() == [5]
    other = fine(open_page(FEATURES, folder, feature="5", **with_sae))
    assert other.text_area(key="features_note_5").value == "about zebras <b>x</b>"
    fine(other.text_area(key="features_note_5").set_value("").run())


def test_a_feature_is_added_to_the_recipe_and_steered_with(folder: str, with_sae: dict, indexed: Path) -> None:
    at = fine(open_page(FEATURES, folder, feature="5", **with_sae))
    fine(at.button(key="features_add").click().run())
    last = at.session_state[comparing.RECIPE][-1].variant
    assert last.name == "Feature 5" and last.steps[0].method == "clamp" and list(last.steps[0].features) == [5]
    # The two lines of the preview, without and with it.
    written = [one.value for one in at.text if one.value and one.value != "…"]
    assert len(written) >= 2
    assert len(at.session_state[comparing.RECIPE]) > 1
    fine(at.button(key="features_steer").click().run())
    assert [card.variant.name for card in at.session_state[comparing.RECIPE]] == ["Feature 5 on"]
    assert at.title[0].value == "Compare"
    run = next(iter(at.session_state[running.RESULTS].values()))
    assert run.labels == ["feature 5"] and max(v or 0 for v in run.rows[1].along("feature 5")) > 0


def test_the_index_is_built_from_the_page(
    folder: str, sae_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sae = {"sae": f"{sae_folder('jumprelu')}::"}
    at = fine(open_page(FEATURES, folder, **sae))
    assert any("no feature index" in info.value for info in at.info)
    fine(at.button(key="indexing_build").click().run())
    until = time.monotonic() + 60
    while not any(e.value.startswith("Feature") for e in at.subheader) and time.monotonic() < until:
        time.sleep(0.2)
        fine(at.run())
    assert at.subheader[0].value.startswith("Feature")


def test_an_index_is_built_from_a_folder_and_a_wrong_one_is_said(
    folder: str, sae_folder: Callable[..., Path], tmp_path: Path
) -> None:
    at = fine(open_page(FEATURES, folder, sae=f"{sae_folder('topk')}::"))
    fine(at.segmented_control(key="indexing_source").set_value("place").run())
    fine(at.text_input(key="indexing_place").set_value(str(tmp_path / "no")).run())
    fine(at.button(key="indexing_build").click().run())
    assert any("there is none at" in error.value for error in at.error)
    (tmp_path / "one.txt").write_text("\n\n".join(TEXTS))
    fine(at.text_input(key="indexing_place").set_value(str(tmp_path)).run())
    fine(at.button(key="indexing_build").click().run())
    job = services.jobs().all()[0]
    where = job.result(60)
    assert json.loads((where / indexing.TEXTS).read_text()) == {"place": str(tmp_path)}
    assert list(indexing._kept_texts(where / indexing.TEXTS)) == TEXTS
    fine(at.run())
    assert at.subheader[0].value.startswith("Feature")


def test_a_stopped_build_is_offered_to_continue(
    folder: str, sae_of: Callable[..., Sae], sae_folder: Callable[..., Path], tiny_llama: Model
) -> None:
    class Stop(Exception):
        pass

    def tick(done: int, total: int) -> None:
        if done > 70:
            raise Stop

    where = locate(sae_of("gated"), tiny_llama, home())
    with pytest.raises(Stop):
        build(tiny_llama, sae_of("gated"), TEXTS * 40, where, tick, save_every=0)
    (where / indexing.TEXTS).write_text("")
    at = fine(open_page(FEATURES, folder, sae=f"{sae_folder('gated')}::"))
    assert any("unfinished index" in mark.value for mark in at.markdown)
    assert at.button(key="indexing_continue")


# Tokens -------------------------------------------------------------------------------------------------------------


def test_tokens_works_without_an_sae(folder: str) -> None:
    at = fine(open_page(TOKENS, folder))
    assert any("No SAE is loaded" in info.value for info in at.info) and not at.error
    fine(at.text_area(key="tokens_text").set_value("The cat <b>sat</b> on **the** mat").run())
    assert not at.error


def test_the_features_of_the_chosen_token_are_listed(folder: str, with_sae: dict, indexed: Path) -> None:
    at = fine(open_page(TOKENS, folder, tokens_text="The cat sat", **with_sae))
    lm = services.model(folder)
    text = reading.Text(tuple(lm.tokens("The cat sat")), (), None)
    wanted = features_of_text(lm, load_sae(lm, with_sae["sae"].removesuffix("::")), text.tokens)
    assert at.dataframe[0].value["#"].tolist() == [n for n, _ in wanted.strongest(len(text.tokens) - 1, 12)]
    at.session_state[reading.AT] = 2
    fine(at.run())
    assert at.dataframe[0].value["#"].tolist() == [n for n, _ in wanted.strongest(2, 12)]


@pytest.mark.parametrize("text", ["", "   ", "x " * 4000])
def test_a_text_that_cannot_be_read_is_one_sentence(text: str, folder: str) -> None:
    at = fine(open_page(TOKENS, folder, tokens_text="a"))
    fine(at.text_area(key="tokens_text").set_value(text).run())
    assert len(at.error) == (0 if text == "   " else 1)


def test_a_hostile_pair_set_in_a_link_falls_back(folder: str) -> None:
    at = fine(open_page(TOKENS, folder, tokens_direction="pairs:../../etc/passwd"))
    assert at.selectbox(key="tokens_direction").value != "pairs:../../etc/passwd"


# Direction ----------------------------------------------------------------------------------------------------------


def test_direction_opens_with_an_example_and_its_evidence(folder: str) -> None:
    at = fine(open_page(DIRECTION, folder, direction_asked="1"))
    assert not at.error and {metric.label for metric in at.metric} >= {"Held-out AUROC", "Cone"}


@pytest.mark.parametrize(
    "view", ["Agreement", "Separation", "What it says", "Methods and layers", "Layer by effect", "Layer and strength"]
)
@pytest.mark.parametrize("space", ["residual", "feature"])
def test_every_view_of_a_direction(view: str, space: str, folder: str, with_sae: dict, indexed: Path) -> None:
    at = fine(open_page(DIRECTION, folder, direction_asked="1", direction_view=view, **with_sae))
    fine(at.selectbox(key="direction_space").set_value(space).run())
    assert not at.error and at.metric


@pytest.mark.parametrize("contrast", ["mean_difference", "pca", "probe", "lda"])
@pytest.mark.parametrize("position", ["completion_mean", "last"])
def test_every_contrast_and_position(contrast: str, position: str, folder: str) -> None:
    at = fine(open_page(DIRECTION, folder, direction_asked="1"))
    at.selectbox(key="direction_contrast").set_value(contrast)
    fine(at.selectbox(key="direction_position").set_value(position).run())
    assert not at.error and at.metric


def test_a_position_that_does_not_fit_is_one_sentence(folder: str) -> None:
    at = fine(open_page(DIRECTION, folder, direction_asked="1"))
    fine(at.selectbox(key="direction_position").set_value("differing").run())
    assert len(at.error) == 1 and "exactly one token" in at.error[0].value.replace("\\", "")


def test_a_direction_is_saved_and_steered_with(folder: str) -> None:
    at = fine(open_page(DIRECTION, folder, direction_asked="1"))
    at.text_input(key=next(t.key for t in at.text_input if t.label == "Name")).set_value("bright")
    fine(at.button(key="direction_save").click().run())
    assert "bright" in [row.name for row in services.store().directions()]
    fine(at.button(key="direction_steer").click().run())
    steps = [card.variant.steps[0] for card in at.session_state[comparing.RECIPE]]
    assert [step.alpha for step in steps] == [0.1, -0.1] and all(s.direction.startswith("saved:") for s in steps)
    assert at.title[0].value == "Compare"


def test_the_effect_of_every_layer_is_measured_by_a_job(folder: str) -> None:
    at = fine(open_page(DIRECTION, folder, direction_asked="1", direction_view="Layer by effect"))
    fine(at.button(key="direction_effects").click().run())
    until = time.monotonic() + 60
    while not any(button.key == "direction_use_layer" for button in at.button) and time.monotonic() < until:
        time.sleep(0.2)
        fine(at.run())
    assert len(at.dataframe[-1].value) == services.model(folder).n_layers


def table(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(pair_table.COLUMNS))


def test_pairs_of_an_edited_table() -> None:
    rows = table((True, "p", "a", "b"), (False, "", "c", "d"), (True, None, "e", "f"), (None, None, None, None))
    pairs = pair_table.pairs_of(rows, "x")
    assert pairs.rows() == [{"prompt": "p", "positive": "a", "negative": "b"}, {"positive": "e", "negative": "f"}]
    with pytest.raises(ValueError, match="Row 2: 'negative' holds"):
        pair_table.pairs_of(table((True, "", "a", "b"), (True, "", "c", "")), "x")
    with pytest.raises(ValueError, match="at least two pairs; 1 are"):
        pair_table.pairs_of(table((True, "", "a", "b")), "x")


def test_the_sides_own_prompts_survive_the_table() -> None:
    row = {"prompt": "q", "positive": "P", "negative": "N", "positive_completion": "a", "negative_completion": "b"}
    assert pair_table.pairs_of(pair_table._frame([row, row]), "x").rows() == [row, row]


def test_prompts_of_the_sides_own_are_shown_first_and_name_their_pairs() -> None:
    own = {"positive": "P", "negative": "N", "positive_completion": "a", "negative_completion": "b"}
    order = ["use", "positive_prompt", "positive", "negative_prompt", "negative"]
    assert pair_table._order(pair_table._frame([own])) == order
    assert pair_table._order(pair_table._frame([{"prompt": "q", **own}])) == ["use", "prompt", *order[1:]]
    plain = pair_table._frame([{"prompt": "q", "positive": "a", "negative": "b"}])
    assert pair_table._order(plain) == ["use", "prompt", "positive", "negative"]
    other = {"positive": "Q", "negative": "O", "positive_completion": "a", "negative_completion": "b"}
    pairs = pair_table.pairs_of(pair_table._frame([own, other]), "x")
    assert direction_panels.labels(pairs.pairs, 20) == ["P", "Q"]  # the completions tell nothing apart


def test_too_many_pairs_for_the_memory_are_refused(tiny_llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direction, "MAX_NUMBERS", 1000)
    pairs = pair_table.pairs_of(table(*[(True, "", f"a{i}", f"b{i}") for i in range(9)]), "x")
    choice = direction.Choice("pca", "residual", __import__("steering").Site(1), "last", None)
    with pytest.raises(ValueError, match="At most 3 pairs"):
        direction.study(Workbench(tiny_llama), pairs, choice)


# Labels and transcoders -----------------------------------------------------------------------------------------------


def test_labels_are_fetched_by_the_button_only(
    folder: str, with_sae: dict, indexed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [{"index": "17", "description": "numbers <b>x</b>"}, {"index": "3", "description": "cats"}]
    monkeypatch.setattr(labeling, "name_of", lambda sae: "gpt2-small/8-res-jb")
    monkeypatch.setattr(labeling, "_folder", lambda: tmp_path)
    with Hub(pages={"/api/explanation/export": json.dumps(rows).encode()}) as hub:
        monkeypatch.setattr("steering.features.labels.ENDPOINT", hub.url)
        at = fine(open_page(FEATURES, folder, feature="17", **with_sae))
        assert not hub.requests and "numbers <b>" not in shown(at)
        fine(at.button(key="features_labels").click().run())
        services.transfers().all()[0].result(60)
    fine(at.run())  # the server is gone; the label is kept, and shown as text
    assert "Neuronpedia: numbers <b>x</b>" in [text.value for text in at.text]
    at = fine(open_page(FEATURES, folder, feature="5", **with_sae))
    assert "Neuronpedia has no label for this feature." in [text.value for text in at.text]


def test_a_transcoder_is_read_and_its_features_are_added_to(
    folder: str, tiny_llama: Model, sae_folder: Callable[..., Path], sae_of: Callable[..., Sae]
) -> None:
    options = {"layer": 1, "stream": "mlp_in"}
    sae = sae_of("transcoder", **options)
    where = locate(sae, tiny_llama, home())
    build(tiny_llama, sae, TEXTS, where, settings=IndexSettings(context=24, sample=16, examples=4))
    at = fine(open_page(FEATURES, folder, feature="5", sae=f"{sae_folder('transcoder', **options)}::"))
    assert not at.error and at.subheader[0].value == "Feature 5"
    fine(at.button(key="features_steer").click().run())
    (card, *_) = at.session_state[comparing.RECIPE]
    assert [step.method for step in card.variant.steps] == ["boost"]
    assert not at.error


def test_a_job_says_about_how_long_it_takes() -> None:
    job = Job("x", done=25, total=100, started=time.monotonic() - 60)
    assert job_cards.left(job) == "About 3 min left. "
    assert job_cards.left(Job("x", done=25, total=100, started=time.monotonic() - 1)) == "1 s so far. "
    assert job_cards.left(Job("x", started=time.monotonic() - 60)) == "60 s so far. "
    assert job_cards.left(Job("x", started=time.monotonic())) == ""


READING = [(DIRECTION, "direction"), ("pages/measure/calibrate.py", "calibrate")]


@pytest.mark.parametrize(("file", "named"), READING)
def test_opening_a_page_reads_nothing_until_it_is_asked(file: str, named: str) -> None:
    at = fine(open_page(file))
    (button,) = [button for button in at.button if button.key == f"{named}_go"]
    compare = ("Reading where the pairs lie", "Measuring the layers", "Timing the model")  # and no text of the page
    assert not [job.name for job in services.readings().all() if not job.name.startswith(compare)]
    fine(button.click().run())
    assert services.readings().all() and not at.error
    assert not any(button.key == f"{named}_go" for button in at.button)


@pytest.mark.parametrize(("file", "named"), READING)
def test_what_was_read_goes_with_its_model(file: str, named: str) -> None:
    fine(open_page(file, **{f"{named}_asked": "1"}))
    assert {job.state for job in services.readings().all()} == {"done"}
    lm = weakref.ref(services.model("organism"))
    services.shelf().close()
    gc.collect()
    assert lm() is None, "a page or a cache still holds the model that was unloaded"


def test_the_words_that_are_shown_are_those_up_to_the_token_that_is_looked_at():
    assert list(reading.window(52, 51)) == list(range(40, 52))
    assert list(reading.window(52, 20)) == list(range(9, 21))
    assert list(reading.window(52, 3)) == list(range(12)), "few are before it, so some after it are shown"
    assert list(reading.window(5, 4)) == list(range(5))
    assert reading.spread(30) == list(range(1, 30, 2)) and reading.spread(6) == list(range(6))


def test_pairs_are_named_by_what_tells_them_apart():
    same = [PromptPair("", f"Yes, that is correct: the capital of {name}.", "No.") for name in ("Peru", "Chad", "Laos")]
    assert direction_panels.labels(same, 12) == ["…al of Peru.", "…al of Chad.", "…al of Laos."]
    other = [PromptPair("", f"{name} is a country far away.", "No.") for name in ("Peru", "Chad", "Laos")]
    assert direction_panels.labels(other, 8) == ["Peru is…", "Chad is…", "Laos is…"]


def test_neurons_are_features_where_there_is_no_sae(folder: str) -> None:
    at = fine(open_page(FEATURES, folder))
    fine(at.selectbox(key="features_neurons_layer").set_value(1).run())
    fine(at.button(key="features_neurons").click().run())
    assert any("no feature index" in info.value for info in at.info)
    fine(at.button(key="indexing_build").click().run())
    services.jobs().all()[0].result(120)
    at = fine(at.run())
    assert at.subheader[0].value.startswith("Feature")
    fine(at.button(key="features_steer").click().run())
    (card,) = at.session_state[comparing.RECIPE]
    assert card.variant.steps[0].method == "boost" and at.title[0].value == "Compare"


def test_a_features_slider_is_unrolled_to_twice_what_was_seen_of_it(
    folder: str, with_sae: dict, indexed: Path, tiny_llama: Model, tiny_sae: Sae
) -> None:
    recipe = encode((Variant("", (Step("clamp", features={5: 0.5}),)),))
    query = {"compare_prompt": "The cat", "recipe": recipe, "run": "1", "compare_tokens": "3"}
    at = fine(open_page("pages/steer/compare.py", folder, compare_view="Strengths", **query, **with_sae))
    (data,) = (json.loads(one.proto.json) for one in at.get("bidi_component")
               if one.proto.component_name == "tiller_player")  # fmt: skip
    index = FeatureIndex.open(indexed)
    seen = float(index.maximum[5]) or 0.5
    assert data["doses"][0]["said"] == "off", "a feature set to zero is not the baseline"
    assert float(data["doses"][-1]["said"]) == pytest.approx(2 * seen, rel=0.01)
    assert data["label"] == "Feature 5" and data["drawing"]["layer"] == tiny_sae.site.layer
    at.session_state["compare_strip_strength"] = 2.0
    fine(at.run())
    assert at.session_state[comparing.RECIPE][0].variant.steps[0].features == {5: 2.0}
