"""Jobs as the pages show them: a visitor stops their own and sees others', and a stop is answered at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from open_pages import fine, open_page
from streamlit.testing.v1 import AppTest

from steering.jobs.jobs import Cancelled, Job
from steering.ui.shared import job_cards, state
from steering.ui.shared import objects as services

pytestmark = pytest.mark.usefixtures("clean_caches")
LIBRARY = "pages/library/library.py"


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Jobs that wait for it come to their next tick when it is set."""
    event = threading.Event()
    yield event
    event.set()


def held(gate: threading.Event, owner: str) -> Job:
    """A job in the middle of a step."""
    began = threading.Event()

    def work(job: Job) -> None:
        job.tick(1, 4)
        began.set()
        gate.wait(60)
        job.tick(2)

    job = services.jobs().start("Effect by layer 0123456789", work, owner=owner)
    assert began.wait(30)
    return job


def cancel_buttons(at: AppTest, job: Job) -> list:
    return [button for button in at.sidebar.button if button.key == f"frame_cancel_{job.id}"]


def test_a_visitor_stops_their_own_job_and_is_told_at_once(folder: str, gate: threading.Event) -> None:
    at = fine(open_page(LIBRARY, folder))
    at.session_state[state.VISITOR] = "me"
    job = held(gate, "me")
    (button,) = cancel_buttons(fine(at.run()), job)
    fine(button.click().run())
    assert job.active and job.stopping, "the job has not come to its next tick"
    (button,) = cancel_buttons(at, job)
    assert "Stopping" in button.label and button.disabled
    gate.set()
    with pytest.raises(Cancelled):
        job.result(30)


def test_another_visitors_job_is_seen_and_cannot_be_stopped(folder: str, gate: threading.Event) -> None:
    job = held(gate, "somebody else")
    at = fine(open_page(LIBRARY, folder))
    assert not cancel_buttons(at, job)
    assert any("another visitor" in caption.value for caption in at.sidebar.caption)
    services.cancel(job.id)
    assert not job.stopping


def test_a_job_is_one_for_all_visitors_and_belongs_to_whoever_began_it(gate: threading.Event) -> None:
    first = held(gate, "somebody else")
    assert services.begin(services.jobs(), first.name, lambda job: None) is first
    assert first.owner == "somebody else"


def test_a_job_is_named_without_its_hash() -> None:
    assert job_cards.title(Job("Effect by layer 0123456789")) == "Effect by layer"
    assert job_cards.title(Job("Dose and response")) == "Dose and response"
