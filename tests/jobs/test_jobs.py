"""Jobs: progress, results, errors, cancel, and the order of a registry."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from steering.jobs.jobs import Cancelled, Job, Jobs, check_stop, current_job
from steering.jobs.watching import progressed, watched


@pytest.fixture
def jobs():
    registry = Jobs()
    yield registry
    registry.close()


def test_a_job_reports_progress_and_gives_its_result(jobs):
    seen = threading.Event()

    def work(job: Job) -> int:
        job.tick(1, 4, "first")
        seen.set()
        return 42

    job = jobs.start("count", work)
    assert seen.wait(10)
    assert job.result(10) == 42
    assert (job.state, job.note, job.fraction, job.active) == ("done", "first", 1.0, False)


def test_a_failed_job_raises_its_own_error_for_whoever_asks(jobs):
    def work(job: Job) -> None:
        raise ValueError("no such layer")

    job = jobs.start("fail", work)
    with pytest.raises(ValueError, match="no such layer"):
        job.result(10)
    assert job.state == "failed" and "no such layer" in job.details


def test_a_running_job_stops_at_its_next_tick(jobs):
    running, go_on = threading.Event(), threading.Event()
    steps = []

    def work(job: Job) -> None:
        for step in range(3):
            job.tick(step, 3)
            steps.append(step)
            running.set()
            go_on.wait(10)

    job = jobs.start("steps", work)
    assert running.wait(10)
    job.cancel()
    go_on.set()
    with pytest.raises(Cancelled):
        job.result(10)
    assert steps == [0] and job.state == "cancelled"


def test_a_waiting_job_that_was_cancelled_never_starts(jobs):
    go_on, started = threading.Event(), []
    first = jobs.start("first", lambda job: go_on.wait(10))
    second = jobs.start("second", lambda job: started.append(1))
    assert second.state == "waiting" and jobs.place(second) == 1
    second.cancel()
    assert second.state == "cancelled" and not second.active  # at once, however long the first goes on
    with pytest.raises(Cancelled):
        second.result(0)
    go_on.set()
    first.result(10)
    jobs.start("third", lambda job: None).result(10)
    assert not started and second.state == "cancelled"


def test_a_cancelled_job_says_that_it_is_stopping_at_once(jobs):
    running, go_on = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        running.set()
        go_on.wait(10)
        job.tick()

    job = jobs.start("slow to stop", work)
    assert running.wait(10) and job.state == "running"
    job.cancel()
    assert job.state == "stopping" and job.active
    go_on.set()
    with pytest.raises(Cancelled):
        job.result(10)
    assert job.state == "cancelled" and not job.active


def test_a_job_that_ends_before_it_notices_is_done(jobs):
    running, go_on = threading.Event(), threading.Event()

    def work(job: Job) -> int:
        running.set()
        go_on.wait(10)
        return 3

    job = jobs.start("quick", work)
    assert running.wait(10)
    job.cancel()
    go_on.set()
    assert job.result(10) == 3 and job.state == "done"


def test_only_who_started_a_job_stops_it(jobs):
    go_on = threading.Event()
    mine = jobs.start("mine", lambda job: go_on.wait(10), owner="ann")
    anyones = jobs.start("nobody's", lambda job: None)
    with pytest.raises(ValueError, match="mine was started by somebody else, and only they can stop it"):
        jobs.cancel(mine, by="bob")
    assert mine.state in ("waiting", "running") and not mine.may_stop("bob") and mine.may_stop("ann")
    jobs.cancel(mine, by="ann")
    jobs.cancel(anyones, by="bob")
    assert anyones.state == "cancelled"
    go_on.set()


def test_work_knows_its_job_and_nobody_elses(jobs):
    assert current_job() is None
    job = jobs.start("who", lambda job: current_job() is job)
    assert job.result(10) is True and current_job() is None
    check_stop()  # outside a job nothing is to be stopped


def test_a_failed_job_keeps_nothing_of_what_it_worked_on(jobs):
    """Its error's frames would keep a model alive for as long as the job is remembered."""

    class Weights:
        pass

    found: list[weakref.ref] = []

    def work(job: Job) -> None:
        weights = Weights()
        found.append(weakref.ref(weights))
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("no such layer") from error

    job = jobs.start("fail", work)
    with pytest.raises(ValueError, match="no such layer"):
        job.result(10)
    gc.collect()
    assert found[0]() is None and "KeyError" in job.details


def test_the_same_work_of_one_owner_is_not_started_twice(jobs):
    go_on = threading.Event()
    first = jobs.start("index", lambda job: go_on.wait(10), owner="sae")
    assert jobs.start("index", lambda job: None, owner="sae") is first
    assert jobs.start("index", lambda job: None, owner="other") is not first
    go_on.set()


def test_finished_jobs_are_forgotten_and_running_ones_are_not():
    registry, go_on = Jobs(workers=2, keep=3), threading.Event()
    running = registry.start("running", lambda job: go_on.wait(10))
    for number in range(10):
        registry.start(str(number), lambda job: None).result(10)
    assert running in registry.all()
    assert len(registry.all()) <= 5
    assert registry.get(running.id) is running and registry.get("nothing") is None
    go_on.set()
    registry.close()


def test_waiting_for_a_job_can_time_out(jobs):
    go_on = threading.Event()
    job = jobs.start("slow", lambda job: go_on.wait(10))
    with pytest.raises(TimeoutError):
        job.result(0.01)
    go_on.set()


def test_progress_goes_to_whoever_watches_in_this_thread_and_can_end_the_reading():
    seen: list[tuple[int, int]] = []
    progressed(0, 3)  # nobody watches
    with watched(lambda done, total: seen.append((done, total))):
        progressed(1, 3)
        thread = threading.Thread(target=progressed, args=(2, 3))
        thread.start()
        thread.join()
    progressed(3, 3)
    assert seen == [(1, 3)]

    def stop(done: int, total: int) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled), watched(stop):
        progressed(1, 3)
