"""The page Dictionaries through app.py: a training runs, is stopped and gone on with; two dictionaries are compared."""

from __future__ import annotations

import pytest
from open_pages import fine, open_page

from steering.jobs.files import home
from steering.ui.building import training_runs
from steering.ui.explore import browsing

PAGE = "pages/build/dictionaries.py"
pytestmark = pytest.mark.usefixtures("clean_caches")
TEXT = "\n\n".join(
    f"The cat sat on the mat and looked at the moon, {n} times; the dog was not happy." for n in range(40)
)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setenv("TILLER_HOME", str(tmp_path))
    monkeypatch.setattr("steering.ui.building.training_form.MEASURED", 500)


def filled(folder: str, name: str, kinds: list[str], seeds: int = 1):
    at = fine(open_page(PAGE, folder))
    fine(at.segmented_control(key="dictionaries_source").set_value("paste").run())
    fine(at.text_area(key="dictionaries_paste").set_value(TEXT).run())
    fine(at.multiselect(key="dictionaries_kinds").set_value(kinds).run())
    fine(at.selectbox(key="dictionaries_width").set_value(128).run())
    fine(at.number_input(key="dictionaries_k").set_value(4).run())
    fine(at.select_slider(key="dictionaries_samples").set_value(50_000).run())
    fine(at.number_input(key="dictionaries_seeds").set_value(seeds).run())
    named = next(one for one in at.text_input if str(one.key).startswith("dictionaries_name"))
    return fine(named.set_value(name).run())


def trained(folder: str, name: str, kinds: list[str], seeds: int = 1):
    at = filled(folder, name, kinds, seeds)
    assert any("on this machine" in one.value for one in at.caption)
    fine(at.button(key="dictionaries_train").click().run())
    job = training_runs.job_of(name)
    assert job is not None
    job.result(300)
    return fine(at.run()), job


def test_a_training_makes_dictionaries_that_the_features_page_opens(folder):
    at, job = trained(folder, "first", ["batchtopk", "lp"])
    table = at.dataframe[0].value
    assert len(table) == 2 and table["Explains"][0] > 10 and table["L0"][0] < 40
    assert {what for what, _, _ in job.partial} == {f"blocks.2.hook_resid_post.{kind}" for kind in ("batchtopk", "lp")}
    assert set(job.partial[-1][2]) == {"loss", "variance", "l0", "dead"} and job.fraction == 1.0
    browse = next(one for one in at.button if one.label.startswith("Browse"))
    browse.click()
    at = fine(at.run())
    assert at.title[0].value == "Features" and browsing.FEATURE in at.session_state


def test_stopped_and_gone_on_with(folder, monkeypatch):
    at = filled(folder, "second", ["topk"])
    original = training_runs.TrainingProgress.__call__

    def stops(self, what, done, total, shown):
        if what.startswith("blocks.") and done > 20_000:
            self.job.cancel()
        original(self, what, done, total, shown)

    monkeypatch.setattr(training_runs.TrainingProgress, "__call__", stops)
    fine(at.button(key="dictionaries_train").click().run())
    job = training_runs.job_of("second")
    assert job is not None
    job._over.wait(300)
    assert job.state == "cancelled"
    at = fine(at.run())
    assert any("not finished" in one.value for one in at.markdown)
    monkeypatch.setattr(training_runs.TrainingProgress, "__call__", original)
    fine(at.button(key="dictionaries_go_on").click().run())
    again = training_runs.job_of("second")
    assert again is not None and again is not job
    again.result(300)
    at = fine(at.run())
    assert len(at.dataframe[0].value) == 1 and not (home() / "dictionaries" / "second" / "work").exists()
    fine(at.button(key="dictionaries_delete").click().run())
    assert not (home() / "dictionaries" / "second").exists()


def test_two_seeds_are_compared(folder):
    at, _ = trained(folder, "third", ["batchtopk"], seeds=2)
    at = fine(at.segmented_control(key="dictionaries_view").set_value("Compare").run())
    assert any("matched features are the same" in one.value for one in at.markdown)
    for view in ("Heatmap", "Missing", "Stability", "All dictionaries"):
        fine(at.segmented_control(key="dictionaries_show").set_value(view).run())


def test_a_name_that_is_taken_is_refused(folder):
    (home() / "dictionaries" / "taken").mkdir(parents=True)
    (home() / "dictionaries" / "taken" / "plan.toml").write_text("")
    at = filled(folder, "taken", ["batchtopk"])
    fine(at.button(key="dictionaries_train").click().run())
    assert "already" in at.error[0].value


def test_the_organisms_dictionaries_are_compared():
    at = fine(open_page(PAGE, dictionaries_view="Compare"))
    assert len(at.dataframe[0].value) >= 9
    fine(at.segmented_control(key="dictionaries_show").set_value("Stability").run())
    assert any("are stable" in one.value for one in at.markdown)
