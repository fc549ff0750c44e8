"""Every page rendered through app.py, as a visitor gets it: with the bundled model, and with a bare folder.

AppTest runs the real script without a browser; what a browser adds is in tests/browser.
"""

from __future__ import annotations

import ast
import json

import pytest
from open_pages import PAGES, ROOT, fine, open_page
from streamlit.testing.v1 import AppTest

from steering.recipes import links
from steering.recipes.building import build
from steering.recipes.sources import Source
from steering.recipes.steps import Recipe, Step, Variant
from steering.recipes.workbench import Workbench
from steering.ui.chat import chatting, conversation
from steering.ui.library import saved as library
from steering.ui.library import saved_runs
from steering.ui.shared import objects as services
from steering.ui.shared import state
from steering.ui.steer import comparing, editor, export, running
from steering.ui.steer.results import Run

pytestmark = pytest.mark.usefixtures("clean_caches")


@pytest.mark.parametrize("file", PAGES)  # not "page": that is a browser's page, and would start one
def test_every_page_renders_on_a_bare_folder(file, folder):
    at = fine(open_page(file, folder))
    assert at.title, "a page opens with its title"


@pytest.mark.skipif(not state.bundled_models(), reason="the bundled model is not built yet")
@pytest.mark.parametrize("file", PAGES)  # not "page": that is a browser's page, and would start one
def test_every_page_renders_on_the_bundled_model(file):
    at = fine(open_page(file))
    assert at.title and not at.error


@pytest.mark.parametrize("file", PAGES)  # not "page": that is a browser's page, and would start one
def test_a_model_that_cannot_be_loaded_is_one_sentence(file, tmp_path):
    at = fine(open_page(file, str(tmp_path / "nothing")))
    assert any("there is none at" in error.value for error in at.error)


@pytest.mark.parametrize("file", PAGES)  # not "page": that is a browser's page, and would start one
def test_a_page_is_thin(file):
    source = (ROOT / file).read_text(encoding="utf-8")
    tree = ast.parse(source)
    imported = {
        alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {(node.module or "").partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"torch", "threading", "sqlite3"}
    assert len(source.splitlines()) <= 90
    long = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and len(node.body) > 10]
    assert not long


# Compare ------------------------------------------------------------------------------------------------------------

TEXTS = Step("add", direction="texts", positive="The sun is warm.", negative="The rain is cold.", alpha=0.4)


WARM = (Variant("Warm", (TEXTS,)),)


def compare(folder: str, recipe: Recipe = WARM, **query: str) -> AppTest:
    return open_page(
        "pages/steer/compare.py",
        folder,
        recipe=links.encode(recipe),
        compare_prompt="Hello there",
        compare_tokens="6",
        **query,
    )


def results(at: AppTest) -> list[Run]:
    return list(at.session_state[running.RESULTS].values()) if running.RESULTS in at.session_state else []


def test_compare_opens_filled_in_and_one_click_gives_a_result(folder):
    at = fine(compare(folder))
    assert at.text_area(key="compare_prompt").value == "Hello there"
    assert not results(at)
    fine(at.button(key="compare_go").click().run())
    (result,) = results(at)
    assert [row.kind for row in result.rows] == ["baseline", "steered", "control"]
    assert all(len(row.tokens) <= 6 and row.prompt_tokens == result.rows[0].prompt_tokens for row in result.rows)
    (receipt,) = result.rows[1].receipts
    assert receipt["agrees"] and receipt["tokens"] > 0 and receipt["measured"] > 0


def test_a_link_gives_the_same_result_in_a_fresh_session(folder):
    at = fine(compare(folder, run="1", compare_temperature="1.0", compare_seed="7"))
    query = {name: at.query_params[name] for name in at.query_params}
    other = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for name, value in query.items():
        other.query_params[name] = value
    fine(other.run())
    (first,), (second,) = results(at), results(other)
    assert first.settings == second.settings and first.recipe == second.recipe
    assert [row.tokens for row in first.rows] == [row.tokens for row in second.rows]


