"""The map of layers and strengths on Direction, through app.py: measured by a job, stopped, and steered with."""

from __future__ import annotations

import pytest
from open_pages import fine, open_page
from streamlit.testing.v1 import AppTest

from steering.jobs.jobs import Cancelled, Job
from steering.plots.maps import BROKEN, strength_grid
from steering.plots.words import in_words
from steering.ui.shared import objects as services
from steering.ui.steer import comparing
from steering.ui.widgets import theme

pytestmark = pytest.mark.usefixtures("clean_caches")
DIRECTION = "pages/build/direction.py"


def mapped(folder: str) -> tuple[AppTest, Job]:
    """The page after its button was pressed, and the job that measures."""
    at = fine(open_page(DIRECTION, folder, direction_asked="1", direction_view="Layer and strength"))
    assert any("strengths: about" in caption.value for caption in at.caption), "the cost is said first"
    fine(at.button(key="direction_map_go").click().run())
    (job,) = [job for job in services.jobs().all() if job.name.startswith("Map of")]
    return at, job


def test_a_direction_from_own_pairs_is_steered_with_at_the_best_cell(folder: str) -> None:
    at, job = mapped(folder)
    found = job.result(120)
    best = found.best(-1) or found.best(1)
    fine(at.run())
    assert at.selectbox(key="direction_map_chosen").value == f"{best.layer}:{best.strength:g}"
    fine(at.button(key="direction_map_steer").click().run())
    assert at.title[0].value == "Compare"
    (card,) = at.session_state[comparing.RECIPE]
    (step,) = card.variant.steps
    assert step.direction.startswith("saved:") and step.alpha == best.strength and step.layer == best.layer
    direction = services.store().direction(step.direction.removeprefix("saved:"))
    assert direction.site.layer == best.layer


def test_a_stopped_map_keeps_what_is_measured(folder: str, monkeypatch) -> None:
    from steering.measurements import strength_map as measuring

    whole = measuring.MapStudy.measured

    def stop_after_one(study, places):
        found = whole(study, places)
        job = next(job for job in services.jobs().all() if job.name.startswith("Map of"))
        job.cancel()
        return found

    monkeypatch.setattr(measuring.MapStudy, "measured", stop_after_one)
    at, job = mapped(folder)
    with pytest.raises(Cancelled):
        job.result(120)
    fine(at.run())
    assert len(job.partial[0].cells) == len(measuring.STRENGTHS)
    assert at.selectbox(key="direction_map_chosen").options


def test_a_cell_says_its_number_and_broken_ones_are_marked_without_color():
    effects = {(1, 0.1): 0.5, (1, 0.2): 2.0, (3, 0.1): -0.25}
    fluency = {(1, 0.1): 1.0, (1, 0.2): 0.0, (3, 0.1): 0.5}
    figure, layers, strengths = strength_grid(effects, fluency, {}, theme.LIGHT, stars=[(1, 0.1)])
    said = {(layers[note.y], strengths[note.x]): note.text for note in figure.layout.annotations}
    assert said == {(1, 0.1): "★ +0.50", (1, 0.2): f"+2.00 {BROKEN}", (3, 0.1): "−0.25"}
    assert figure.data[0].zmax == 0.5, "a broken cell sets no scale"
    assert "from -0.25" in in_words(figure) and "to 2" in in_words(figure)
