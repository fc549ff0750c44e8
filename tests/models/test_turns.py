"""Turns: whoever is most urgent runs a model next, and jobs leave half of the time to a text that is watched."""

from __future__ import annotations

import threading
import time

import pytest

from steering.jobs.jobs import Cancelled, Job, Jobs
from steering.models.turns import JOB, STREAM, VISITOR, Turns


def test_a_turn_is_reentrant_and_one_thread_has_it() -> None:
    turns, found = Turns(), []
    with turns, turns:
        other = threading.Thread(target=lambda: found.append(turns.acquire(blocking=False)))
        other.start()
        other.join(10)
    assert found == [False]
    assert turns.acquire(blocking=False)
    turns.release()


def in_line(turns: Turns, urgencies: list[int]) -> list[int]:
    """The order in which threads that asked in this order get their turns, once the one that has it gives it back."""
    order: list[int] = []
    threads = []
    turns.acquire()
    for number, urgency in enumerate(urgencies):

        def take(urgency: int = urgency) -> None:
            with turns.taken(urgency):
                order.append(urgency)

        threads.append(threading.Thread(target=take))
        threads[-1].start()
        while len(turns._queue) <= number:
            time.sleep(0)
    turns.release()
    for thread in threads:
        thread.join(10)
    return order


def test_the_most_urgent_comes_first_and_equals_in_order_of_arrival() -> None:
    assert in_line(Turns(), [JOB, VISITOR, STREAM, JOB, VISITOR]) == [STREAM, VISITOR, VISITOR, JOB, JOB]


def test_a_job_that_had_a_turn_waits_as_long_while_a_stream_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece of 2 s: the next one not before 2 s later, but at once for a person, or when the stream is over."""
    now = [100.0]
    monkeypatch.setattr("steering.models.turns.time.monotonic", lambda: now[0])
    turns = Turns()

    def turn(urgency: int, seconds: float) -> None:
        with turns.taken(urgency):
            now[0] += seconds

    turn(STREAM, 0.01)
    turn(JOB, 2.0)
    turn(STREAM, 0.01)
    assert turns._held_back(JOB) and not turns._held_back(VISITOR) and not turns._held_back(STREAM)
    now[0] += 0.4
    assert turns._held_back(JOB)
    now[0] += 0.2  # nobody streams any more
    assert not turns._held_back(JOB)
    turn(STREAM, 0.01)
    now[0] += 1.4
    turn(STREAM, 0.01)
    assert not turns._held_back(JOB)  # its 2 s are over


def test_a_cancelled_job_gets_no_further_turn() -> None:
    turns, jobs, begun, go_on = Turns(), Jobs(), threading.Event(), threading.Event()
    passes = []

    def work(job: Job) -> None:
        for number in range(100):
            with turns:
                passes.append(number)
            begun.set()
            go_on.wait(10)

    job = jobs.start("passes", work)
    assert begun.wait(10)
    job.cancel()
    go_on.set()
    with pytest.raises(Cancelled):
        job.result(10)
    assert passes == [0] and turns.acquire(blocking=False)
    jobs.close()


def test_a_job_that_is_cancelled_while_it_waits_for_a_turn_stops_waiting() -> None:
    turns, jobs = Turns(), Jobs()

    def work(job: Job) -> None:
        with turns:
            pass

    with turns:
        job = jobs.start("waits", work)
        while not turns._queue:
            time.sleep(0)
        job.cancel()
        with pytest.raises(Cancelled):
            job.result(10)
    assert not turns._queue
    jobs.close()
