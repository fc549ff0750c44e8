"""Measure through app.py: jobs are started, finish, and their results are shown and can be downloaded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from steering.experiments import parse
from steering.recipes.steps import Step, Variant
from steering.recipes.tables import recipe_tables, to_toml
from steering.recipes.workbench import Workbench
from steering.ui.measure import separation as measure
from steering.ui.measure import sweeping
from steering.ui.shared import objects as services

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("clean_caches")


def open_page(page: str, **session: str) -> AppTest:
    """The page on the bundled model: the tiny ones have no room for the sets' texts."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for name, value in session.items():
        at.session_state[name] = value
    at.run()
    return at.switch_page(page).run()


def finished(at: AppTest, key: str) -> AppTest:
    """The page after the button of that key was pressed and the job that it starts is over."""
    assert key in [button.key for button in at.button], [error.value for error in at.error]
    at.button(key=key).click().run()
    deadline = time.monotonic() + 120
    while any(job.active for job in services.jobs().all()):
        assert time.monotonic() < deadline, "the job did not end"
        next(job for job in services.jobs().all() if job.active)._over.wait(1)
    job = services.jobs().all()[0]
    assert job.state == "done", job.details
    at.run()
    assert not at.exception, at.exception
    return at


def test_an_experiment_of_ones_own_runs_and_is_reported() -> None:
    at = open_page("pages/measure/evaluate.py", evaluate_kind="own")
    at.slider(key="evaluate_limit").set_value(10)
    at.slider(key="evaluate_random").set_value(2)
    at.number_input(key="evaluate_tokens").set_value(4)
    at = finished(at.run(), "evaluate_go")
    assert any("Verdict:" in text.value for text in at.text)
    assert any("arm" in frame.value.columns for frame in at.dataframe)
    assert {"trials.csv", "again.ipynb"} <= set(services.store().measurement(services.store().measurements()[0].id))
    kept = sorted(path.name for path in measure.folder().glob("*/report.html"))
    assert kept == ["report.html"]


def test_calibrating_sweeps_tau_and_lambda() -> None:
    at = open_page("pages/measure/calibrate.py", calibrate_asked="organism")
    assert not at.error and any("Candidate" in frame.value.columns for frame in at.dataframe)
    at.text_input(key="calibrate_lambdas").set_value("1, 2")
    at.slider(key="calibrate_items").set_value(8)
    at = finished(at.run(), "calibrate_grid_go")
    assert any(text.value.startswith("tau ") for text in at.text)  # the chosen point


def test_any_grid_runs_and_is_kept_in_the_library() -> None:
    at = open_page("pages/measure/calibrate.py", calibrate_asked="organism")
    at.text_input(key="calibrate_any_alpha").set_value("0.5")
    at.slider(key="calibrate_any_items").set_value(4)
    at = finished(at.run(), "calibrate_any_go")
    assert any("layer" in frame.value.columns for frame in at.dataframe)
    row = services.store().measurements()[0]
    assert row.kind == "Sweep" and "grid.parquet" in services.store().measurement(row.id)
    at.session_state["library_shelf"] = "Measurements"
    at = at.switch_page("pages/library/library.py").run()
    assert not at.exception and any("Kind" in frame.value.columns for frame in at.dataframe)


def test_a_dose_is_told_item_by_item() -> None:
    at = open_page("pages/measure/calibrate.py", calibrate_asked="organism")
    at.text_input(key="calibrate_doses").set_value("0, 0.1")
    at = finished(at.run(), "calibrate_dose_go")
    assert any("move the wrong way" in one.value for one in at.caption)


def test_the_layer_grid_needs_no_generation() -> None:
    at = open_page("pages/measure/calibrate.py", calibrate_asked="organism")
    at.text_input(key="calibrate_alphas").set_value("0, 0.5")
    before = services.engine().decoded_rows
    finished(at.run(), "calibrate_layers_go")
    assert services.engine().decoded_rows == before


def test_the_layer_grid_takes_a_saved_direction_that_was_read_at_an_index() -> None:
    from types import SimpleNamespace

    from steering.directions.contrasts import mean_difference
    from steering.directions.pairs import PairSet
    from steering.sites import Site

    open_page("pages/measure/calibrate.py", calibrate_asked="organism")
    lm = services.model("organism")
    made, named = (
        mean_difference(lm, PairSet.load("pressure"), Site(4, "resid_post"), position=position)  # type: ignore[arg-type]
        for position in (-3, "prompt_last")
    )
    found, _ = sweeping.at_layer(services.workbench("organism"), SimpleNamespace(direction=made), 4)  # type: ignore[arg-type]
    assert found.vector.equal(named.vector)


def test_options_are_shown_as_they_are() -> None:
    import torch

    from steering.directions.direction import Direction
    from steering.sites import Site

    about = {"model": {"model": "organism"}}
    services.store().save_direction(Direction(torch.ones(192), Site(3), name="a_b (c)", provenance=about))
    at = open_page("pages/measure/calibrate.py", calibrate_asked="organism")
    assert "a_b (c) (saved)" in at.selectbox(key="calibrate_direction").options  # options are no Markdown


def test_wrong_numbers_are_one_sentence() -> None:
    at = open_page("pages/measure/calibrate.py", calibrate_asked="organism")
    at.text_input(key="calibrate_lambdas").set_value("1, two").run()
    assert not at.exception and any("Values are numbers" in error.value for error in at.error)
    with pytest.raises(ValueError, match="at least one value"):
        sweeping.numbers(" , ")


def test_a_recipe_becomes_a_file_that_the_command_line_reads(model, sae_of) -> None:
    bench = Workbench(model("llama"), sae_of("standard"))
    sara = Step("sara", attract="a cat", repel="a dog")
    recipe = (
        Variant("Both {braces}", (Step("boost", features={3: 1.0}), sara)),
        Variant("", (Step("actadd", positive="a cat", layer=1),)),
        Variant("", (Step("actadd", positive="a cat", layer=0),), on=False),
        Variant("", (Step("rotate", direction="texts", positive="a cat", negative="a dog", degrees=60.0),)),
    )
    found = parse(to_toml({"sets": [{"name": "x"}], **recipe_tables(recipe, bench)}))
    assert [arm["name"] for arm in found.data["arms"]] == ["Both (braces)", "Add a prompt contrast", "Rotate"]
    assert [step["method"] for step in found.data["arms"][0]["steps"]] == ["FeatureAddition", "Sara"]
    assert found.data["arms"][2]["steps"][0]["degrees"] == 60.0
    pairs = (Variant("", (Step("add", direction="pairs:pressure", position="prompt_last"),)),)
    # Read where Compare reads it, or the page would measure another direction than the one that was tried.
    assert recipe_tables(pairs, bench)["directions"]["d1"]["position"] == "prompt_last"
    kept = (Variant("", (Step("add", direction="pairs:pressure", position="-3"),)),)  # as recipes were saved before
    assert recipe_tables(kept, bench)["directions"]["d1"]["position"] == -3
