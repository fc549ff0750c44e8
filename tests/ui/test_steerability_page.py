"""Measure / Calibrate, steerability, through app.py: the cost first, a job, its map, and what cannot be mapped."""

from __future__ import annotations

import json

import pytest
from open_pages import fine, open_page

from steering.ui.shared import objects as services
from steering.ui.steer import comparing

CALIBRATE = "pages/measure/calibrate.py"
GO = "calibrate_steerability_go"
pytestmark = pytest.mark.usefixtures("clean_caches")


def opened():
    at = fine(open_page(CALIBRATE, "organism", calibrate_asked="1"))
    while any(job.active for job in services.readings().all()):
        next(job for job in services.readings().all() if job.active).result(120)
    return fine(at.run())


def captions(at) -> str:
    return " ".join(str(one.value) for one in at.caption)


def finished(at):
    fine(at.button(key=GO).click().run())
    (job,) = services.jobs().all()
    job.result(120)
    return fine(at.run()), job


def test_the_cost_is_said_first_and_the_map_is_drawn_and_kept() -> None:
    at = opened()
    assert "texts, up to" in captions(at) and not services.jobs().all()
    slider = next(one for one in at.slider if "steerability_n" in str(one.key))
    at = fine(slider.set_value(20).run())
    assert "on 8: " in captions(at)  # twelve of the twenty choose the layer
    at, job = finished(at)
    study = job.value
    assert any("Adding the direction at layer" in str(one.value) for one in at.markdown)
    assert "texts a second" in captions(at) and study.cost.split(":")[0] in captions(at)
    layer = at.get("plotly_chart")
    charts = {one.proto.id.split("-")[-1]: json.loads(one.proto.spec) for one in layer}
    cells = charts["calibrate_steerability_map_dose"]["data"][0]["z"]
    assert len(cells) == len(study.doses) and {len(row) for row in cells} == {8}
    at = fine(at.segmented_control(key="calibrate_steerability_axis").set_value("layer").run())
    maps = {one.proto.id.split("-")[-1]: json.loads(one.proto.spec) for one in at.get("plotly_chart")}
    assert len(maps["calibrate_steerability_map_layer"]["data"][0]["z"]) == len(study.found.by_layer)
    (row,) = [one for one in services.store().measurements() if one.kind == "Steerability"]  # others' are there too
    assert {"steerability.md", "items.csv"} <= set(services.store().measurement(row.id))
    at.button(key="calibrate_steerability_send").click()
    at = fine(at.run())
    (card,) = at.session_state[comparing.RECIPE]
    assert card.variant.steps[0].layer == study.found.best and card.variant.steps[0].alpha == max(study.doses, key=abs)


def test_what_is_wrong_with_the_doses_is_one_sentence() -> None:
    at = opened()
    for said, error in (("0, 0.1", "at least two doses other than 0"), ("a lot", "Values are numbers")):
        fine(at.text_input(key="calibrate_steerability_doses").set_value(said).run())
        assert any(error in one.value.replace("\\", "") for one in at.error) and GO not in [b.key for b in at.button]


def test_a_set_that_is_read_from_texts_takes_two_answers() -> None:
    at = opened()
    at = fine(at.selectbox(key="calibrate_steerability_set").set_value("organism_requests").run())
    assert at.selectbox(key="calibrate_steerability_by").options == ["Two answers of your own"]
    assert GO in [one.key for one in at.button]
    fine(at.text_input(key="calibrate_steerability_away").set_value("Yes").run())
    assert any("A choice has two options" in one.value for one in at.error) and not services.jobs().all()