def test_a_moved_slider_changes_the_steered_row_only(folder):
    at = fine(compare(folder, run="1"))
    card = at.session_state[comparing.RECIPE][0]
    at.session_state[f"{comparing.RECIPE}_{card.id}_{card.steps[0]}_alpha"] = {"value": 1.5}
    fine(at.run())
    before, after = results(at)
    assert before.rows[0].tokens == after.rows[0].tokens
    assert after.rows[1].receipts[0]["measured"] > 2 * before.rows[1].receipts[0]["measured"]


def test_a_result_is_shown_again_after_a_page_switch_without_running(folder):
    at = fine(compare(folder, run="1"))
    fine(at.switch_page("pages/library/library.py").run())
    fine(at.switch_page("pages/steer/compare.py").run())
    assert len(results(at)) == 1


def test_a_broken_link_shows_the_example_and_says_so(folder):
    at = fine(open_page("pages/steer/compare.py", folder, recipe="%00broken"))
    assert any("cannot be read" in warning.value for warning in at.warning)
    assert at.session_state[comparing.RECIPE]


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (Step("clamp", features={3: 1.0}), "sparse autoencoder"),
        (Step("add", direction="pairs:no-such-set"), "no pair set"),
        (Step("add", direction="saved:" + "0" * 24), "no direction with the id"),
        (Step("add", direction="texts"), "both of them"),
        (Step("sara"), "text to attract"),
    ],
)
def test_a_step_that_cannot_run_is_one_clear_sentence(folder, step, says):
    at = fine(compare(folder, (Variant("x", (step,)),), run="1"))
    # The editor moves an unknown choice to a known one, so what is built is asked as well.
    shown = " ".join(error.value for error in at.error)
    if says not in shown.replace("\\", ""):
        with pytest.raises(ValueError, match=says):
            build(Workbench(services.model(folder), None, services.store()), Variant("x", (step,)))


@pytest.mark.parametrize(
    ("prompt", "says"), [("", "at least one character"), ("cat " * 3000, "tokens"), ("Hello\n---\n", "at least one")]
)
def test_a_prompt_that_cannot_run_is_one_clear_sentence_and_stays(folder, prompt, says):
    at = fine(compare(folder))
    at.text_area(key="compare_prompt").set_value(prompt)
    fine(at.button(key="compare_go").click().run())
    (error,) = at.error
    assert says in error.value.replace("\\", "") and len(error.value) < 400
    assert at.text_area(key="compare_prompt").value == prompt and at.session_state[comparing.RECIPE]


def token_views(at: AppTest) -> list[str]:
    """The texts of the token views on a Compare page, as they are sent to the browser."""
    views = [json.loads(c.proto.json) for c in at.get("bidi_component") if c.proto.component_name == "tiller_tokens"]
    return ["".join(token["t"] for token in view["tokens"]) for view in views]


def test_several_prompts_are_one_run_and_each_can_be_looked_at(folder):
    at = fine(open_page("pages/steer/compare.py", folder, recipe=links.encode(WARM), compare_tokens="4"))
    at.text_area(key="compare_prompt").set_value("Hello there\n---\nThe moon")
    fine(at.button(key="compare_go").click().run())
    (result,) = results(at)
    assert [(row.prompt, row.kind) for row in result.rows] == [
        (prompt, kind) for prompt in (0, 1) for kind in ("baseline", "steered", "control")
    ]
    assert len(token_views(at)) == 2 and all("Hello" in text for text in token_views(at))
    fine(at.segmented_control(key="compare_which").set_value(1).run())
    assert all("moon" in text for text in token_views(at)) and len(results(at)) == 1


def test_variants_can_be_duplicated_moved_switched_off_and_removed(folder):
    at = fine(compare(folder, (Variant("A", (TEXTS,)), Variant("B", (TEXTS,)))))

    def names() -> list[str]:
        return [card.variant.name for card in at.session_state[comparing.RECIPE]]

    def act(index: int, action: str) -> None:
        editor.apply(at.session_state[comparing.RECIPE], index, action)
        fine(at.run())

    act(0, "duplicate")
    assert names() == ["A", "A", "B"]
    act(2, "up")
    assert names() == ["A", "B", "A"]
    act(0, "remove")
    assert names() == ["B", "A"]
    card = at.session_state[comparing.RECIPE][0]
    fine(at.toggle(key=f"{comparing.RECIPE}_{card.id}_on").set_value(False).run())
    fine(at.button(key="compare_go").click().run())
    assert [row.title for row in results(at)[-1].rows if row.kind == "steered"] == ["A"]


