"""The page Discover through app.py: a search runs as a job, its directions are shown, saved and sent to Compare."""

from __future__ import annotations

import threading

import pytest
from open_pages import fine, open_page

from steering.measurements import discovery
from steering.ui.shared import objects as services
from steering.ui.steer import comparing

PAGE = "pages/build/discover.py"
pytestmark = pytest.mark.usefixtures("clean_caches")


def searched(folder: str):
    at = fine(open_page(PAGE, folder))
    fine(at.slider(key="discover_n").set_value(2).run())
    fine(at.number_input(key="discover_tokens").set_value(4).run())
    fine(at.button(key="discover_go").click().run())
    (job,) = services.jobs().all()
    job.result(60)
    return fine(at.run())


def test_a_search_shows_directions_beside_random_ones(folder):
    at = searched(folder)
    table = at.dataframe[0].value
    assert list(table["Direction"][:2]) == ["jacobian 1", "jacobian 2"] and len(table) == 5
    assert "2 directions at layer" in " ".join(one.value for one in at.markdown)


def test_a_direction_goes_to_the_library_and_to_compare(folder):
    at = searched(folder)
    fine(next(one for one in at.text_input if one.label == "Name").set_value("denies what is claimed").run())
    fine(at.button(key="discover_jacobian_jacobian_1_save").click().run())
    assert services.store().directions()[0].name == "denies what is claimed"
    prompt = at.text_area(key="discover_prompt").value
    at.button(key="discover_jacobian_jacobian_2_steer").click()
    fine(at.run())
    steps = [card.variant.steps[0] for card in at.session_state[comparing.RECIPE]]
    assert steps[0].alpha == -steps[1].alpha and steps[0].direction.startswith("saved:")
    assert at.session_state["compare_prompt"] == prompt


def test_a_direction_is_measured_in_both_signs(folder):
    at = searched(folder)
    at.button(key="discover_jacobian_jacobian_1_measure").click()
    fine(at.run())
    steps = [card.variant.steps[0] for card in at.session_state["evaluate_recipe"]]
    assert steps[0].alpha == -steps[1].alpha and steps[0].direction.startswith("saved:")
    assert at.session_state["evaluate_kind"] == "own"


def test_a_search_says_what_it_is_at_and_that_it_was_stopped(folder, monkeypatch):
    at_work, never = threading.Event(), threading.Event()

    def endless(*_, tick, **__):
        while True:
            tick(1, 10, "Reading tea leaves")
            at_work.set()
            never.wait(0.05)

    monkeypatch.setattr(discovery, "discover", endless)
    at = fine(open_page(PAGE, folder))
    at.button(key="discover_go").click().run()
    (job,) = services.jobs().all()
    assert at_work.wait(60)
    at.run()
    assert any("Reading tea leaves" in one.value for one in at.caption)
    assert any("appear here" in one.value for one in at.info) and not any("Press" in one.value for one in at.info)
    job.cancel()
    with pytest.raises(BaseException):  # noqa: B017  whatever a stopped job raises
        job.result(60)
    at = fine(at.run())
    assert "Stopped." in [one.value for one in at.info]


def test_layers_that_coincide_are_refused_in_a_sentence(folder):
    at = fine(open_page(PAGE, folder))
    fine(at.slider(key="discover_layers").set_value((1, 1)).run())
    fine(at.button(key="discover_go").click().run())
    assert "comes after" in at.error[0].value and not services.jobs().all()


def test_the_page_opens_without_a_search(folder):
    at = fine(open_page(PAGE, folder))
    assert at.info and not services.jobs().all()


def test_the_counter_example_follows_its_sliders(folder):
    at = fine(open_page(PAGE, folder, discover_view="What an ablation brings in"))
    fine(at.slider(key="leaks_x").set_value(-1.0).run())


def test_leaks_of_a_direction_in_the_bundled_model():
    at = fine(open_page(PAGE, discover_view="What an ablation brings in"))
    fine(at.slider(key="leaks_layer").set_value(3).run())
    fine(at.button(key="leaks_go").click().run())
    services.jobs().all()[0].result(120)
    at = fine(at.run())
    assert len(at.dataframe[0].value) > 3  # the SAE of layer 3 reads at that site
    assert "oblique projection" in " ".join(one.value for one in at.caption)


def test_dimensions_by_layer(folder):
    at = fine(open_page(PAGE, folder, discover_view="What layers read"))
    fine(at.button(key="reading_go").click().run())
    services.jobs().all()[0].result(120)
    at = fine(at.run())
    assert "Width of the stream" in " ".join(one.value for one in at.caption)
