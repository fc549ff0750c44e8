"""`python -m benchmarks.neighbors_bench`: the longest gap in a stream while a job scores 1,500 items beside it.

Also how long the job takes with and without the stream, and how soon it is over once it is cancelled.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import warnings

import steering as t
from steering.jobs.jobs import Cancelled, Job, Jobs

from .machine import load

PROMPT = "Professor Smith says that 7 plus 5 is 13. Is that right?"
ITEMS = 1500


def stream(engine: t.Engine, seconds: float, while_: Job | None = None) -> list[float]:
    """Seconds between pieces of text that somebody watches, for so long or for as long as a job is under way."""
    gaps, began, seed = [], time.perf_counter(), 0
    while (time.perf_counter() - began < seconds) if while_ is None else while_.active:
        seed += 1
        request = t.Request(PROMPT, temperature=1.0, seed=seed, max_new_tokens=64, ignore_eos=True, top_alternatives=0)
        last = time.perf_counter()
        for _ in engine.submit(request):
            now = time.perf_counter()
            gaps.append(now - last)
            last = now
    return gaps


def scoring(engine: t.Engine, n: int):
    """The work of a job: continuations after n prompts, every other one under steering."""
    direction = t.random_like(t.Direction(engine.model.hf.get_input_embeddings().weight[5].clone(), t.Site(3)), 1)
    variants = [(), (t.DirectionalAblation(direction, everywhere=True),)]
    items = [
        (
            f"Professor Smith says that {k % 90} plus {k % 7} is {k}. Is that right?",
            " No, that is not right at all.",
            one,
        )
        for k, one in ((k, variants[k % 2]) for k in range(n))
    ]
    return lambda job: len(engine.score_all(items))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbors_bench", description=__doc__)
    parser.add_argument("--items", type=int, default=ITEMS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    jobs = Jobs()
    print(f"Load before: {load()}", flush=True)
    with t.Engine(t.load_model("organism"), remember=0) as engine:
        gc.collect()
        gc.freeze()  # as the dashboard does once torch is imported: walking it takes a third of a second
        stream(engine, 1.0)
        alone = stream(engine, 5.0)
        began = time.perf_counter()
        jobs.start("alone", scoring(engine, options.items)).result()
        quiet = time.perf_counter() - began
        job = jobs.start("beside a stream", scoring(engine, options.items))
        beside = stream(engine, 0.0, job)
        job.result()
        stopped = jobs.start("cancelled", scoring(engine, options.items))
        stream(engine, 1.0)
        began = time.perf_counter()
        stopped.cancel()
        try:
            stopped.result()
        except Cancelled:
            print(f"A cancelled job is over after {time.perf_counter() - began:.2f} s (goal: 2 s).")
    for name, gaps in (("alone", alone), ("beside the job", beside)):
        print(
            f"Stream {name}: longest gap {max(gaps):.3f} s, median {1000 * statistics.median(gaps):.1f} ms, "
            f"{len(gaps)} pieces of text."
        )
    print(f"Goal: longest gap beside a job of {ITEMS} scored items under 0.3 s.")
    print(f"The job: {quiet:.1f} s alone, {job.seconds:.1f} s beside the stream. Load after: {load()}")
    jobs.close()


if __name__ == "__main__":
    main()