def test_exports_hold_the_run_and_the_bundle_reads_back(folder):
    at = fine(compare(folder, run="1"))
    (result,) = results(at)
    again = export.read_bundle(export.bundle(result))
    assert json.dumps(again.to_data()) == json.dumps(result.to_data())
    assert export.table(result).count("\n") == 1 + sum(len(row.tokens) for row in result.rows)
    page = export.page(result)
    assert "<script" not in page and "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    code = export.code(result)
    compile(code, "run.py", "exec")
    with pytest.raises(ValueError, match="JSON bundle"):
        export.read_bundle(b"{}")


def same_by_python(result: Run, sae: tuple[str, str] | None = None) -> bool:
    """Whether the exported Python writes the tokens of the run."""
    namespace: dict = {}
    exec(export.code(result, sae), namespace)
    namespace["engine"].close()
    return [c.tokens for c in namespace["completions"]] == [row.tokens for row in result.rows if row.kind != "control"]


def test_the_exported_python_writes_the_same_text(folder):
    at = fine(compare(folder, run="1"))
    assert same_by_python(results(at)[0])


def test_the_exported_python_runs_with_every_kind_of_step(folder):
    """Two steps a variant, a direction of the Library, and a rotation, whose plane the code must make again."""
    found = services.workbench(folder).direction(
        Source("texts", positive="It is warm.", negative="It is cold.", layer=1)
    )
    saved = services.store().save_direction(found, "warm")
    texts = {"positive": "It is warm.", "negative": "It is cold."}
    recipe = (
        Variant("turn", (Step("rotate", direction="texts", degrees=60.0, **texts),)),
        Variant("saved", (Step("add", direction=f"saved:{saved.id}", alpha=0.6), TEXTS)),
        Variant("ablate", (Step("ablate", direction="texts", everywhere=True, **texts),)),
        Variant("cap", (Step("regulate", direction="texts", tau=0.1, where="generated", **texts),)),
        Variant(
            "prompts",
            (
                Step("actadd", alpha=0.5, **texts),
                Step("sara", alpha=0.5, layer=0, attract="It is warm.", repel="It is cold."),
            ),
        ),
    )
    at = fine(compare(folder, recipe, run="1", compare_temperature="0.8", compare_seed="3"))
    (result,) = results(at)
    assert len({tuple(row.tokens) for row in result.rows}) > 2
    assert same_by_python(result)
    services.store().delete("directions", saved.id)


@pytest.mark.skipif(not state.bundled_models(), reason="the bundled model is not built yet")
def test_the_exported_python_runs_with_features():
    recipe = (
        Variant("clamp", (Step("clamp", features={17: 9.0}),)),
        Variant("cap", (Step("regulate", direction="pairs:pressure", position="prompt_last", space="feature"),)),
        Variant("off", (Step("silence", features={17: 1.0}), Step("boost", features={3: 4.0}))),
        # Recipes were saved with an index before the last token of the prompt had a name.
        Variant("as before", (Step("regulate", direction="pairs:pressure", position="-3", space="feature"),)),
    )
    at = fine(compare("", recipe, run="1"))
    assert same_by_python(results(at)[0], state.sae_choice("organism"))
    named, by_index = (results(at)[0].rows[number] for number in (2, 4))
    assert named.tokens == by_index.tokens


def test_another_model_is_picked_in_the_sidebar_and_brings_its_own_example(folder):
    at = fine(open_page("pages/steer/compare.py", first="0"))
    before = at.text_area(key="compare_prompt").value
    at.segmented_control(key="frame_source").set_value("folder").run()
    at.text_input(key="frame_folder").set_value(folder).run()
    fine(at.button(key="frame_load").click().run())
    assert at.session_state[state.MODEL] == folder and at.query_params["model"] == folder
    assert at.text_area(key="compare_prompt").value != before
    fine(at.button(key="compare_go").click().run())
    assert results(at)[-1].settings.model == folder


