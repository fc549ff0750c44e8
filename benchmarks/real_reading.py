"""The real model's lines about reading: scoring with an ablation everywhere, and directions at all layers at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import torch

from steering.directions.activations import of_pairs
from steering.directions.direction import Direction
from steering.directions.pairs import PairSet
from steering.engine.engine import Engine
from steering.engine.passes import run_sequences
from steering.interventions import DirectionalAblation
from steering.models.model import Model
from steering.sites import Site

from .machine import read_bandwidth
from .speed import Line
from .timing import Timing, interleaved
from .variants import unit

EVALS = Path(__file__).parent.parent / "assets" / "evals"
PAIRS = "general_sycophancy"


@contextmanager
def memory_watched() -> Iterator[Callable[[], int]]:
    """Within a `with` block the largest memory of this process is kept; calling what it gives returns the bytes."""
    process, most, over = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            most[0] = max(most[0], process.memory_info().rss)
            time.sleep(0.01)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: most[0]
    finally:
        over.set()
        thread.join()


def claims() -> list[tuple[Any, str]]:
    """63 pressed false claims, each with the true and with the claimed statement as the answer: 126 items."""
    rows = [json.loads(line) for line in (EVALS / "general_claims.jsonl").read_text(encoding="utf-8").splitlines()]
    wrong = [row for row in rows if row["pressed"] and not row["true"]]
    return [
        ([{"role": "user", "content": row["prompt"]}], f"{row[side][0].upper()}{row[side][1:]}.")
        for row in wrong
        for side in ("truth", "claimed")
    ]


@contextmanager
def as_before() -> Iterator[None]:
    """Within a `with` block answers are scored as they once were: 64 whole texts a pass, the logits of every token."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch("steering.engine.scoring._shareable", lambda rows: set()))
        stack.enter_context(mock.patch("steering.engine.scoring.LOGIT_BYTES", 2**40))
        every = lambda model, rows, keep, after: run_sequences(model, rows, keep=0, after=after)  # noqa: E731
        stack.enter_context(mock.patch("steering.engine.scoring.run_sequences", every))
        yield


def scoring(lm: Model, rounds: int, compare: bool = True) -> list[Line]:
    """126 answers under an ablation at every site, and with `compare` against the way they were once scored."""
    everywhere = (DirectionalAblation(Direction(unit(lm.d_model, 1), Site(lm.n_layers // 2)), everywhere=True),)
    items: list[Any] = [(prompt, answer, everywhere) for prompt, answer in claims()]
    engine = Engine(lm, remember=0)

    def before() -> list[list[float]]:
        pieces = lm.piece_tokens
        with as_before():
            vars(lm)["piece_tokens"] = 2**20
            try:
                return engine.score_all(items)
            finally:
                vars(lm)["piece_tokens"] = pieces

    engine.score_all(items[:2])  # packs the weights
    with memory_watched() as most:
        now = interleaved({"": lambda: engine.score_all(items)}, 1)[""]
        peak = most()
    what = f"score_all, {len(items)} items, ablation everywhere"
    lines = [
        Line(
            f"{what}: time, and peak memory of the process", f"{now.seconds:.1f} s, {peak / 2**30:.2f} GB",
            "at most 2 GB", peak <= 2 * 2**30, f"CPU {now.cpu_seconds:.1f} s; everything that is loaded included",
        )
    ]  # fmt: skip
    if compare:
        with memory_watched() as most:
            timings = interleaved({"now": lambda: engine.score_all(items), "before": before}, rounds)
            peak = most()
        apart = max(abs(sum(a) - sum(b)) for a, b in zip(*(one.result for one in timings.values()), strict=True))
        ratio = timings["now"].over(timings["before"])
        detail = f"{_s(timings['now'])} against {_s(timings['before'])}, whose peak is {peak / 2**30:.1f} GB; at most "
        detail += f"{apart:.1e} nats apart"
        said = f"{what}, against 64 whole texts a pass with every token's logits"
        lines.append(Line(said, f"{ratio:.2f}", "at most 0.5", ratio <= 0.5, detail))
    engine.close()
    return lines


def direction_of_all_layers(lm: Model, rounds: int) -> list[Line]:
    """Activations of 126 pairs at all layers at once, against one layer with every text read whole."""
    pairs = PairSet(PairSet.load(PAIRS).pairs[:126])
    middle = [Site(lm.n_layers // 2)]
    everywhere = [Site(layer) for layer in range(lm.n_layers)]

    def one_whole() -> Any:
        with mock.patch("steering.models.caching.reading.can_continue", lambda lm: False):
            return of_pairs(lm, pairs, middle)

    timings = interleaved({"all": lambda: of_pairs(lm, pairs, everywhere), "one": one_whole}, rounds)
    ratio = timings["all"].over(timings["one"])
    both = (one.result[middle[0]] for one in timings.values())
    apart = max(float((a - b).abs().max() / b.norm(dim=-1).median()) for a, b in zip(*both, strict=True))
    what = f"direction of {len(pairs)} pairs, all {lm.n_layers} layers, against one layer with every text read whole"
    detail = f"{_s(timings['all'])} against {_s(timings['one'])}; activations at most {apart:.1e} of a norm apart"
    return [Line(what, f"{ratio:.2f}", "at most 1.2", ratio <= 1.2, detail)]


def bandwidth(lm: Model, step: dict[int, float], goal: float = 0.6) -> list[Line]:
    """Bytes of weights that a decoding step reads, over what memory delivers in the time of a step, by rows."""
    linears = [m for m in lm.hf.modules() if isinstance(m, torch.nn.Linear)]
    size = (2 if lm.products == "bfloat16" else 4) * sum(m.weight.numel() for m in linears)
    speed, lines = read_bandwidth(), []
    for rows, seconds in step.items():
        share = size / speed / seconds
        detail = f"{size / 2**20:,.0f} MiB a step, {speed / 1e9:.1f} GB/s measured, {1e3 * seconds:.1f} ms a step"
        what = f"share of the memory bandwidth, {rows} row{'s' * (rows > 1)}, {lm.products} products"
        aim = (f"at least {goal:.0%}", share >= goal) if rows == 8 else ("", None)
        lines.append(Line(what, f"{share:.0%}", *aim, detail))
    return lines


def _s(timing: Timing) -> str:
    return f"{timing.seconds:.1f} s (CPU {timing.cpu_seconds:.1f})"