@pytest.mark.skipif(not state.bundled_models(), reason="the bundled model is not built yet")
def test_the_dictionary_to_begin_with_is_the_plain_one_of_the_middle_layer():
    at = fine(open_page("pages/library/library.py"))
    layers = services.model("organism").n_layers
    assert any(f"layer {layers // 2} resid_post" in caption.value for caption in at.caption)
    assert state.sae_choice("organism") == ("organism", f"blocks.{layers // 2}.hook_resid_post")


def test_a_link_alone_downloads_nothing():
    at = fine(open_page("pages/steer/compare.py", "someone/some-model"))
    assert any("is not on this machine" in error.value for error in at.error)
    assert not services.transfers().all()
    at.segmented_control(key="frame_source").set_value("hub").run()
    at.text_input(key="frame_hub").set_value("someone/some-model").run()
    fine(at.button(key="frame_load").click().run())
    (job,) = services.transfers().all()
    with pytest.raises(ValueError, match="offline mode is on"):
        job.result(60)
    fine(at.run())  # the sidebar of every page says what became of it
    assert any("offline mode is on" in error.value for error in at.sidebar.error)


# Chat and Library ---------------------------------------------------------------------------------------------------


def test_chat_keeps_two_histories_and_regenerates(folder):
    at = fine(open_page("pages/steer/chat.py", folder))
    at.number_input(key="chat_tokens").set_value(5)
    fine(at.chat_input[0].set_value("Hello").run())
    fine(at.chat_input[0].set_value("And then?").run())
    turns = at.session_state[f"{chatting.TURNS}_{folder}"]
    assert [turn.user for turn in turns] == ["Hello", "And then?"] and not any(turn.open for turn in turns)
    lm = services.model(folder)
    plain = str(conversation.prompt_of(lm, turns, "plain"))
    assert turns[0].plain in plain and "And then?" in plain
    assert turns[-1].seed == 0
    fine(at.button(key="chat_again").click().run())
    assert at.session_state[f"{chatting.TURNS}_{folder}"][-1].seed == 1  # the same seed would write the same again
    assert not at.session_state[f"{chatting.TURNS}_{folder}"][-1].open
    fine(at.button(key="chat_back").click().run())
    assert len(at.session_state[f"{chatting.TURNS}_{folder}"]) == 1


def test_a_saved_run_replays_as_equal_and_a_changed_one_as_drifted(folder):
    at = fine(compare(folder, run="1"))
    (result,) = results(at)
    saved = services.store().save_run(export.bundle_data(result), "one", model=folder, prompt="Hello there")
    data = Run.from_data(services.store().run(saved.id))
    assert saved_runs.replayed(data) == []
    data.rows[1].tokens[2] += 1
    data.rows[1].pieces[len(data.rows[1].prompt_tokens) + 2] = "other"
    (drift,) = saved_runs.replayed(data)
    assert (drift.title, drift.token, drift.saved) == (data.rows[1].title, 2, "other")
    services.store().delete("runs", saved.id)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("mine.gguf", b"nonsense", "mine.gguf"),
        ("mine.safetensors", b"\0" * 50, "mine.safetensors"),
        ("mine.json", b"[1, 2]", "object with site and vector"),
        ("mine.json", b'{"site": "blocks.0.hook_resid_post"}', "no vector"),
        ("mine.json", b"\xff\xfe\x00", "UTF-16-LE and is damaged"),
        ("mine.json", b'{"site": "blocks.0.hook_resid_post", "vector": [NaN, 1.0]}', "NaN"),
        ("../mine.json", b'{"site": "somewhere", "vector": [1.0]}', "somewhere"),
    ],
)
def test_a_broken_direction_file_is_one_sentence_with_its_name(name, data, says):
    with pytest.raises(ValueError, match=says) as caught:
        library.read(name, data)
    assert "\n" not in str(caught.value) and "Error(" not in str(caught.value)


def test_where_a_direction_came_from_is_told_in_plain_names():
    about = {"model": {"name": "organism", "dtype": None}, "method": "pca", "pairs": {"n": 3}, "chat": None}
    assert library.origin(about) == [("model name", "organism"), ("method", "pca"), ("pairs n", "3")]
